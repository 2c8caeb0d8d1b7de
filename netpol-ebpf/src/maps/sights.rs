//! `SIGHTS`: the ring buffer that tells user space of a new edge. A hint; the edge is in `EDGES` already.

use aya_ebpf::btf_maps::RingBuf;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::FirstSight;

#[btf_map]
static SIGHTS: RingBuf<FirstSight, 262_144> = RingBuf::new();

pub(crate) fn touch(s: FirstSight) -> bool {
    let Some(mut entry) = SIGHTS.reserve(0) else {
        return false;
    };
    entry.write(s);
    entry.submit(0);
    true
}
