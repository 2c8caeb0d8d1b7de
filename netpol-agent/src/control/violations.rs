//! What policies deny, or would deny: aggregated, bounded, each with a name that stays.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::{ObjectName, WorkloadName};

use super::complete::hour;
use super::edges::{self, Sides};
use super::ours::short_hash;
use crate::crd::{Violation, ViolationState, limits};
use crate::graph::{Counts, Evidence, FlowGraph};
use crate::identity::{EdgeId, Peer};
use crate::policy::Direction;
use crate::policy::against::coverage::Coverage as Judge;

/// A violation is told again after so long, if it goes on.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// A workload whose violations are wanted.
pub(super) struct Subject<'a> {
    /// The workload.
    pub name: &'a WorkloadName,
    /// Edges that its policy allows: they are not looked at.
    pub allowed: &'a Sides,
    /// Edges that a person rejected.
    pub rejected: &'a BTreeSet<EdgeId>,
    /// Edges that may be violations: those that were learned, and those that were tried.
    pub candidates: Sides,
    /// Those of them that were tried since its policy is in force.
    pub tried: Sides,
    /// What was told before.
    pub known: &'a [Violation],
}

/// The violations of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Those that are listed, in canonical order.
    pub listed: Vec<Violation>,
    /// How many there are in all.
    pub all: u32,
    /// How many of them nobody has decided on.
    pub open: u32,
    /// How many of these were tried since the policy is in force.
    pub open_since: u32,
    /// Those to be told now.
    pub told: Vec<Violation>,
}

/// The violations of a workload, by policies that `judge` stands for. `proposal_of` names the proposal of a workload
/// whose policy may deny an edge too.
#[must_use]
pub(super) fn find(
    subject: &Subject<'_>,
    graph: &FlowGraph,
    judge: &Judge<'_>,
    proposal_of: &dyn Fn(&WorkloadName) -> Option<ObjectName>,
    now: Timestamp,
) -> Found {
    let known: BTreeMap<&str, &Violation> = (subject.known.iter())
        .map(|one| (one.id.as_str(), one))
        .collect();
    let mut all = Vec::new();
    let mut open_since = 0_u32;
    for (place, direction) in Direction::ALL.into_iter().enumerate() {
        let fresh = subject.candidates[place].difference(&subject.allowed[place]);
        for edge in fresh {
            if judge.judge(subject.name, direction, edge).allowed {
                continue;
            }
            let Some(evidence) = graph.edges.get(edge) else {
                continue;
            };
            let id = id(edge, direction);
            let approve_in = denying(edge, judge, proposal_of);
            let before = known.get(id.as_str()).copied();
            let one = violation(id, edge, direction, evidence, before, subject, approve_in);
            let is_open = one.state == ViolationState::Open;
            open_since += u32::from(is_open && subject.tried[place].contains(edge));
            all.push(one);
        }
    }
    Found {
        open_since,
        ..bounded(all, &known, now)
    }
}

/// As many as are listed: first those that were listed before, so that none comes and goes.
fn bounded(mut all: Vec<Violation>, known: &BTreeMap<&str, &Violation>, now: Timestamp) -> Found {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let is_open = |one: &&Violation| one.state == ViolationState::Open;
    let (number, open) = (all.len(), all.iter().filter(is_open).count());
    all.sort_by(|one, other| {
        let rank = |one: &Violation| (!known.contains_key(one.id.as_str()), one.state);
        (rank(one), &one.edge, &one.direction).cmp(&(rank(other), &other.edge, &other.direction))
    });
    all.truncate(usize::try_from(limits::VIOLATIONS).unwrap_or(usize::MAX));
    all.sort_by(|one, other| (&one.edge, &one.direction).cmp(&(&other.edge, &other.direction)));
    let mut told = Vec::new();
    for one in &mut all {
        if is_due(one, known.get(one.id.as_str()).copied(), now) {
            one.reported = Some(now);
            told.push(one.clone());
        }
    }
    Found {
        listed: all,
        all: count(number),
        open: count(open),
        open_since: 0,
        told,
    }
}

