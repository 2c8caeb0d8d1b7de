//! `COUNTERS`: fates and events, per CPU.
//!
//! Plain additions: a classifier runs with bottom halves off, so no other run on its CPU comes between.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{Counters, Event, Fate};

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Counts the fate of a packet, at its end.
#[inline(always)]
pub(crate) fn end(fate: Fate) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the value is this CPU's and nothing else runs on it meanwhile.
        let fates = unsafe { &mut (*counters).fates };
        if let Some(count) = fates.get_mut(fate as usize) {
            *count += 1;
        }
    }
}

/// Counts an event.
#[inline(always)]
pub(crate) fn event(event: Event) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the value is this CPU's and nothing else runs on it meanwhile.
        let events = unsafe { &mut (*counters).events };
        if let Some(count) = events.get_mut(event as usize) {
            *count += 1;
        }
    }
}
