//! Edges of connections that are older than the observer, and what was delivered of them.
//!
//! Each is counted once, when its interface is attached; see [`super::seed`] for where they are found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::observe::ObservedKey;

/// The connections of one edge that were open when its interface was attached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seed {
    /// How many there were.
    pub count: u64,
    /// When they were found, in nanoseconds of `CLOCK_MONOTONIC`.
    pub first_seen: u64,
    /// When one of them was last found open, likewise.
    pub last_seen: u64,
}

/// A seed as it was delivered, and under which revision of its interface's binding.
pub type DeliveredSeed = (Seed, u32);

/// Every seeded edge of the interfaces that still matter.
#[derive(Clone, Debug, Default)]
pub struct Seeds {
    by_key: BTreeMap<ObservedKey, (Seed, Option<DeliveredSeed>)>,
}

impl Seeds {
    /// The seeds of an earlier process; they are delivered again.
    #[must_use]
    pub fn adopt(kept: impl IntoIterator<Item = (ObservedKey, Seed)>) -> Self {
        let by_key = kept
            .into_iter()
            .map(|(key, seed)| (key, (seed, None)))
            .collect();
        Self { by_key }
    }

    /// Counts `count` connections of `key`, found open at `time`, unless the key was seeded before: whoever looks again
    /// finds the same connections.
    pub fn add(&mut self, key: ObservedKey, count: u64, time: u64) {
        let new = Seed {
            count,
            first_seen: time,
            last_seen: time,
        };
        let (seed, _) = self.by_key.entry(key).or_insert((new, None));
        seed.last_seen = seed.last_seen.max(time);
    }

    /// Takes note that a connection of `key` was open at `time`. Returns whether the key is known.
    pub fn open(&mut self, key: &ObservedKey, time: u64) -> bool {
        let seed = self.by_key.get_mut(key);
        let known = seed.is_some();
        if let Some((seed, _)) = seed {
            seed.last_seen = seed.last_seen.max(time);
        }
        known
    }

    /// Takes note that a seed was acknowledged.
    pub fn acknowledge(&mut self, key: &ObservedKey, delivered: DeliveredSeed) {
        if let Some((_, slot)) = self.by_key.get_mut(key) {
            *slot = Some(delivered);
        }
    }

    /// Every seed and what was delivered of it, in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObservedKey, &Seed, Option<&DeliveredSeed>)> {
        self.by_key
            .iter()
            .map(|(key, (seed, delivered))| (key, seed, delivered.as_ref()))
    }

    /// The seeds of one interface.
    pub fn of_interface(&self, handle: u32) -> impl Iterator<Item = (&ObservedKey, &Seed)> {
        self.by_key
            .iter()
            .filter(move |(key, _)| key.interface == handle)
            .map(|(key, (seed, _))| (key, seed))
    }

    /// Whether the seeds of an interface were delivered as they stand.
    #[must_use]
    pub fn are_delivered(&self, handle: u32, revision: u32) -> bool {
        let mut seeds = self.iter().filter(|(key, _, _)| key.interface == handle);
        seeds.all(|(_, seed, delivered)| delivered == Some(&(*seed, revision)))
    }

    /// Forgets the seeds of an interface.
    pub fn remove(&mut self, handle: u32) {
        self.by_key.retain(|key, _| key.interface != handle);
    }
}

#[cfg(test)]
mod tests {
    use netpol_common::abi::Direction;
    use netpol_common::words::Protocol;

    use super::*;
    use crate::observe::Source;

    #[test]
    fn a_key_is_counted_once_however_often_it_is_looked_for() {
        let key = ObservedKey {
            interface: 1,
            source: Source::Conntrack,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port: 80,
            local: "10.1.0.4".parse().unwrap(),
            remote: "10.1.0.5".parse().unwrap(),
        };
        let mut seeds = Seeds::default();
        seeds.add(key.clone(), 3, 10);
        seeds.add(key.clone(), 2, 20);
        let found: Vec<_> = seeds.of_interface(1).map(|(_, seed)| *seed).collect();
        let expected = Seed {
            count: 3,
            first_seen: 10,
            last_seen: 20,
        };
        assert_eq!(found, [expected]);
    }
}