/// Whether a violation is to be told: if it is new, or an hour after it was last told if it was seen since.
fn is_due(one: &Violation, before: Option<&Violation>, now: Timestamp) -> bool {
    if one.state != ViolationState::Open {
        return false;
    }
    let Some((before, reported)) = before.and_then(|one| Some((one, one.reported?))) else {
        return true;
    };
    let again = reported.saturating_add(AGAIN).unwrap_or(Timestamp::MAX);
    now >= again && one.count > before.count
}

/// The name of a violation: the same for the same edge and direction, always.
#[must_use]
pub(super) fn id(edge: &EdgeId, direction: Direction) -> String {
    short_hash(&format!("{direction} {}", edges::text(edge)), 10)
}

/// The proposals of those ends of an edge whose policies deny it.
fn denying(
    edge: &EdgeId,
    judge: &Judge<'_>,
    proposal_of: &dyn Fn(&WorkloadName) -> Option<ObjectName>,
) -> Vec<String> {
    let ends = Direction::ALL.into_iter().filter_map(|direction| {
        let Peer::Workload(name) = edges::end(edge, direction) else {
            return None;
        };
        let denied = !judge.judge(name, direction, edge).allowed;
        denied.then(|| proposal_of(name)).flatten()
    });
    let names: BTreeSet<String> = ends.map(|name| name.to_string()).collect();
    names.into_iter().collect()
}

fn violation(
    id: String,
    edge: &EdgeId,
    direction: Direction,
    evidence: &Evidence,
    before: Option<&Violation>,
    subject: &Subject<'_>,
    approve_in: Vec<String>,
) -> Violation {
    let (first, last) = seen(evidence);
    let first_seen = before.map(|before| before.first_seen).or(first);
    let last_seen = hour(last.unwrap_or(Timestamp::UNIX_EPOCH));
    // An hour begins before what happens in it, but nothing was seen last before it was seen first.
    let last_seen = last_seen.max(first_seen.unwrap_or(last_seen));
    let state = match subject.rejected.contains(edge) {
        true => ViolationState::Rejected,
        false => ViolationState::Open,
    };
    // What goes on is counted anew with every hour, so that it is not written with every packet.
    let count = match before {
        Some(before) if before.last_seen == last_seen => before.count,
        _ => attempts(evidence),
    };
    Violation {
        id,
        edge: edges::text(edge),
        direction: direction.name().to_owned(),
        state,
        approve_in,
        count,
        first_seen: first_seen.unwrap_or(last_seen),
        last_seen,
        reported: before.and_then(|before| before.reported),
    }
}

/// From when to when any view saw an edge.
fn seen(evidence: &Evidence) -> (Option<Timestamp>, Option<Timestamp>) {
    let views = || [&evidence.client, &evidence.server].into_iter().flatten();
    (
        views().filter_map(|view| view.first_seen).min(),
        views().filter_map(|view| view.last_seen).max(),
    )
}

/// How often an edge was tried, by whichever view saw it more often. Views are never added up.
fn attempts(evidence: &Evidence) -> u64 {
    let views = [&evidence.client, &evidence.server].into_iter().flatten();
    let all = |counts: &Counts| {
        [
            counts.established,
            counts.refused,
            counts.unanswered,
            counts.one_way,
            counts.unknown,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    };
    views.map(|view| all(&view.counts)).max().unwrap_or(0)
}

/// Edges that a workload's client or server end tried since a time, as the clients saw it, whatever came of them.
#[must_use]
pub(super) fn attempted(
    graph: &FlowGraph,
    since: impl Fn(&WorkloadName) -> Option<Timestamp>,
) -> BTreeMap<WorkloadName, Sides> {
    let mut all: BTreeMap<WorkloadName, Sides> = BTreeMap::new();
    for (edge, evidence) in &graph.edges {
        let last = evidence.client.as_ref().and_then(|view| view.last_seen);
        let Some(last) = last else { continue };
        for (place, direction) in Direction::ALL.into_iter().enumerate() {
            let Peer::Workload(name) = edges::end(edge, direction) else {
                continue;
            };
            let is_probe = evidence.own_node && direction == Direction::Ingress;
            if !is_probe && since(name).is_some_and(|since| last >= since) {
                all.entry(name.clone()).or_default()[place].insert(EdgeId::clone(edge));
            }
        }
    }
    all
}
