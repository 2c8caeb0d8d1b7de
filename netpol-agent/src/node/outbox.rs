//! What is delivered, and when.
//!
//! One batch is under way at a time, and stays so until it is acknowledged. It holds what has changed since: news
//! (an edge, an outcome, a binding that was not delivered) as soon as it is known, counts that only grew once in
//! [`REFRESH`]. An empty batch goes out now and then all the same, since outcomes are judged against a batch's time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use netpol_common::abi::EdgeKey;

use super::account::{Counts, Delivered, Entry, Totals};
use super::books::Books;
use super::interfaces::{Interface, Verdict, observed};
use super::seeds::{DeliveredSeed, Seed};
use crate::observe::{Batch, Epoch, ObservedEdge, ObservedKey, ObservedLosses};

#[cfg(test)]
mod tests;

/// How often counts that only grew are delivered, in nanoseconds.
const REFRESH: u64 = 15_000_000_000;
/// How long nothing at all may be delivered, in nanoseconds.
const SILENCE: u64 = 10_000_000_000;
/// Most edges in one batch.
const BATCH: usize = 2_000;

/// When a batch is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// In nanoseconds of `CLOCK_MONOTONIC`.
    pub kernel: u64,
    /// By the wall clock.
    pub wall: Timestamp,
}

/// What is to be delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// News, and the rest when it is due.
    Due,
    /// Whatever has changed.
    All,
}

/// Batches on their way.
#[derive(Debug)]
pub struct Outbox {
    observer: String,
    epoch: Epoch,
    sequence: u64,
    node_addresses: Vec<IpAddr>,
    under_way: Option<UnderWay>,
    losses: BTreeMap<u32, ObservedLosses>,
    refreshed: u64,
    silent_since: u64,
    addresses_changed: bool,
}

/// A batch that is not acknowledged yet, and what its acknowledgement will mean.
#[derive(Debug)]
struct UnderWay {
    batch: Arc<Batch>,
    edges: Vec<(EdgeKey, Delivered)>,
    seeds: Vec<(ObservedKey, DeliveredSeed)>,
}

impl Outbox {
    /// An outbox whose last batch bore `sequence`.
    #[must_use]
    pub fn new(observer: String, epoch: Epoch, sequence: u64) -> Self {
        Self {
            observer,
            epoch,
            sequence,
            node_addresses: Vec::new(),
            under_way: None,
            losses: BTreeMap::new(),
            refreshed: 0,
            silent_since: 0,
            addresses_changed: false,
        }
    }

    /// The addresses of the node's own interfaces, told with every batch.
    pub fn set_node_addresses(&mut self, addresses: Vec<IpAddr>) {
        self.addresses_changed |= self.node_addresses != addresses;
        self.node_addresses = addresses;
    }

    /// The batch that is to be delivered until it is acknowledged.
    #[must_use]
    pub fn under_way(&self) -> Option<Arc<Batch>> {
        self.under_way
            .as_ref()
            .map(|under_way| Arc::clone(&under_way.batch))
    }

    /// Makes a batch, unless one is under way or nothing is to be delivered. Returns the one that is under way.
    pub fn fill(&mut self, books: &Books, now: Moment, urgency: Urgency) -> Option<Arc<Batch>> {
        if self.under_way.is_none() {
            self.under_way = self.make(books, now, urgency);
        }
        self.under_way()
    }

    /// Takes note that the batch under way was acknowledged.
    pub fn acknowledged(&mut self, books: &mut Books) {
        let Some(under_way) = self.under_way.take() else {
            return;
        };
        for (key, delivered) in under_way.edges {
            books.account.acknowledge(&key, delivered);
        }
        for (key, delivered) in under_way.seeds {
            books.seeds.acknowledge(&key, delivered);
        }
        for losses in &under_way.batch.losses {
            self.losses.insert(losses.interface, losses.clone());
        }
    }

    /// Makes the next batch go out even if there is nothing to be told but the time.
    pub fn break_silence(&mut self) {
        self.silent_since = 0;
    }

    /// Whether everything that will ever be told of a dead interface was told.
    #[must_use]
    pub fn is_finished(&self, books: &Books, handle: u32) -> bool {
        let losses = books
            .losses()
            .into_iter()
            .find(|losses| losses.interface == handle);
        let revision = books
            .interfaces
            .get(handle)
            .map(|interface| interface.revision);
        losses.is_none_or(|losses| self.knows(&losses))
            && revision.is_none_or(|revision| books.seeds.are_delivered(handle, revision))
    }

    /// Whether the losses of an interface were delivered as they stand.
    #[must_use]
    pub fn knows(&self, losses: &ObservedLosses) -> bool {
        self.losses.get(&losses.interface) == Some(losses)
    }

    /// Forgets what was delivered about an interface.
    pub fn forget(&mut self, handle: u32) {
        self.losses.remove(&handle);
    }

