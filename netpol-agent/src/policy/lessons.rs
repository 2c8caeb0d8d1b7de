//! What the edges of the graph come to for the workloads at their ends.

use std::borrow::Cow;
use std::sync::Arc;

use super::cluster::Cluster;
use super::finding::Finding;
use super::learn::{Learned, LeftOut, lesson, peer, rested_on};
use super::model::Direction;
use super::options::OptionsFor;
use super::remarks;
use crate::graph::Evidence;
use crate::identity::{EdgeId, Peer};

/// What an edge comes to at one of its ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) edge: Arc<EdgeId>,
    /// What it makes a rule of.
    pub(super) learned: Option<Learned>,
    /// What is to be said of it.
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

/// What a workload learned, by direction; each list is in the order of its edges.
#[derive(Clone, Debug, Default)]
pub(super) struct Lessons {
    ingress: Vec<Seen>,
    egress: Vec<Seen>,
}

/// What all workloads learned, each by its place among those that are known.
pub(super) trait Taught: Sync {
    /// What one learned.
    fn lessons(&self, place: usize) -> Cow<'_, Lessons>;

    /// Whether anything that it learned makes a rule.
    fn any(&self, place: usize) -> bool {
        self.lessons(place).any()
    }
}

impl Lessons {
    /// Those of edges that were seen in their order.
    pub(super) fn new([ingress, egress]: [Vec<Seen>; 2]) -> Self {
        Self { ingress, egress }
    }

    pub(super) fn of(&self, direction: Direction) -> &[Seen] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// What makes a rule.
    pub(super) fn learned(&self, direction: Direction) -> impl Iterator<Item = &Learned> {
        self.of(direction)
            .iter()
            .filter_map(|seen| seen.learned.as_ref())
    }

    /// Whether anything makes a rule.
    pub(super) fn any(&self) -> bool {
        let mut directions = Direction::ALL.into_iter();
        directions.any(|direction| self.learned(direction).next().is_some())
    }

    /// How many edges are counted as `what`.
    pub(super) fn counted(&self, what: Counted) -> usize {
        let all = self.ingress.iter().chain(&self.egress);
        all.filter(|seen| seen.counted == Some(what)).count()
    }

    fn of_mut(&mut self, direction: Direction) -> &mut Vec<Seen> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// Takes in what an edge comes to, in place of what it came to before. The graph gives edges in their order, so
    /// that most go to the end.
    pub(super) fn insert(&mut self, direction: Direction, seen: Seen) {
        let all = self.of_mut(direction);
        match all.last() {
            Some(last) if last.edge >= seen.edge => {
                match all.binary_search_by(|known| known.edge.cmp(&seen.edge)) {
                    Ok(place) => all[place] = seen,
                    Err(place) => all.insert(place, seen),
                }
            }
            _ => all.push(seen),
        }
    }
}

/// What an edge comes to at one end. `has_policies` tells whether the other end has any, too. What was not established is counted at one end
/// only, and not at all where the other end makes a rule of it.
pub(super) fn judge(
    edge: &Arc<EdgeId>,
    evidence: &Evidence,
    (cluster, options): (&Cluster, &OptionsFor),
    direction: Direction,
    has_policies: impl Fn(&Peer) -> bool,
) -> Seen {
    let mut seen = judge_end(edge, evidence, cluster, options, direction);
    let other = direction.other();
    if seen.counted == Some(Counted::NotEstablished) && has_policies(end(edge, other)) {
        let other = judge_end(edge, evidence, cluster, options, other);
        let counted_there =
            direction == Direction::Ingress && other.counted == Some(Counted::NotEstablished);
        if other.learned.is_some() || counted_there {
            seen.counted = None;
        }
    }
    seen
}

/// What an edge comes to at one end; what was not established is marked at each.
fn judge_end(
    edge: &Arc<EdgeId>,
    evidence: &Evidence,
    cluster: &Cluster,
    options: &OptionsFor,
    direction: Direction,
) -> Seen {
    let mut seen = Seen {
        edge: Arc::clone(edge),
        learned: None,
        findings: Vec::new(),
        counted: None,
    };
    let one_way = match end(edge, direction) {
        Peer::Workload(name) => options.workload(name).one_way,
        _ => options.cluster.one_way,
    };
    match lesson(edge, evidence, direction, one_way) {
        Ok(_) if options.rejects(edge, end(edge, direction)) => {
            seen.findings = vec![Finding::Rejected {
                edge: EdgeId::clone(edge),
            }];
        }
        Ok(_) if is_gone(cluster, peer(edge, direction)) => {
            seen.findings = vec![Finding::NodeGone {
                edge: EdgeId::clone(edge),
            }];
        }
        Ok(mut learned) => {
            seen.findings = remarks::of_edge(edge, evidence, direction, &learned);
            if options.infers_ranges() {
                let windows = rested_on(evidence, direction, learned.support.basis);
                learned.windows = Some(Box::new(windows.into_owned()));
            }
            seen.learned = Some(learned);
        }
        Err(LeftOut::OwnNode) => seen.counted = Some(Counted::OwnNode),
        Err(LeftOut::NotEstablished) => seen.counted = Some(Counted::NotEstablished),
        Err(why) => seen.findings = left_out(edge, direction, why),
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
