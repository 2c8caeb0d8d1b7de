//! From walks of the kernel's maps to counts that never fall within an epoch.
//!
//! The kernel counts cumulatively in entries that user space deletes once they are idle. A [`Cell`] is the history of
//! one key in one map: what earlier entries counted (`before`), and the entry known last (`entry`, `value`). It is
//! made durable before its entry is deleted. When an entry of that key turns up, it is told apart by the time it was
//! made: an entry that bears the cell's time is the same one, deleted in vain or not yet; any other comes on top.
//! Hence nothing is counted twice, whenever the process dies.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Add;

use netpol_common::abi::{EdgeKey, EdgeValue};

use crate::kernel::MapKind;

#[cfg(test)]
mod tests;

/// What an edge counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// See [`EdgeValue::attempts`].
    pub attempts: u64,
    /// See [`EdgeValue::answered`].
    pub answered: u64,
    /// See [`EdgeValue::refused`].
    pub refused: u64,
}

/// The history of one key in one map.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cell {
    /// What all entries before the last one counted.
    pub before: Counts,
    /// What the last entry counted.
    pub value: Counts,
    /// When the last entry was made, in nanoseconds of `CLOCK_MONOTONIC`: its identity.
    pub entry: u64,
    /// When the first entry of this key was made in this epoch, likewise.
    pub first_seen: u64,
    /// The last attempt or answer, likewise.
    pub last_seen: u64,
}

/// Everything that is known of one key: the sum over both maps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Totals {
    /// Counts within the epoch.
    pub counts: Counts,
    /// When the edge was first seen, in nanoseconds of `CLOCK_MONOTONIC`.
    pub first_seen: u64,
    /// When it was last seen, or last found open, likewise.
    pub last_seen: u64,
}

/// Totals as they were delivered, and the revision of the interface's binding that they were delivered under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// The totals.
    pub totals: Totals,
    /// See [`super::interfaces::Interface::revision`].
    pub revision: u32,
}

/// Where the cells of deleted entries are kept.
pub trait Carries {
    /// Why a cell cannot be read.
    type Error;

    /// The cell of `key` in `map`, if an entry of it was ever going to be deleted.
    ///
    /// # Errors
    ///
    /// Whatever the keeping place says.
    fn carried(&self, map: MapKind, key: &EdgeKey) -> Result<Option<Cell>, Self::Error>;
}

/// No entry was ever deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCarries;

/// One key: its cells, and what was delivered of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    cells: [Option<Slot>; 2],
    delivered: Option<Delivered>,
    open_at: u64,
}

/// A cell, and whether the kernel's map still holds its last entry.
#[derive(Clone, Copy, Debug)]
struct Slot {
    cell: Cell,
    live: bool,
}

/// The counts of every key that the kernel's maps hold, or held and have not been delivered since.
#[derive(Clone, Debug, Default)]
pub struct Account {
    entries: BTreeMap<EdgeKey, Entry>,
    live: [usize; 2],
}

impl Counts {
    /// What was counted on top of `earlier`, an earlier count of the same thing.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            attempts: self.attempts.saturating_sub(earlier.attempts),
            answered: self.answered.saturating_sub(earlier.answered),
            refused: self.refused.saturating_sub(earlier.refused),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(other.attempts),
            answered: self.answered.saturating_add(other.answered),
            refused: self.refused.saturating_add(other.refused),
        }
    }
}

impl From<&EdgeValue> for Counts {
    fn from(value: &EdgeValue) -> Self {
        Self {
            attempts: value.attempts,
            answered: value.answered,
            refused: value.refused,
        }
    }
}

impl Carries for NoCarries {
    type Error = Infallible;

    fn carried(&self, _: MapKind, _: &EdgeKey) -> Result<Option<Cell>, Infallible> {
        Ok(None)
    }
}

impl Cell {
    /// The cell of a key that has no history.
    fn new(value: &EdgeValue) -> Self {
        Self {
            before: Counts::default(),
            value: value.into(),
            entry: value.first_seen,
            first_seen: value.first_seen,
            last_seen: value.last_seen,
        }
    }

    /// All that was counted.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.before + self.value
    }

    /// Whether no entry of its key was deleted before the last one.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.before == Counts::default() && self.first_seen == self.entry
    }

    /// The cell after its key was seen with `value`.
    fn seen(mut self, value: &EdgeValue) -> Self {
        if value.first_seen != self.entry {
            self.before = self.total();
            self.entry = value.first_seen;
        }
        self.value = value.into();
        self.first_seen = self.first_seen.min(value.first_seen);
        self.last_seen = self.last_seen.max(value.last_seen);
        self
    }
}

impl Entry {
    /// The sum over both maps; `None` if neither ever held the key.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        let sum = |sum: Totals, cell: &Cell| Totals {
            counts: sum.counts + cell.total(),
            first_seen: sum.first_seen.min(cell.first_seen),
            last_seen: sum.last_seen.max(cell.last_seen),
        };
        let none = Totals {
            counts: Counts::default(),
            first_seen: u64::MAX,
            last_seen: self.open_at,
        };
        let mut cells = self
            .cells
            .iter()
            .flatten()
            .map(|slot| &slot.cell)
            .peekable();
        cells.peek().is_some().then(|| cells.fold(none, sum))
    }

    /// What was delivered of it last.
    #[must_use]
    pub fn delivered(&self) -> Option<&Delivered> {
        self.delivered.as_ref()
    }

    /// When a connection was last found open, in nanoseconds of `CLOCK_MONOTONIC`; 0 if never.
    #[must_use]
    pub fn open_at(&self) -> u64 {
        self.open_at
    }

    /// Whether nothing was ever counted: the entry was made to tell the direction of a conversation under way, and is
    /// no edge by itself.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let totals = self.totals();
        totals.is_some_and(|totals| totals.counts == Counts::default())
    }

    /// Whether it was never answered, delivered or deleted so far.
    #[must_use]
    pub fn is_new_attempt(&self) -> bool {
        let mut cells = self.cells.iter().flatten().map(|slot| &slot.cell);
        self.delivered.is_none()
            && cells.all(|cell| {
                cell.is_first() && cell.value.answered == 0 && cell.value != Counts::default()
            })
    }

    /// Whether everything that is known of it was delivered, under whatever revision; of a blank one there is nothing.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_blank() || self.totals() == self.delivered.map(|delivered| delivered.totals)
    }

    /// Its cell in `map`, if that map still holds an entry.
    #[must_use]
    pub fn live(&self, map: MapKind) -> Option<&Cell> {
        let slot = self.cells[index(map)].as_ref()?;
        slot.live.then_some(&slot.cell)
    }

    fn is_gone(&self) -> bool {
        !self.cells.iter().flatten().any(|slot| slot.live)
    }
}

