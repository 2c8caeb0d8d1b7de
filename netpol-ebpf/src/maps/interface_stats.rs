//! `INTERFACE_STATS`: losses and handshakes per interface.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{INTERFACE_SLOTS, InterfaceStats};

#[btf_map]
static INTERFACE_STATS: Array<InterfaceStats, { INTERFACE_SLOTS as usize }> = Array::new();

pub(crate) fn touch(i: u32) -> bool {
    INTERFACE_STATS.get(i).is_some_and(|i| i.edges_lost != 0)
}
