//! `PENDING`: handshakes that wait for an answer.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_ebpf::{SETS, Set};

/// As bare words, which is all that user space may know of it: its size.
#[btf_map]
static PENDING: Array<[u64; 8], { SETS as usize }> = Array::new();

#[inline(always)]
pub(crate) fn find(index: u32) -> Option<&'static Set> {
    let set = PENDING.get_ptr_mut(index)?.cast::<Set>();
    // SAFETY: an array entry lives as long as the program; `Set` is those eight words (asserted there), all atomic.
    unsafe { set.as_ref() }
}
