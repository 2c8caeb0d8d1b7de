//! `COUNTERS`: fates and events, per CPU.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{Counters, Fate};

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Counts the fate of a packet, at its end.
#[inline(always)]
pub(crate) fn end(fate: Fate) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's value, and a classifier is not interrupted by another.
        unsafe { (*counters).fates[fate as usize] += 1 };
    }
}
