//! The maps in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use netpol_common::abi::{
    Counters, EVENTS, EdgeKey, EdgeValue, Event, FATES, Fate, FirstSight, InterfaceConfig,
    InterfaceStats,
};

use crate::counts::{Counts, Stats};
use crate::decide;
use crate::key::{Key, Side};
use crate::packet::{self, Head, Packet, Stop};
use crate::pending::{SETS, Set};
use crate::store::{Inserted, Interface, Store, Table};

/// How much the maps hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of `EDGES`.
    pub edges: usize,
    /// Entries of `ATTEMPTS`.
    pub attempts: usize,
    /// Records of the ring, which nobody reads.
    pub sights: usize,
}

/// Room for any test.
pub const LIMITS: Limits = Limits {
    edges: 1 << 16,
    attempts: 1 << 16,
    sights: 1 << 16,
};

type Entries = RefCell<BTreeMap<EdgeKey, &'static Counts>>;

/// A store in memory. Values are leaked, so that references to them outlive deletions, as in the kernel.
#[derive(Debug)]
pub struct Fake {
    limits: Limits,
    edges: Entries,
    attempts: Entries,
    interfaces: Vec<(InterfaceConfig, Stats)>,
    sets: Vec<Set>,
    sights: RefCell<Vec<FirstSight>>,
    counters: RefCell<Counters>,
    now: Cell<u64>,
    seen: Cell<u64>,
}

impl Fake {
    /// An empty store that knows these interfaces, whose slot is their place.
    #[must_use]
    pub fn new(limits: Limits, interfaces: &[InterfaceConfig]) -> Self {
        Self {
            limits,
            edges: Entries::default(),
            attempts: Entries::default(),
            interfaces: interfaces
                .iter()
                .map(|config| (*config, Stats::default()))
                .collect(),
            sets: (0..SETS).map(|_| Set::default()).collect(),
            sights: RefCell::default(),
            counters: RefCell::new(Counters {
                fates: [0; FATES],
                events: [0; EVENTS],
            }),
            now: Cell::new(1),
            seen: Cell::new(0),
        }
    }

    /// Observes a frame that is linear as a whole.
    pub fn observe(&self, side: Side, ifindex: u32, frame: &[u8]) -> Fate {
        self.observe_split(side, ifindex, frame, frame.len())
    }

    /// Observes a frame of which only the first `linear` bytes can be read directly.
    pub fn observe_split(&self, side: Side, ifindex: u32, frame: &[u8], linear: usize) -> Fate {
        self.seen.set(self.seen.get() + 1);
        let head = Head(&frame[..linear.min(frame.len())]);
        let fate = if packet::is_plain_segment(&head) && !self.one_sided() {
            Fate::TcpData
        } else {
            let mut packet = Packet::default();
            let read = match packet::parse(&head, side, &mut packet) {
                Err(stop @ (Stop::Short | Stop::Deep)) => {
                    packet = Packet::default();
                    let read = packet::parse(&frame, side, &mut packet);
                    if stop == Stop::Short && read != Err(Stop::Short) {
                        self.event(Event::NonLinear);
                    }
                    read
                }
                read => read,
            };
            decide(self, side, ifindex, read, &mut packet)
        };
        self.counters.borrow_mut().fates[fate as usize] += 1;
        fate
    }

    /// Lets time pass.
    pub fn pass(&self, nanoseconds: u64) {
        self.now.set(self.now.get() + nanoseconds);
    }

    /// Forgets every pending handshake, as if all slots had been lost.
    pub fn forget_pending(&mut self) {
        self.sets = (0..SETS).map(|_| Set::default()).collect();
    }

    /// Deletes an entry, as user space does.
    pub fn delete(&self, table: Table, key: &EdgeKey) -> Option<EdgeValue> {
        let counts = self.table(table).borrow_mut().remove(key);
        counts.map(Counts::value)
    }

    /// The entries of a table.
    #[must_use]
    pub fn entries(&self, table: Table) -> Vec<(EdgeKey, EdgeValue)> {
        let entries = self.table(table).borrow();
        entries
            .iter()
            .map(|(key, counts)| (*key, counts.value()))
            .collect()
    }

    /// The counts of a key over both tables, times left out.
    #[must_use]
    pub fn sum(&self, key: &EdgeKey) -> (u64, u64, u64) {
        [Table::Edges, Table::Attempts]
            .into_iter()
            .flat_map(|table| self.entries(table))
            .filter(|(found, _)| found == key)
            .fold((0, 0, 0), |sum, (_, value)| {
                (
                    sum.0 + value.attempts,
                    sum.1 + value.answered,
                    sum.2 + value.refused,
                )
            })
    }

    /// How many frames were observed.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.get()
    }

    /// Fates and events.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.counters.borrow()
    }

    /// How often an event happened.
    #[must_use]
    pub fn count(&self, event: Event) -> u64 {
        self.counters.borrow().events[event as usize]
    }

    /// First sights so far.
    #[must_use]
    pub fn sights(&self) -> Vec<FirstSight> {
        self.sights.borrow().clone()
    }

    /// The statistics of an interface.
    #[must_use]
    pub fn statistics(&self, ifindex: u32) -> InterfaceStats {
        self.interface(ifindex)
            .map(|interface| interface.stats.value())
            .unwrap_or_default()
    }

    fn table(&self, table: Table) -> &Entries {
        match table {
            Table::Edges => &self.edges,
            Table::Attempts => &self.attempts,
        }
    }
}

impl Store for Fake {
    fn interface(&self, ifindex: u32) -> Option<Interface<'_>> {
        let index = self
            .interfaces
            .iter()
            .position(|(config, _)| config.ifindex == ifindex)?;
        let (config, stats) = &self.interfaces[index];
        Some(Interface {
            index: u32::try_from(index).ok()?,
            config,
            stats,
        })
    }

    fn stats(&self, index: u32) -> Option<&Stats> {
        let (_, stats) = self.interfaces.get(usize::try_from(index).ok()?)?;
        Some(stats)
    }

    fn find(&self, table: Table, key: &Key) -> Option<&Counts> {
        self.table(table).borrow().get(key.as_edge_key()).copied()
    }

    fn insert(&self, table: Table, key: &Key, value: &EdgeValue) -> Inserted {
        let limit = match table {
            Table::Edges => self.limits.edges,
            Table::Attempts => self.limits.attempts,
        };
        let mut entries = self.table(table).borrow_mut();
        if entries.contains_key(key.as_edge_key()) {
            return Inserted::Exists;
        }
        if entries.len() >= limit {
            return Inserted::Full;
        }
        let counts = Box::leak(Box::new(Counts::new(value)));
        entries.insert(*key.as_edge_key(), counts);
        Inserted::Made
    }

    fn pending(&self, index: u32) -> Option<&Set> {
        self.sets.get(usize::try_from(index).ok()?)
    }

    fn sight(&self, sight: &FirstSight) -> bool {
        let mut sights = self.sights.borrow_mut();
        let room = sights.len() < self.limits.sights;
        if room {
            sights.push(*sight);
        }
        room
    }

    fn event(&self, event: Event) {
        self.counters.borrow_mut().events[event as usize] += 1;
    }

    fn seed(&self) -> u64 {
        0x5eed
    }

    fn one_sided(&self) -> bool {
        self.interfaces.iter().any(|(config, _)| config.one_sided())
    }

    fn now(&self) -> u64 {
        self.now.get()
    }
}
