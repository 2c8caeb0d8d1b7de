//! Merging by maximum.

use super::{Curve, EpochLedger, Interface, Ledger, Observer, Point, Told};
use crate::observe::{Batch, Epoch, Losses, NODE_ADDRESSES, ObservedEdge, PodIdentity};

/// One second, in microseconds: points are not kept closer than this.
const SECOND: i64 = 1_000_000;

impl Ledger {
    /// Adds what a batch says. Merging it again, later or in another order changes nothing.
    pub fn merge(&mut self, batch: &Batch) {
        self.merge_told(&batch.observer, &batch.epoch, Told::of(batch));
    }

    /// Adds what was told of one epoch of an observer: a batch, or many of them merged.
    pub fn merge_told(&mut self, observer: &str, epoch: &Epoch, told: Told) {
        if !self.observers.contains_key(observer) {
            self.observers
                .insert(observer.to_owned(), Observer::default());
        }
        let Some(known) = self.observers.get_mut(observer) else {
            return;
        };
        for address in told.node_addresses {
            if known.node_addresses.insert(address) {
                let nodes = self.by_address.entry(address).or_default();
                nodes.insert(observer.to_owned());
            }
            // Of too many, the same ones stay in whatever order they come.
            if known.node_addresses.len() > NODE_ADDRESSES
                && let Some(last) = known.node_addresses.pop_last()
                && let Some(nodes) = self.by_address.get_mut(&last)
            {
                nodes.remove(observer);
                if nodes.is_empty() {
                    self.by_address.remove(&last);
                }
            }
        }
        match known.epochs.get_mut(epoch) {
            Some(known) => known.merge(told.epoch),
            None => drop(known.epochs.insert(epoch.clone(), told.epoch)),
        }
    }
}

impl Told {
    /// What one batch tells.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        let mut epoch = EpochLedger {
            sequence: batch.sequence,
            time: batch.time.as_microsecond(),
            ..EpochLedger::default()
        };
        for edge in &batch.edges {
            epoch.note_interface(batch.sequence, edge);
        }
        let edges = batch.edges.iter();
        epoch.edges = edges
            .map(|edge| (edge.key.clone(), Curve::of(edge)))
            .collect();
        for losses in &batch.losses {
            epoch.merge_losses((losses.interface, losses.pod.clone()), &losses.losses);
        }
        Self {
            epoch,
            node_addresses: batch.node_addresses.iter().copied().collect(),
        }
    }
}

impl EpochLedger {
    fn merge(&mut self, told: Self) {
        self.sequence = self.sequence.max(told.sequence);
        self.time = self.time.max(told.time);
        for (handle, interface) in told.interfaces {
            self.merge_interface(handle, *interface);
        }
        self.edges.merge_all(told.edges);
        for (key, losses) in told.losses {
            self.merge_losses(key, &losses);
        }
    }

    fn note_interface(&mut self, sequence: u64, edge: &ObservedEdge) {
        if let Some(known) = self.interfaces.get(&edge.key.interface)
            && known.one_sided == edge.one_sided
            && known.pod == edge.pod
        {
            return;
        }
        let told = Interface {
            sequence,
            pod: edge.pod.clone(),
            one_sided: edge.one_sided,
        };
        self.merge_interface(edge.key.interface, told);
    }

    /// Keeps what the newest batch says of an interface.
    pub(crate) fn merge_interface(&mut self, handle: u32, told: Interface) {
        match self.interfaces.get_mut(&handle) {
            Some(known) if **known < told => **known = told,
            Some(_) => {}
            None => {
                self.interfaces.insert(handle, Box::new(told));
            }
        }
    }

    pub(crate) fn merge_losses(&mut self, key: (u32, PodIdentity), told: &Losses) {
        self.losses.entry(key).or_default().merge(told);
    }
}

impl Losses {
    /// The greater of each count.
    pub fn merge(&mut self, other: &Self) {
        self.edges_lost = self.edges_lost.max(other.edges_lost);
        self.edges_recovered = self.edges_recovered.max(other.edges_recovered);
        self.attempts_lost = self.attempts_lost.max(other.attempts_lost);
        self.attempts_recovered = self.attempts_recovered.max(other.attempts_recovered);
        self.foreign = self.foreign.max(other.foreign);
        self.not_for_pod = self.not_for_pod.max(other.not_for_pod);
        self.observation_gap |= other.observation_gap;
    }
}

impl Curve {
    /// The curve that one delivery of an edge tells: a single point.
    fn of(edge: &ObservedEdge) -> Self {
        let (first_seen, point) = Point::of(edge);
        Self {
            first_seen,
            points: vec![point],
        }
    }

    /// Takes over every point of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        for point in &other.points {
            self.merge_point(*point);
        }
    }

    pub(super) fn merge_point(&mut self, point: Point) {
        match self
            .points
            .binary_search_by_key(&point.second(), Point::second)
        {
            Ok(at) => self.points[at].merge(&point),
            Err(at) => self.points.insert(at, point),
        }
    }
}

impl Point {
    /// When the edge was first seen, and the point that one delivery of it tells.
    pub(crate) fn of(edge: &ObservedEdge) -> (i64, Self) {
        let last = edge.last_seen.as_microsecond();
        let point = Self {
            first: last,
            last,
            attempts: edge.attempts,
            answered: edge.answered,
            refused: edge.refused,
        };
        (edge.first_seen.as_microsecond().min(last), point)
    }

    /// The second that it stands for.
    pub(crate) fn second(&self) -> i64 {
        self.last.div_euclid(SECOND)
    }

    /// The point that says what both say.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.attempts = self.attempts.max(other.attempts);
        self.answered = self.answered.max(other.answered);
        self.refused = self.refused.max(other.refused);
    }
}
