//! Whether enough is known of each workload, the health of the agents that watched it included.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::WorkloadName;
use netpol_common::record::Endpoint;

use super::facts::{Facts, Settings};
use crate::crd::{CoverageStatus, Observation, limits};
use crate::identity::Peer;
use crate::policy::OptionsFor;
use crate::policy::coverage::complete::{Untold, completeness};
use crate::policy::coverage::{self, Completeness, Coverage, Intervals};

/// What is known of how well a workload was watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Knowledge {
    /// The figures, and what is missing before it is complete; nothing, if it is.
    pub coverage: CoverageStatus,
    /// What went wrong with watching.
    pub observation: Observation,
    /// Edges of it were lost lately.
    pub lost: bool,
    /// A pod of it ran unwatched lately.
    pub gap: bool,
    /// A pod of it runs where no agent works, or did lately.
    pub unobserved: bool,
}

impl Knowledge {
    /// Whether it is complete.
    #[must_use]
    pub(super) fn complete(&self) -> bool {
        self.coverage.missing.is_empty()
    }
}

/// What is known of every workload that has pods of its own. `synthesis` tells what of the graph makes rules.
#[must_use]
pub(super) fn knowledge(
    facts: &Facts<'_>,
    settings: &Settings,
    synthesis: &OptionsFor,
    earlier: &BTreeMap<WorkloadName, Observation>,
    began: Timestamp,
) -> BTreeMap<WorkloadName, Knowledge> {
    let options = coverage::Options {
        intervals: Intervals::Nowhere,
        ..coverage::Options::default()
    };
    let lives = facts.index.lives();
    let all = coverage::coverage_for(facts.graph, &lives, &options, synthesis);
    let peer = |end: &_, span| facts.index.peer_at_end(end, span);
    let complete = completeness(facts.graph, &all, &settings.requirements, &peer);
    let lost = losses(facts);
    let unwatched = unwatched(facts, settings, began);
    let none = Observation::default();
    all.into_iter()
        .map(|(name, coverage)| {
            let known = earlier.get(&name).unwrap_or(&none);
            let lost = lost.get(&name).copied().unwrap_or_default();
            let seen = observation(known, lost, unwatched.contains(&name), facts.now);
            let judged = complete.get(&name).cloned().unwrap_or_default();
            let knowledge = judge(&coverage, &judged, seen, facts, settings);
            (name, knowledge)
        })
        .collect()
}

/// Lost edges, and pods with a gap.
type Lost = (u64, u64);

fn losses(facts: &Facts<'_>) -> BTreeMap<WorkloadName, Lost> {
    let mut all: BTreeMap<WorkloadName, Lost> = BTreeMap::new();
    for (pod, losses) in facts.losses {
        let owner = facts.index.peer_at_end(&Endpoint::Pod(pod.clone()), None);
        let Some(Peer::Workload(name)) = owner else {
            continue;
        };
        let (edges, gaps) = all.entry(name).or_default();
        *edges = edges.saturating_add(losses.missing_edges());
        *gaps += u64::from(losses.observation_gap);
    }
    all
}

/// Workloads of which a pod runs on a node whose agent does not work, or that has none.
fn unwatched(facts: &Facts<'_>, settings: &Settings, began: Timestamp) -> BTreeSet<WorkloadName> {
    let since = facts.ago(settings.silence);
    if began > since {
        return BTreeSet::new();
    }
    let works = |node: &String| {
        let last = facts.observers.get(node).copied().flatten();
        last.is_some_and(|last| last >= since)
    };
    let pods = facts.index.pods().filter(|pod| {
        let node = pod
            .node
            .as_ref()
            .filter(|_| !pod.terminal && !pod.host_network);
        node.is_some_and(|node| !works(node))
    });
    pods.map(|pod| facts.index.workload_of(pod)).collect()
}

/// What went wrong so far. Times are those of whole hours, and figures are taken over once an hour, so that what goes
/// wrong all the time is not written all the time.
fn observation(
    known: &Observation,
    (lost, gaps): Lost,
    unwatched: bool,
    now: Timestamp,
) -> Observation {
    let hour = hour(now);
    let mut seen = known.clone();
    if lost > known.lost_edges && known.last_loss != Some(hour) {
        (seen.lost_edges, seen.last_loss) = (lost, Some(hour));
    }
    if gaps > known.gaps {
        (seen.gaps, seen.last_gap) = (gaps, Some(hour));
    }
    if unwatched {
        seen.last_unobserved = Some(hour);
    }
    seen
}

/// The hour that a time lies in.
#[must_use]
pub(super) fn hour(time: Timestamp) -> Timestamp {
    let seconds = time.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(3600)).unwrap_or(time)
}

fn judge(
    coverage: &Coverage,
    judged: &Completeness,
    observation: Observation,
    facts: &Facts<'_>,
    settings: &Settings,
) -> Knowledge {
    let hours = i64::from(settings.requirements.hours);
    let since = facts.ago(SignedDuration::from_hours(hours + 1));
    let lately = |time: Option<Timestamp>| time.is_some_and(|time| time > since);
    let (lost, gap) = (lately(observation.last_loss), lately(observation.last_gap));
    let unobserved = lately(observation.last_unobserved);
    let mut missing: Vec<String> = judged.reasons.iter().map(ToString::to_string).collect();
    let untold = judged.untold.iter();
    let untold = untold.filter(|untold| **untold != Untold::AgentHealth);
    missing.extend(untold.map(|untold| format!("unknown: {untold}")));
    for (holds, what) in [
        (lost, "edges were lost"),
        (gap, "a pod ran for some time before it was watched"),
        (unobserved, "a pod ran on a node without a working agent"),
    ] {
        if holds {
            missing.push(format!("{what} within the last {hours} h"));
        }
    }
    missing.truncate(usize::try_from(limits::TEXTS).unwrap_or(usize::MAX));
    let numbers = coverage.all.numbers;
    Knowledge {
        coverage: CoverageStatus {
            estimate: numbers.map(|numbers| numbers.to_string()),
            unseen: numbers.map(|numbers| numbers.unseen_text()),
            hours: coverage.watched.hours.min(settings.requirements.hours),
            missing,
        },
        observation,
        lost,
        gap,
        unobserved,
    }
}
