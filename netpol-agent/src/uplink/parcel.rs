//! How much goes into one delivery, and what is left of a batch when parts of it are refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::observe::{Batch, Losses, ObservedLosses, PodIdentity};
use crate::wire;

/// Bytes of a delivery that an agent sends, compressed. Far less than what an aggregator must take, so that neither
/// side needs much memory for it.
const TRANSFERRED: usize = 1 << 20;
/// Bytes of a delivery that an agent sends, as JSON.
const PLAIN: usize = 16 << 20;

/// Most of everything in one delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Batches.
    pub batches: usize,
    /// Bytes, compressed.
    pub transferred: usize,
    /// Bytes of JSON.
    pub plain: usize,
    /// Edges of one batch; one that has more is delivered in pieces.
    pub edges: usize,
}

/// Edges that were given up, by interface and pod.
pub type Lost = BTreeMap<(u32, PodIdentity), u64>;

impl Default for Limits {
    fn default() -> Self {
        Self {
            batches: wire::MOST_BATCHES,
            transferred: TRANSFERRED,
            plain: PLAIN,
            edges: usize::MAX,
        }
    }
}

impl Limits {
    /// Whether a batch still fits, after `batches` with so many bytes. The first one always does.
    #[must_use]
    pub fn allow(&self, batches: usize, transferred: usize, plain: usize) -> bool {
        batches == 0
            || (batches < self.batches && transferred <= self.transferred && plain <= self.plain)
    }

    /// After a delivery of `batches` was refused as too large, the first of which has `edges`: half of it. `false` if
    /// there is no less.
    pub fn halve(&mut self, batches: usize, edges: usize) -> bool {
        if batches > 1 {
            self.batches = batches / 2;
            return true;
        }
        self.batches = 1;
        self.edges = self.edges.min(edges) / 2;
        self.edges > 0
    }

    /// After a delivery was acknowledged: twice as much, up to the usual.
    pub fn grow(&mut self) {
        let usual = Self::default();
        self.batches = self.batches.saturating_mul(2).min(usual.batches);
        self.edges = self.edges.saturating_mul(2);
    }
}

/// A piece of a batch that has more edges than may be delivered at a time: those from `from` on. Losses go with the first
/// piece. All pieces bear the batch's number, which is durable only with the last.
#[must_use]
pub fn piece(batch: &Batch, from: usize, most: usize) -> Batch {
    let edges = batch.edges.iter().skip(from).take(most);
    Batch {
        edges: edges.cloned().collect(),
        losses: match from {
            0 => batch.losses.clone(),
            _ => Vec::new(),
        },
        ..without_counts(batch)
    }
}

/// Divides a batch into what is about other pods than `refused`, and what is about those.
#[must_use]
pub fn divide(batch: &Batch, refused: &BTreeSet<PodIdentity>) -> (Batch, Batch) {
    let (mut kept, mut taken) = (without_counts(batch), without_counts(batch));
    for edge in &batch.edges {
        let part = if refused.contains(&edge.pod) {
            &mut taken
        } else {
            &mut kept
        };
        part.edges.push(edge.clone());
    }
    for losses in &batch.losses {
        let part = if refused.contains(&losses.pod) {
            &mut taken
        } else {
            &mut kept
        };
        part.losses.push(losses.clone());
    }
    (kept, taken)
}

/// Whether it says anything about a pod.
#[must_use]
pub fn is_about_pods(batch: &Batch) -> bool {
    !(batch.edges.is_empty() && batch.losses.is_empty())
}

/// A batch that says nothing but the time.
#[must_use]
pub fn without_counts(batch: &Batch) -> Batch {
    Batch {
        observer: batch.observer.clone(),
        epoch: batch.epoch.clone(),
        sequence: batch.sequence,
        time: batch.time,
        edges: Vec::new(),
        losses: Vec::new(),
        node_addresses: batch.node_addresses.clone(),
    }
}

/// How many edges there are of each pod.
#[must_use]
pub fn count(batch: &Batch) -> Lost {
    let mut lost = Lost::new();
    for edge in &batch.edges {
        let key = (edge.key.interface, edge.pod.clone());
        *lost.entry(key).or_default() += 1;
    }
    lost
}

/// What an observer said of an interface, and what was given up since, in one.
#[must_use]
pub fn with_given_up(told: Losses, interface: u32, pod: PodIdentity, edges: u64) -> ObservedLosses {
    let edges_lost = told.edges_lost.saturating_add(edges);
    let losses = Losses { edges_lost, ..told };
    ObservedLosses {
        interface,
        pod,
        losses,
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::examples::{batch, pod};
    use super::*;

    #[test]
    fn what_is_refused_as_too_large_is_halved_down_to_one_edge() {
        let mut limits = Limits::default();
        let mut batches = 10;
        let mut seen = Vec::new();
        while limits.halve(batches, 5) {
            batches = batches.min(limits.batches);
            seen.push((limits.batches, limits.edges));
        }
        let all = usize::MAX;
        assert_eq!(seen, [(5, all), (2, all), (1, all), (1, 2), (1, 1)]);
        assert_eq!(limits.edges, 0);
    }

    #[test]
    fn limits_grow_back() {
        let mut limits = Limits::default();
        assert!(limits.halve(2, 1));
        for _ in 0..70 {
            limits.grow();
        }
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn pieces_together_are_the_batch() {
        let whole = batch(3, 7);
        let pieces = [0, 3, 6].map(|from| piece(&whole, from, 3));
        let edges: Vec<_> = pieces
            .iter()
            .flat_map(|piece| piece.edges.clone())
            .collect();
        assert_eq!(edges, whole.edges);
        assert!(pieces.iter().all(|piece| piece.sequence == 3));
        let losses: Vec<_> = pieces
            .iter()
            .flat_map(|piece| piece.losses.clone())
            .collect();
        assert_eq!(losses, whole.losses);
    }

    #[test]
    fn only_what_is_about_a_refused_pod_is_taken_out() {
        let whole = batch(1, 6);
        let (kept, taken) = divide(&whole, &BTreeSet::from([pod(1)]));
        assert!(kept.edges.iter().all(|edge| edge.pod != pod(1)));
        assert!(taken.edges.iter().all(|edge| edge.pod == pod(1)) && !taken.edges.is_empty());
        assert_eq!(kept.edges.len() + taken.edges.len(), 6);
        assert_eq!(
            count(&taken).values().sum::<u64>(),
            taken.edges.len() as u64
        );
    }
}
