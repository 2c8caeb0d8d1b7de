//! `META`: what belongs to this set of maps as a whole.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use netpol_common::abi::Meta;

#[btf_map]
static META: Array<u64, { Meta::ENTRIES }> = Array::new();

#[inline(always)]
pub(crate) fn get(entry: Meta) -> u64 {
    META.get(entry as u32).copied().unwrap_or(0)
}
