//! `EDGES`: every edge that was answered at least once. The truth; only user space deletes from it.

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{EdgeKey, EdgeValue};

#[btf_map]
static EDGES: HashMap<EdgeKey, EdgeValue, 65_536> = HashMap::new();

pub(crate) fn touch(key: &EdgeKey) -> bool {
    EDGES.get_ptr(key).is_some()
}
