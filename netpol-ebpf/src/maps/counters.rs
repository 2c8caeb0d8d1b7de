//! `COUNTERS`: fates and events, per CPU.
//!
//! Plain additions: a classifier runs with bottom halves off, so no other run on its CPU comes between.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{Counters, EVENTS, Event, FATES, Fate};

#[btf_map]
static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Counts the fate of this number of a packet of `length` bytes, at its end.
///
/// Without CAP_PERFMON the verifier guards additions to pointers against speculation, and refuses one that adds up to
/// this number on one path and up to that on another (`sanitize_ptr_alu`). So the place is made to depend on bits that
/// it knows nothing of and that no packet's length has. The check of the bound then gives every path the same, the last
/// fate too, since the bound is that of all counters.
#[inline(always)]
pub(crate) fn end(fate: u32, length: u32) {
    let counters = COUNTERS.get_ptr_mut(0);
    if let Some(counters) = counters.map(<*mut Counters>::cast::<[u64; FATES + EVENTS]>) {
        // SAFETY: the value is that many words, this CPU's, and nothing else runs on it meanwhile.
        let counts = unsafe { &mut *counters };
        if let Some(count) = counts.get_mut((fate + (length >> 24)) as usize) {
            *count += 1;
        }
    }
}

const _: () = assert!(Counters::SIZE == size_of::<[u64; FATES + EVENTS]>());

/// Counts the fate that is the commonest by far.
#[inline(always)]
pub(crate) fn end_as_data() {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: the value is this CPU's and nothing else runs on it meanwhile.
        let fates = unsafe { &mut (*counters).fates };
        fates[Fate::TcpData as usize] += 1;
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