impl Account {
    /// Takes in an entry of a walk.
    ///
    /// # Errors
    ///
    /// `carries` could not be read; nothing was taken in.
    pub fn observe<C: Carries>(
        &mut self,
        map: MapKind,
        key: EdgeKey,
        value: &EdgeValue,
        carries: &C,
    ) -> Result<(), C::Error> {
        let entry = match self.entries.get_mut(&key) {
            Some(entry) => entry,
            None => {
                let entry = recall(&key, carries)?;
                self.entries.entry(key).or_insert(entry)
            }
        };
        let slot = &mut entry.cells[index(map)];
        if !slot.is_some_and(|slot| slot.live) {
            self.live[index(map)] += 1;
        }
        *slot = Some(Slot {
            cell: slot.map_or_else(|| Cell::new(value), |slot| slot.cell.seen(value)),
            live: true,
        });
        Ok(())
    }

    /// Takes note that the kernel's map holds the entry no more, and of what it counted at last, if that is known.
    ///
    /// Returns the cell if it has changed since it was made durable: packets came in between.
    pub fn deleted(
        &mut self,
        map: MapKind,
        key: &EdgeKey,
        last: Option<&EdgeValue>,
    ) -> Option<Cell> {
        let entry = self.entries.get_mut(key)?;
        let slot = entry.cells[index(map)].as_mut()?;
        if slot.live {
            self.live[index(map)] -= 1;
        }
        let known = slot.cell;
        slot.live = false;
        slot.cell = last.map_or(known, |value| known.seen(value));
        let changed = (slot.cell != known).then_some(slot.cell);
        self.release(key);
        changed
    }

    /// Takes note that totals were acknowledged.
    pub fn acknowledge(&mut self, key: &EdgeKey, delivered: Delivered) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.delivered = Some(delivered);
            self.release(key);
        }
    }

    /// Takes note that a connection of `key` was open at `time`. Returns whether anything was counted of it, be it from what is
    /// carried of it: a connection may stay open longer than its entry.
    ///
    /// # Errors
    ///
    /// `carries` could not be read; nothing was noted.
    pub fn open<C: Carries>(
        &mut self,
        key: &EdgeKey,
        time: u64,
        carries: &C,
    ) -> Result<bool, C::Error> {
        if !self.entries.contains_key(key) {
            let carried = recall(key, carries)?;
            if carried.totals().is_none() || carried.is_blank() {
                return Ok(false);
            }
            self.entries.insert(*key, carried);
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.open_at = entry.open_at.max(time);
        }
        Ok(self.entries.get(key).is_some_and(|entry| !entry.is_blank()))
    }

    /// Every key, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&EdgeKey, &Entry)> {
        self.entries.iter()
    }

    /// The keys of one interface.
    pub fn of_interface(&self, interface: u32) -> impl Iterator<Item = (&EdgeKey, &Entry)> {
        self.entries
            .range(first(interface)..)
            .take_while(move |(key, _)| key.interface == interface)
    }

    /// One key.
    #[must_use]
    pub fn get(&self, key: &EdgeKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many entries `map` was seen to hold.
    #[must_use]
    pub fn live(&self, map: MapKind) -> usize {
        self.live[index(map)]
    }

    /// Forgets an entry that the kernel's map holds no more, and what it counted: that is accounted for elsewhere.
    pub fn discard(&mut self, map: MapKind, key: &EdgeKey) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let slot = entry.cells[index(map)].take();
        if slot.is_some_and(|slot| slot.live) {
            self.live[index(map)] -= 1;
        }
        if entry.is_gone() {
            self.entries.remove(key);
        }
    }

    /// Forgets `key` once it is deleted and delivered; its carried cells know the rest.
    fn release(&mut self, key: &EdgeKey) {
        let done = self
            .entries
            .get(key)
            .is_some_and(|entry| entry.is_gone() && entry.is_settled());
        if done {
            self.entries.remove(key);
        }
    }
}

/// What is carried of `key`, in both maps.
fn recall<C: Carries>(key: &EdgeKey, carries: &C) -> Result<Entry, C::Error> {
    let slot = |map| {
        let cell = carries.carried(map, key)?;
        Ok(cell.map(|cell| Slot { cell, live: false }))
    };
    Ok(Entry {
        cells: [slot(MapKind::Edges)?, slot(MapKind::Attempts)?],
        ..Entry::default()
    })
}

fn index(map: MapKind) -> usize {
    match map {
        MapKind::Edges => 0,
        MapKind::Attempts => 1,
    }
}

/// The smallest key of an interface.
fn first(interface: u32) -> EdgeKey {
    EdgeKey {
        interface,
        port: 0,
        protocol: 0,
        direction: 0,
        local: [0; 16],
        remote: [0; 16],
    }
}
