//! What the edges of the graph come to for the workloads at their ends.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use netpol_common::names::WorkloadName;

use super::cluster::Cluster;
use super::finding::Finding;
use super::learn::{Learned, LeftOut, lesson, peer, rested_on, verdict};
use super::model::Direction;
use super::options::{Options, OptionsFor};
use super::remarks;
use crate::graph::Evidence;
use crate::identity::{EdgeId, Peer};

/// What an edge comes to at one of its ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What it makes a rule of.
    pub(super) learned: Option<Learned>,
    pub(super) told: Told,
}

/// What is to be told of an edge, besides the rule that it makes.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) findings: Vec<Finding>,
    /// As what it is counted where it makes no rule.
    pub(super) counted: Option<Counted>,
}

/// What makes no rule and is only counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counted {
    /// Traffic from a pod's own node.
    OwnNode,
    /// Refused or not answered; counted at one end only.
    NotEstablished,
}

/// What a workload learned, by direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Lessons {
    ingress: Side,
    egress: Side,
}

/// What a workload learned in one direction; each list is in the order of its edges.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    learned: Vec<Learned>,
    told: Vec<(Arc<EdgeId>, Told)>,
}

/// What all workloads learned, each by its place among those that are known.
pub(super) trait Taught: Sync {
    /// What one learned.
    fn lessons(&self, place: usize) -> Cow<'_, Lessons>;

    /// Whether what it learned makes a policy.
    fn make_policy(&self, place: usize) -> bool {
        self.lessons(place).make_policy()
    }
}

impl Seen {
    /// Whether it makes a policy: it makes a rule, or would if nobody had rejected it. What is rejected is to be denied,
    /// so that a workload which has nothing else gets a policy without rules.
    pub(super) fn makes_policy(&self) -> bool {
        self.learned.is_some() || self.told.is_rejected()
    }
}

impl Lessons {
    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    pub(super) fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// What is to be told of edges.
    pub(super) fn told(&self, direction: Direction) -> &[(Arc<EdgeId>, Told)] {
        &self.side(direction).told
    }

    /// What makes a rule.
    pub(super) fn learned(&self, direction: Direction) -> &[Learned] {
        &self.side(direction).learned
    }

    /// What would make a rule if nobody had rejected it.
    pub(super) fn rejected(&self, direction: Direction) -> impl Iterator<Item = &Arc<EdgeId>> {
        let told = self.told(direction).iter();
        told.filter(|(_, told)| told.is_rejected())
            .map(|(edge, _)| edge)
    }

    /// Whether it makes a policy: see [`Seen::makes_policy`].
    pub(super) fn make_policy(&self) -> bool {
        let mut directions = Direction::ALL.into_iter();
        directions.any(|direction| {
            !self.learned(direction).is_empty() || self.rejected(direction).next().is_some()
        })
    }

    /// How many edges are counted as `what`.
    pub(super) fn counted(&self, what: Counted) -> usize {
        let all = self.ingress.told.iter().chain(&self.egress.told);
        all.filter(|(_, told)| told.counted == Some(what)).count()
    }
}

impl Side {
    /// Takes what makes rules out of it.
    pub(super) fn take(&mut self) -> Vec<Learned> {
        std::mem::take(&mut self.learned)
    }

    /// Makes room for so many edges that make rules.
    pub(super) fn reserve(&mut self, edges: usize) {
        self.learned.reserve_exact(edges);
    }

    /// Takes in what an edge comes to that comes after all that are known.
    pub(super) fn append(&mut self, edge: &Arc<EdgeId>, seen: Seen) {
        self.learned.extend(seen.learned);
        if !seen.told.is_nothing() {
            self.told.push((Arc::clone(edge), seen.told));
        }
    }

    /// Takes in what an edge comes to, in place of what it came to before.
    pub(super) fn insert(&mut self, edge: &Arc<EdgeId>, seen: Seen) {
        let told = Some((Arc::clone(edge), seen.told)).filter(|(_, told)| !told.is_nothing());
        put(&mut self.learned, seen.learned, |one| {
            one.support.edge.cmp(edge)
        });
        put(&mut self.told, told, |(known, _)| known.cmp(edge));
    }
}

impl Told {
    fn is_nothing(&self) -> bool {
        self.findings.is_empty() && self.counted.is_none()
    }

    fn is_rejected(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| matches!(finding, Finding::Rejected { .. }))
    }
}

