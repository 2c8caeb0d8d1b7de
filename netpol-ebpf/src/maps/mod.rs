//! The maps, each private to its file, and what decisions make of them.

pub(crate) mod attempts;
pub(crate) mod counters;
pub(crate) mod edges;
pub(crate) mod interface_stats;
pub(crate) mod interfaces;
pub(crate) mod meta;
pub(crate) mod pending;
pub(crate) mod scratch;
pub(crate) mod sights;

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use netpol_common::abi::{EdgeValue, Event, FirstSight, Meta};
use netpol_ebpf::{Counts, Inserted, Interface, Key, Set, Stats, Store, Table};

/// The store that is the BPF maps.
pub(crate) struct Maps;

impl Store for Maps {
    #[inline(always)]
    fn interface(&self, ifindex: u32) -> Option<Interface<'_>> {
        let (index, config) = interfaces::find(ifindex)?;
        let stats = interface_stats::find(index)?;
        Some(Interface {
            index,
            config,
            stats,
        })
    }

    #[inline(always)]
    fn stats(&self, index: u32) -> Option<&Stats> {
        interface_stats::find(index)
    }

    #[inline(always)]
    fn find(&self, table: Table, key: &Key) -> Option<&Counts> {
        match table {
            Table::Edges => edges::find(key),
            Table::Attempts => attempts::find(key),
        }
    }

    #[inline(always)]
    fn insert(&self, table: Table, key: &Key, value: &EdgeValue) -> Inserted {
        match table {
            Table::Edges => edges::insert(key, value),
            Table::Attempts => attempts::insert(key, value),
        }
    }

    #[inline(always)]
    fn pending(&self, index: u32) -> Option<&Set> {
        pending::find(index)
    }

    #[inline(always)]
    fn sight(&self, sight: &FirstSight) -> bool {
        sights::put(sight)
    }

    #[inline(always)]
    fn event(&self, event: Event) {
        counters::event(event);
    }

    #[inline(always)]
    fn seed(&self) -> u64 {
        meta::get(Meta::Seed)
    }

    #[inline(always)]
    fn one_sided(&self) -> bool {
        meta::get(Meta::OneSided) != 0
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes nothing and only reads a clock.
        unsafe { bpf_ktime_get_coarse_ns() }
    }
}

/// The value of a hash map, for adding to. It may be deleted and used again for another key meanwhile, as the kernel's
/// hash maps allow; then a count of that instant is lost or goes to the other key.
#[inline(always)]
fn counts(value: Option<*mut EdgeValue>) -> Option<&'static Counts> {
    // SAFETY: the kernel keeps the memory of a value for as long as the program runs; `Counts` has the layout of
    // `EdgeValue` (asserted there) and its fields are atomic, since other CPUs write them too.
    unsafe { value?.cast::<Counts>().as_ref() }
}

#[inline(always)]
fn inserted(result: Result<(), i32>) -> Inserted {
    /// "File exists" in every Linux architecture's numbering that runs BPF.
    const EEXIST: i32 = -17;
    match result {
        Ok(()) => Inserted::Made,
        Err(EEXIST) => Inserted::Exists,
        Err(_) => Inserted::Full,
    }
}
