//! `SIGHTS`: the ring buffer that tells user space of a new edge. A hint; the edge is in `EDGES` already.

use aya_ebpf::btf_maps::RingBuf;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::FirstSight;

#[btf_map]
static SIGHTS: RingBuf<FirstSight, 262_144> = RingBuf::new();

/// `false` if the ring has no room.
#[inline(always)]
pub(crate) fn put(sight: &FirstSight) -> bool {
    SIGHTS.output(*sight, 0).is_ok()
}
