//! Cumulative counts per (observer, epoch, edge, moment), merged by maximum: idempotent, commutative, associative.
//!
//! A batch tells for each edge how much was counted until it was last seen. The ledger keeps one [`Point`] of that
//! curve per second in which a batch brought news; what happened between two points is their difference. So batches
//! may come twice, late, or in any order. [`Ledger::compact`] thins old points out to one per hour, and later to one per
//! day, except where the other end's address changed hands, since an edge is resolved at the time it was seen.

mod compact;
mod edges;
mod forget;
mod merge;
mod outcome;
mod pack;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;

use jiff::Timestamp;

use crate::observe::{Epoch, Losses, PodIdentity};

pub use edges::Edges;
pub use forget::Forgotten;
pub use pack::Damaged;
pub use records::{records, records_of};

/// Everything that observers told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ledger {
    /// By the observer's name: its node's.
    pub observers: BTreeMap<String, Observer>,
    /// The nodes that have an address on an interface of their own.
    by_address: BTreeMap<IpAddr, BTreeSet<String>>,
}

/// What was told of one epoch of an observer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// What was counted.
    pub epoch: EpochLedger,
    /// Addresses of the observer's node.
    pub node_addresses: BTreeSet<IpAddr>,
}

/// What one observer told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observer {
    /// By epoch.
    pub epochs: BTreeMap<Epoch, EpochLedger>,
    /// Every address that the node has had on an interface of its own.
    pub node_addresses: BTreeSet<IpAddr>,
}

/// What one observer told of one epoch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EpochLedger {
    /// The highest number of a batch.
    pub sequence: u64,
    /// The latest time of a batch, in microseconds of Unix time.
    pub time: i64,
    /// By interface handle: the pod behind it.
    pub interfaces: BTreeMap<u32, Box<Interface>>,
    /// By edge.
    pub edges: Edges,
    /// By interface handle and pod.
    pub losses: BTreeMap<(u32, PodIdentity), Losses>,
}

/// What the newest batch said of an interface.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Interface {
    /// The number of that batch.
    pub sequence: u64,
    /// The pod it belongs to.
    pub pod: PodIdentity,
    /// Whether it shows one side only.
    pub one_sided: bool,
}

/// How the counts of an edge grew.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Curve {
    /// When the edge was first seen, in microseconds of Unix time.
    pub first_seen: i64,
    /// In order of time.
    pub points: Vec<Point>,
}

/// What had been counted until `last`. Times are in microseconds of Unix time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Point {
    /// The earliest time known within this point.
    pub first: i64,
    /// The latest.
    pub last: i64,
    /// Attempts until then.
    pub attempts: u64,
    /// Answers until then.
    pub answered: u64,
    /// Refusals until then.
    pub refused: u64,
}

impl Told {
    /// Whether it tells of edges or losses.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.epoch.edges.is_empty() || !self.epoch.losses.is_empty()
    }
}

impl Ledger {
    /// The latest time of any batch: what outcomes are judged against.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        let epochs = self.observers.values().flat_map(|o| o.epochs.values());
        epochs
            .map(|epoch| epoch.time)
            .max()
            .and_then(|time| Timestamp::from_microsecond(time).ok())
    }

    /// The highest batch number of an observer's epoch, if any batch of it was merged.
    #[must_use]
    pub fn sequence(&self, observer: &str, epoch: &Epoch) -> Option<u64> {
        let observer = self.observers.get(observer)?;
        Some(observer.epochs.get(epoch)?.sequence)
    }

    /// The highest batch number of each epoch of an observer.
    #[must_use]
    pub fn sequences(&self, observer: &str) -> BTreeMap<Epoch, u64> {
        let epochs = self.observers.get(observer);
        let epochs = epochs.into_iter().flat_map(|told| &told.epochs);
        epochs
            .map(|(epoch, told)| (epoch.clone(), told.sequence))
            .collect()
    }

    /// The observer whose name comes after that one's; the first of all after `None`.
    #[must_use]
    pub fn observer_after(&self, name: Option<&str>) -> Option<String> {
        let after = name.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.observers.range::<str, _>((after, Bound::Unbounded));
        rest.next().map(|(name, _)| name.clone())
    }

    /// One epoch of an observer as bytes; see [`Told::encode`].
    #[must_use]
    pub fn page(&self, observer: &str, epoch: &Epoch) -> Option<Vec<u8>> {
        let observer = self.observers.get(observer)?;
        let told = Told {
            epoch: observer.epochs.get(epoch)?.clone(),
            node_addresses: observer.node_addresses.clone(),
        };
        Some(told.encode())
    }

    /// The only node that has `address` on an interface of its own; the observer's own comes first.
    #[must_use]
    pub fn node_of(&self, observer: &str, address: IpAddr) -> Option<&str> {
        let nodes = self.by_address.get(&address)?;
        let own = nodes.get(observer);
        let only = nodes.first().filter(|_| nodes.len() == 1);
        own.or(only).map(String::as_str)
    }
}
