//! `META`: what belongs to this set of maps as a whole.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::Meta;

#[btf_map]
static META: Array<u64, { Meta::ENTRIES }> = Array::new();

pub(crate) fn touch() -> bool {
    META.get(Meta::OneSided as u32).is_some_and(|i| *i != 0)
}
