//! Taking a policy off by itself when what worked before it fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::WorkloadName;

use super::edges;
use crate::graph::FlowGraph;
use crate::identity::{EdgeId, Index, Peer};
use crate::policy::Direction;

/// Looks that are remembered of a workload.
const LOOKS: usize = 512;

/// When a policy is taken off: the annotation `netpol.io/rollback-on`, as in `20/5m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trigger {
    /// So many failures.
    pub failures: u64,
    /// Within this time.
    pub within: SignedDuration,
}

/// A text that is no trigger.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "netpol.io/rollback-on: {0:?} is not understood: write FAILURES/TIME, as in 20/5m, with at least 1 failure and 1s to 10m"
)]
pub struct InvalidTrigger(String);

/// Since when failures are counted, and of which edges they are not.
pub(super) type Since = (Timestamp, BTreeSet<EdgeId>);

/// What people rejected of the edges of workloads, at either end: it fails because they wanted that.
pub(super) type Rejected = BTreeMap<WorkloadName, BTreeSet<EdgeId>>;

/// How often edges of a workload that were good have failed, look by look.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    since: Option<Since>,
    looks: VecDeque<(Timestamp, u64)>,
}

impl std::str::FromStr for Trigger {
    type Err = InvalidTrigger;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTrigger(text.to_owned());
        let (failures, time) = text.split_once('/').ok_or_else(invalid)?;
        let failures: u64 = failures.trim().parse().map_err(|_| invalid())?;
        let time = time.trim();
        let seconds = match (time.strip_suffix('s'), time.strip_suffix('m')) {
            (Some(seconds), _) => seconds.parse::<u32>().ok(),
            (_, Some(minutes)) => minutes.parse::<u32>().ok().and_then(|m| m.checked_mul(60)),
            _ => None,
        };
        match seconds {
            Some(seconds @ 1..=600) if failures > 0 => Ok(Self {
                failures,
                within: SignedDuration::from_secs(i64::from(seconds)),
            }),
            _ => Err(invalid()),
        }
    }
}

impl Failures {
    /// Takes in how often edges have failed in all, for a policy that was applied at `since`; tells how often they have
    /// within the trigger's time. What was before the first look after an apply, or after somebody rejected an edge or
    /// took that back, does not count.
    pub(super) fn look(
        &mut self,
        since: Since,
        all: u64,
        within: SignedDuration,
        now: Timestamp,
    ) -> u64 {
        let since = Some(since);
        if self.since != since {
            self.looks.clear();
            self.since = since;
        }
        self.looks.push_back((now, all));
        let from = now.saturating_sub(within).unwrap_or(Timestamp::MIN);
        while self.looks.len() > LOOKS || self.looks.get(1).is_some_and(|(at, _)| *at <= from) {
            self.looks.pop_front();
        }
        let before = self.looks.iter().map(|(_, all)| *all).min();
        all.saturating_sub(before.unwrap_or(all))
    }
}

/// What people rejected, each in the proposal of a workload.
#[must_use]
pub(super) fn rejected<'a>(
    all: impl Iterator<Item = (&'a WorkloadName, &'a BTreeSet<EdgeId>)>,
) -> Rejected {
    let mut rejected = Rejected::new();
    for (own, edge) in all.flat_map(|(own, edges)| edges.iter().map(move |edge| (own, edge))) {
        let ends = Direction::ALL.map(|direction| edges::end(edge, direction));
        let names = ends.into_iter().filter_map(|end| match end {
            Peer::Workload(name) => Some(name),
            _ => None,
        });
        let names: Vec<&WorkloadName> = names.collect();
        if !names.contains(&own) {
            continue;
        }
        for name in names {
            let known = rejected.entry(name.clone()).or_default();
            known.insert(edge.clone());
        }
    }
    rejected
}

/// How often edges failed, by workload: those of its edges, at either end, that were answered before its policy was
/// applied, whose server has ready endpoints still, and that nobody rejected. `applied` tells when it was.
#[must_use]
pub(super) fn failures(
    graph: &FlowGraph,
    index: &Index,
    applied: &BTreeMap<WorkloadName, Timestamp>,
    rejected: &Rejected,
) -> BTreeMap<WorkloadName, u64> {
    let mut ready: BTreeMap<&WorkloadName, bool> = BTreeMap::new();
    let mut all: BTreeMap<WorkloadName, u64> = BTreeMap::new();
    if applied.is_empty() {
        return all;
    }
    for (edge, evidence) in &graph.edges {
        let Some(view) = &evidence.client else {
            continue;
        };
        let failed = view.counts.refused.saturating_add(view.counts.unanswered);
        if failed == 0 || view.counts.established == 0 {
            continue;
        }
        let is_ready = match &edge.server {
            Peer::Workload(name) => {
                *(ready.entry(name)).or_insert_with(|| index.has_ready_endpoints(name))
            }
            Peer::ApiServer => true,
            Peer::Node(_) | Peer::External(_) => false,
        };
        for direction in Direction::ALL {
            let Peer::Workload(name) = edges::end(edge, direction) else {
                continue;
            };
            let before = |at: &Timestamp| view.first_seen.is_some_and(|first| first < *at);
            let is_wanted = !(rejected.get(name)).is_some_and(|edges| edges.contains(&**edge));
            if is_ready && is_wanted && applied.get(name).is_some_and(before) {
                let sum = all.entry(name.clone()).or_default();
                *sum = sum.saturating_add(failed);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_322_800 + second).unwrap()
    }

    #[test]
    fn a_trigger_is_failures_and_a_time() {
        let trigger: Trigger = "20/5m".parse().unwrap();
        assert_eq!(trigger.failures, 20);
        assert_eq!(trigger.within, SignedDuration::from_mins(5));
        assert_eq!("1/30s".parse::<Trigger>().unwrap().within.as_secs(), 30);
        for wrong in [
            "",
            "5m",
            "0/5m",
            "3/11m",
            "3/0s",
            "3/5h",
            "-1/5m",
            "3/5",
            "a/5m",
            "3/99999999m",
        ] {
            let error = wrong.parse::<Trigger>().unwrap_err().to_string();
            assert!(error.contains("as in 20/5m"), "{wrong}");
        }
    }

    #[test]
    fn only_what_fails_after_the_first_look_and_within_the_time_counts() {
        let mut failures = Failures::default();
        let within = SignedDuration::from_secs(60);
        let mut look =
            |since, all, now| failures.look((at(since), BTreeSet::new()), all, within, at(now));
        assert_eq!(look(0, 100, 1), 0, "that was before");
        assert_eq!(look(0, 103, 10), 3);
        assert_eq!(look(0, 105, 50), 5);
        assert_eq!(look(0, 105, 75), 2, "the first three are too long ago");
        assert_eq!(look(0, 105, 200), 0);
        assert_eq!(look(300, 120, 301), 0, "another apply begins anew");
        assert_eq!(look(300, 121, 302), 1);
    }

    #[test]
    fn looks_are_bounded() {
        let mut failures = Failures::default();
        for second in 0..2_000 {
            let since = (at(0), BTreeSet::new());
            failures.look(since, 1, SignedDuration::from_mins(10), at(second / 10));
        }
        assert!(failures.looks.len() <= LOOKS);
    }
}
