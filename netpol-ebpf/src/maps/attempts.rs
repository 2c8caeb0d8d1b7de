//! `ATTEMPTS`: what was not answered when it was sent, under a quota per interface.

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{EdgeKey, EdgeValue};

#[btf_map]
static ATTEMPTS: HashMap<EdgeKey, EdgeValue, 32_768> = HashMap::new();

pub(crate) fn touch(key: &EdgeKey) -> bool {
    ATTEMPTS.get_ptr(key).is_some()
}
