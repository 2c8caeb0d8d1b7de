//! What one view says of an edge.

use jiff::Timestamp;
use netpol_common::words::Outcome;

use super::{Counts, Windows};

/// What one view says of an edge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ViewEvidence {
    /// How often, by outcome.
    pub counts: Counts,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// Whether a connection was open that had been answered before.
    pub open: bool,
    /// When one-way datagrams were first and last seen.
    pub one_way_seen: Option<(Timestamp, Timestamp)>,
    /// Whether one-way datagrams were seen in two separate minutes.
    pub repeated: bool,
    /// The windows in which what may make a rule was seen: the first and the last of each record of it.
    pub windows: Windows,
}

impl ViewEvidence {
    /// Adds what a record says. Established with count 0 is a connection that was open all the while.
    pub(super) fn add(
        &mut self,
        outcome: Outcome,
        count: u64,
        span: Option<(Timestamp, Timestamp)>,
    ) {
        let known = self.counts.of_mut(outcome);
        *known = known.saturating_add(count);
        self.open |= count == 0 && outcome == Outcome::Established;
        if let Some((first, last)) = span {
            self.first_seen = Some(self.first_seen.map_or(first, |known| known.min(first)));
            self.last_seen = Some(self.last_seen.map_or(last, |known| known.max(last)));
            if makes_rules(outcome) {
                self.windows.insert(Windows::of(first));
                self.windows.insert(Windows::of(last));
            }
        }
        if outcome == Outcome::OneWay {
            self.see_one_way(span);
        }
    }

    /// Adds the counts of some outcomes of `other`, and when it was seen.
    pub(super) fn take(&mut self, other: &Self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let known = self.counts.of_mut(*outcome);
            *known = known.saturating_add(other.counts.of(*outcome));
        }
        self.first_seen = earliest(self.first_seen, other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.open |= other.open && outcomes.contains(&Outcome::Established);
        if outcomes.iter().copied().any(makes_rules) {
            self.windows.merge(&other.windows);
        }
        if outcomes.contains(&Outcome::OneWay) {
            self.see_one_way(other.one_way_seen);
        }
    }

    /// Counts an open connection as one where no other is known.
    pub(super) fn count_open(&mut self) {
        if self.open && self.counts.established == 0 {
            self.counts.established = 1;
        }
    }

    fn see_one_way(&mut self, span: Option<(Timestamp, Timestamp)>) {
        let Some(span) = span else { return };
        let known = self.one_way_seen.unwrap_or(span);
        let seen = (known.0.min(span.0), known.1.max(span.1));
        self.one_way_seen = Some(seen);
        self.repeated = minute(seen.0) != minute(seen.1);
    }
}

/// Whether traffic with this outcome can make a rule.
fn makes_rules(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Established | Outcome::OneWay)
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}