    fn make(&mut self, books: &Books, now: Moment, urgency: Urgency) -> Option<UnderWay> {
        let all = urgency == Urgency::All || now.kernel.saturating_sub(self.refreshed) >= REFRESH;
        let edges = changed_edges(books, all);
        let seeds = changed_seeds(books, all, BATCH.saturating_sub(edges.len()));
        if all && edges.len() + seeds.len() < BATCH {
            self.refreshed = now.kernel;
        }
        let losses: Vec<_> = books
            .losses()
            .into_iter()
            .filter(|new| !self.knows(new))
            .collect();
        let silent = now.kernel.saturating_sub(self.silent_since) >= SILENCE;
        let news = !(edges.is_empty() && seeds.is_empty() && losses.is_empty());
        if !(news || silent || self.addresses_changed) {
            return None;
        }
        self.silent_since = now.kernel;
        self.addresses_changed = false;
        self.sequence += 1;
        Some(self.under_way_of(books, now, edges, seeds, losses))
    }

    fn under_way_of(
        &self,
        books: &Books,
        now: Moment,
        edges: Vec<(EdgeKey, Delivered)>,
        seeds: Vec<(ObservedKey, DeliveredSeed)>,
        losses: Vec<ObservedLosses>,
    ) -> UnderWay {
        let of_kernel = edges
            .iter()
            .filter_map(|(key, delivered)| observed_edge(books, observed(key)?, &delivered.totals));
        let of_seeds = seeds
            .iter()
            .filter_map(|(key, (seed, _))| observed_edge(books, key.clone(), &seed.totals()));
        let batch = Batch {
            observer: self.observer.clone(),
            epoch: self.epoch.clone(),
            sequence: self.sequence,
            time: now.wall,
            edges: of_kernel.chain(of_seeds).collect(),
            losses,
            node_addresses: self.node_addresses.clone(),
        };
        UnderWay {
            batch: Arc::new(batch),
            edges,
            seeds,
        }
    }
}

impl Seed {
    /// Its connections as counts: each was attempted and answered.
    fn totals(&self) -> Totals {
        Totals {
            counts: Counts {
                attempts: self.count,
                answered: self.count,
                refused: 0,
            },
            first_seen: self.first_seen,
            last_seen: self.last_seen,
        }
    }
}

/// Edges to be learned that have changed since they were delivered; all of them, or news only.
fn changed_edges(books: &Books, all: bool) -> Vec<(EdgeKey, Delivered)> {
    let changed = |(key, entry): (&EdgeKey, &Entry)| {
        let interface = books.interfaces.get(key.interface)?;
        let totals = entry.totals()?;
        let new = Delivered {
            totals,
            revision: interface.revision,
        };
        let wanted = match entry.delivered() {
            _ if entry.is_blank() => false,
            Some(old) if old == &new => false,
            Some(old) => all || is_news(old, &new),
            None => true,
        };
        let learned = interface.verdict_on(key, entry) == Verdict::Learn;
        (wanted && learned && observed(key).is_some()).then_some((*key, new))
    };
    books
        .account
        .iter()
        .filter_map(changed)
        .take(BATCH)
        .collect()
}

fn changed_seeds(books: &Books, all: bool, most: usize) -> Vec<(ObservedKey, DeliveredSeed)> {
    let seeds = books.seeds.iter().filter_map(|(key, seed, delivered)| {
        let interface = books.interfaces.get(key.interface)?;
        let new = (*seed, interface.revision);
        let wanted = match delivered {
            Some(old) if old == &new => false,
            Some(old) => all || old.1 != new.1,
            None => true,
        };
        let learned = is_learned(interface, &super::interfaces::kernel_key(key));
        (wanted && learned).then(|| (key.clone(), new))
    });
    seeds.take(most).collect()
}

fn is_learned(interface: &Interface, key: &EdgeKey) -> bool {
    observed(key).is_some() && interface.verdict(key) == Verdict::Learn
}

/// Whether more than counts and times has changed: the first answer, the first refusal, or whose edge it is.
fn is_news(old: &Delivered, new: &Delivered) -> bool {
    let (before, after) = (old.totals.counts, new.totals.counts);
    old.revision != new.revision
        || (before.answered == 0) != (after.answered == 0)
        || (before.refused == 0) != (after.refused == 0)
}

fn observed_edge(books: &Books, key: ObservedKey, totals: &Totals) -> Option<ObservedEdge> {
    let interface = books.interfaces.get(key.interface)?;
    let bound = interface.bound.as_ref()?;
    Some(ObservedEdge {
        key,
        pod: bound.pod.clone(),
        attempts: totals.counts.attempts,
        answered: totals.counts.answered,
        refused: totals.counts.refused,
        first_seen: books.clock.wall(totals.first_seen),
        last_seen: books.clock.wall(totals.last_seen),
        one_sided: interface.one_sided,
    })
}