/// Puts something, or nothing, in the place of what `compare` finds equal to it. The graph gives edges in their order,
/// so that most go to the end.
fn put<T>(all: &mut Vec<T>, new: Option<T>, compare: impl Fn(&T) -> Ordering) {
    if all.last().is_none_or(|last| compare(last).is_lt()) {
        all.extend(new);
        return;
    }
    match (all.binary_search_by(compare), new) {
        (Ok(place), Some(new)) => all[place] = new,
        (Err(place), Some(new)) => all.insert(place, new),
        (Ok(place), None) => drop(all.remove(place)),
        (Err(_), None) => {}
    }
}

/// What it depends on, besides an edge, what the edge comes to at the end of a workload.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) options: &'a OptionsFor,
    /// The options of the workload.
    pub(super) own: &'a Options,
    /// Whether ranges of ports are to be inferred anywhere: it takes a walk through all options to know.
    pub(super) infers_ranges: bool,
}

/// What an edge comes to at one end. `has_policies` tells whether the other end has any, too. What was not established
/// is counted at one end only, and not at all where the other end makes a rule of it.
pub(super) fn judge(
    edge: &Arc<EdgeId>,
    evidence: &Evidence,
    asked: Asked<'_>,
    direction: Direction,
    has_policies: impl Fn(&WorkloadName) -> bool,
) -> Seen {
    let mut seen = judge_end(edge, evidence, asked, direction);
    let other = direction.other();
    let counted = Some(Counted::NotEstablished);
    if seen.told.counted == counted
        && let Peer::Workload(name) = end(edge, other)
        && has_policies(name)
    {
        let of_other = Asked {
            own: asked.options.workload(name),
            ..asked
        };
        let other = judge_end(edge, evidence, of_other, other);
        let counted_there = direction == Direction::Ingress && other.told.counted == counted;
        if other.learned.is_some() || counted_there {
            seen.told.counted = None;
        }
    }
    seen
}

/// Whether an edge makes a rule at one end, unless somebody rejected it.
pub(super) fn makes_rule(
    edge: &EdgeId,
    evidence: &Evidence,
    asked: Asked<'_>,
    direction: Direction,
) -> bool {
    let verdict = verdict(edge, evidence, direction, asked.own.one_way);
    verdict.is_ok() && !is_gone(asked.cluster, peer(edge, direction))
}

/// What an edge comes to at one end, which is a workload; what was not established is marked at each.
fn judge_end(
    edge: &Arc<EdgeId>,
    evidence: &Evidence,
    asked: Asked<'_>,
    direction: Direction,
) -> Seen {
    let mut seen = Seen::default();
    let told = &mut seen.told;
    match lesson(edge, evidence, direction, asked.own.one_way) {
        Ok(_) if asked.own.rejects(edge) => {
            told.findings = vec![Finding::Rejected {
                edge: EdgeId::clone(edge),
            }];
        }
        Ok(_) if is_gone(asked.cluster, peer(edge, direction)) => {
            told.findings = vec![Finding::NodeGone {
                edge: EdgeId::clone(edge),
            }];
        }
        Ok(mut learned) => {
            told.findings = remarks::of_edge(edge, evidence, direction, &learned);
            if asked.infers_ranges {
                let view = rested_on(evidence, direction, learned.support.basis);
                let windows = view.map(|view| view.windows.clone());
                learned.windows = Some(Box::new(windows.unwrap_or_default()));
            }
            seen.learned = Some(learned);
        }
        Err(LeftOut::OwnNode) => told.counted = Some(Counted::OwnNode),
        Err(LeftOut::NotEstablished) => told.counted = Some(Counted::NotEstablished),
        Err(why) => told.findings = left_out(edge, direction, why),
    }
    seen
}

/// The end of an edge whose policy is concerned in a direction.
pub(super) fn end(edge: &EdgeId, direction: Direction) -> &Peer {
    match direction {
        Direction::Ingress => &edge.server,
        Direction::Egress => &edge.client,
    }
}

/// What is to be said of an edge that makes no rule.
fn left_out(edge: &EdgeId, direction: Direction, why: LeftOut) -> Vec<Finding> {
    let edge = edge.clone();
    match why {
        LeftOut::OneWay => vec![Finding::OneWayLeftOut { edge }],
        LeftOut::OtherEndOnly => vec![Finding::OtherEndOnly { direction, edge }],
        LeftOut::Unknown => vec![Finding::UnknownOutcome { edge }],
        LeftOut::NotEstablished | LeftOut::OwnNode => Vec::new(),
    }
}

/// Whether a peer is a node that was removed: it has no address that a rule could name, and needs none.
fn is_gone(cluster: &Cluster, peer: &Peer) -> bool {
    matches!(peer, Peer::Node(name) if cluster.nodes.get(name).is_none_or(|addresses| addresses.is_empty()))
}
