//! `EDGES`: every edge that was answered at least once. The truth; only user space deletes from it.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{EdgeKey, EdgeValue};
use netpol_ebpf::{Counts, Inserted, Key};

use super::{counts, inserted};

#[btf_map]
static EDGES: HashMap<EdgeKey, EdgeValue, 65_536> = HashMap::new();

#[inline(always)]
pub(crate) fn find(key: &Key) -> Option<&'static Counts> {
    counts(EDGES.get_ptr_mut(key.as_edge_key()))
}

#[inline(always)]
pub(crate) fn insert(key: &Key, value: &EdgeValue) -> Inserted {
    inserted(EDGES.insert(key.as_edge_key(), value, u64::from(BPF_NOEXIST)))
}
