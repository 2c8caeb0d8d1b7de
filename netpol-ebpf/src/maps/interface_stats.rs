//! `INTERFACE_STATS`: losses and handshakes per interface.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{INTERFACE_SLOTS, InterfaceStats};
use netpol_ebpf::Stats;

#[btf_map]
static INTERFACE_STATS: Array<InterfaceStats, { INTERFACE_SLOTS as usize }> = Array::new();

/// The statistics at a slot.
#[inline(always)]
pub(crate) fn find(index: u32) -> Option<&'static Stats> {
    let stats = INTERFACE_STATS.get_ptr_mut(index)?.cast::<Stats>();
    // SAFETY: an array entry lives as long as the program; `Stats` has the layout of `InterfaceStats` (asserted there)
    // and its fields are atomic, since other CPUs write them too.
    unsafe { stats.as_ref() }
}
