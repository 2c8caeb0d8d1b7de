//! Merging by maximum.

use std::collections::btree_map::Entry;

use super::{Curve, EpochLedger, Interface, Ledger, Point};
use crate::observe::{Batch, Losses, ObservedEdge, ObservedKey, ObservedLosses};

/// One second, in microseconds: points are not kept closer than this.
const SECOND: i64 = 1_000_000;

impl Ledger {
    /// Adds what a batch says. Merging it again, later or in another order changes nothing.
    pub fn merge(&mut self, batch: &Batch) {
        let observer = self.observers.entry(batch.observer.clone()).or_default();
        observer.node_addresses.extend(&batch.node_addresses);
        let epoch = observer.epochs.entry(batch.epoch.clone()).or_default();
        epoch.sequence = epoch.sequence.max(batch.sequence);
        epoch.time = epoch.time.max(batch.time.as_microsecond());
        for edge in &batch.edges {
            epoch.merge_edge(batch.sequence, edge);
        }
        for losses in &batch.losses {
            epoch.merge_losses(losses);
        }
    }
}

impl EpochLedger {
    fn merge_edge(&mut self, sequence: u64, edge: &ObservedEdge) {
        let told = Interface {
            sequence,
            pod: edge.pod.clone(),
            one_sided: edge.one_sided,
        };
        self.merge_interface(edge.key.interface, told);
        self.merge_curve(edge.key.clone(), Curve::of(edge));
    }

    pub(crate) fn merge_curve(&mut self, key: ObservedKey, told: Curve) {
        match self.edges.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().merge(&told),
            Entry::Vacant(place) => {
                place.insert(told);
            }
        }
    }

    /// Keeps what the newest batch says of an interface.
    pub(crate) fn merge_interface(&mut self, handle: u32, told: Interface) {
        match self.interfaces.get_mut(&handle) {
            Some(known) if *known < told => *known = told,
            Some(_) => {}
            None => {
                self.interfaces.insert(handle, told);
            }
        }
    }

    pub(crate) fn merge_losses(&mut self, told: &ObservedLosses) {
        let key = (told.interface, told.pod.clone());
        self.losses.entry(key).or_default().merge(&told.losses);
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
    fn merge(&mut self, other: &Self) {
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
