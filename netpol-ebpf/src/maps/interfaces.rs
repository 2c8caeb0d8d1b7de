//! `INTERFACES`: what user space says about each interface.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{INTERFACE_SLOTS, InterfaceConfig};

#[btf_map]
static INTERFACES: Array<InterfaceConfig, { INTERFACE_SLOTS as usize }> = Array::new();

pub(crate) fn touch(i: u32) -> bool {
    INTERFACES.get(i).is_some_and(|i| i.ifindex != 0)
}
