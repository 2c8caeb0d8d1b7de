//! `PENDING`: handshakes that wait for an answer, in sets of four slots found by the hash of their tuple.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;

#[btf_map]
static PENDING: Array<[u64; 8], 4096> = Array::new();

pub(crate) fn touch(i: u32) -> bool {
    PENDING.get(i).is_some_and(|i| i[0] != 0)
}
