//! `INTERFACES`: what user space says about each interface.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{INTERFACE_PROBES, INTERFACE_SLOTS, InterfaceConfig, interface_slot};

#[btf_map]
static INTERFACES: Array<InterfaceConfig, { INTERFACE_SLOTS as usize }> = Array::new();

/// The slot of an interface and what it says.
#[inline(always)]
pub(crate) fn find(ifindex: u32) -> Option<(u32, &'static InterfaceConfig)> {
    for probe in 0..INTERFACE_PROBES {
        let index = interface_slot(ifindex, probe);
        let config = INTERFACES.get(index)?;
        if config.ifindex == ifindex {
            return Some((index, config));
        }
    }
    None
}
