//! What decisions need from the maps.

use netpol_common::abi::{EdgeValue, Event, FirstSight, InterfaceConfig};

use crate::counts::{Counts, Stats};
use crate::key::Key;
use crate::pending::Set;

/// One of the two maps of counts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Table {
    /// `EDGES`.
    Edges,
    /// `ATTEMPTS`.
    Attempts,
}

/// What became of an insertion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inserted {
    /// The entry is new.
    Made,
    /// There is one of this key; it was not touched.
    Exists,
    /// There is no room.
    Full,
}

/// An interface that user space has configured.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// Its slot in `INTERFACES` and `INTERFACE_STATS`.
    pub index: u32,
    /// What user space said.
    pub config: &'a InterfaceConfig,
    /// What is counted.
    pub stats: &'a Stats,
}

/// The maps, the clock and the seed. Everything may fail quietly except as its result tells.
pub trait Store {
    /// The configured interface of this index.
    fn interface(&self, ifindex: u32) -> Option<Interface<'_>>;
    /// The statistics at a slot of `INTERFACE_STATS`.
    fn stats(&self, index: u32) -> Option<&Stats>;
    /// The entry of this key.
    fn find(&self, table: Table, key: &Key) -> Option<&Counts>;
    /// Adds an entry if there is none of this key.
    fn insert(&self, table: Table, key: &Key, value: &EdgeValue) -> Inserted;
    /// The set of pending handshakes at `index`, below [`crate::SETS`].
    fn pending(&self, index: u32) -> Option<&Set>;
    /// Tells user space of a new edge; `false` if there was no room.
    fn sight(&self, sight: &FirstSight) -> bool;
    /// Counts an event.
    fn event(&self, event: Event);
    /// The seed of the hash of pending handshakes.
    fn seed(&self) -> u64;
    /// Whether any interface is one-sided.
    fn one_sided(&self) -> bool;
    /// Nanoseconds of `CLOCK_MONOTONIC`; may be coarse.
    fn now(&self) -> u64;
}
