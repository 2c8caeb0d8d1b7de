//! `ATTEMPTS`: what was not answered when it was sent, under a quota per interface.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::{EdgeKey, EdgeValue};
use netpol_ebpf::{Counts, Inserted, Key};

use super::{counts, inserted};

#[btf_map]
static ATTEMPTS: HashMap<EdgeKey, EdgeValue, 32_768> = HashMap::new();

#[inline(always)]
pub(crate) fn find(key: &Key) -> Option<&'static Counts> {
    counts(ATTEMPTS.get_ptr_mut(key.as_edge_key()))
}

#[inline(always)]
pub(crate) fn insert(key: &Key, value: &EdgeValue) -> Inserted {
    inserted(ATTEMPTS.insert(key.as_edge_key(), value, u64::from(BPF_NOEXIST)))
}
