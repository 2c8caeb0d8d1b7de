//! From the flow graph to policies: all of it at once.
//!
//! What a workload learned is worked out when its policy is, and forgotten after it, so that a large graph takes no
//! more memory than its policies do.

use std::borrow::Cow;
use std::collections::BTreeSet;

use netpol_common::names::WorkloadName;

use super::cluster::Cluster;
use super::gathered::{Edge, Gathered};
use super::lessons::{Lessons, Taught, makes_rule};
use super::model::{Direction, Proposal};
use super::options::{Options, OptionsFor};
use super::proposer::Proposer;
use super::remarks;
use crate::graph::FlowGraph;
use crate::identity::EdgeId;

/// Proposes one policy for each workload with learned edges, also where a person rejected them all. The same graph, cluster and options always give the
/// same proposal, whatever order they were put together in.
#[must_use]
pub fn synthesise(graph: &FlowGraph, cluster: &Cluster, options: &Options) -> Proposal {
    let options = OptionsFor::from(options.clone());
    synthesise_for(graph, cluster, &options)
}

/// Like [`synthesise`], with options that may differ between namespaces and workloads.
#[must_use]
pub fn synthesise_for(graph: &FlowGraph, cluster: &Cluster, options: &OptionsFor) -> Proposal {
    with_unresolved(Synthesis::of(graph, cluster, options).proposal(), graph)
}

/// A graph, a cluster, and what is asked of its policies: for who wants to know what they rest on besides.
pub struct Synthesis<'a> {
    proposer: Proposer<'a>,
    edges: Gathered<'a>,
}

/// The edges of a workload, in the order of [`Direction::ALL`]; without the DNS traffic that options allow besides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EdgesOf {
    /// Those that make rules of its policy.
    pub learned: [BTreeSet<EdgeId>; 2],
    /// Those that would if nobody had rejected them.
    pub rejected: [BTreeSet<EdgeId>; 2],
}

/// A proposal with the findings about what the graph could not resolve.
pub(super) fn with_unresolved(mut proposal: Proposal, graph: &FlowGraph) -> Proposal {
    proposal.findings.extend(remarks::of_unresolved(graph));
    proposal.findings.sort();
    proposal
}

impl<'a> Synthesis<'a> {
    /// Looks up whose the edges of a graph are.
    #[must_use]
    pub fn of(graph: &'a FlowGraph, cluster: &'a Cluster, options: &'a OptionsFor) -> Self {
        let mut proposer = Proposer::new(Cow::Borrowed(cluster), Cow::Borrowed(options));
        let edges = Gathered::of(graph, &mut proposer.workloads);
        Self { proposer, edges }
    }

    /// Proposes policies without the edges that they rest on.
    #[must_use]
    pub fn without_evidence(mut self) -> Self {
        self.proposer.bare = true;
        self
    }

    /// All policies and findings, but for what the graph could not resolve.
    #[must_use]
    pub fn proposal(&self) -> Proposal {
        self.proposer.proposal(self)
    }

    /// The edges of a workload.
    #[must_use]
    pub fn edges_of(&self, workload: &WorkloadName) -> EdgesOf {
        let Some(place) = self.proposer.workloads.get_index_of(workload) else {
            return EdgesOf::default();
        };
        let lessons = self.lessons(place);
        EdgesOf {
            learned: Direction::ALL.map(|direction| {
                let learned = lessons.learned(direction).iter();
                learned
                    .map(|one| EdgeId::clone(&one.support.edge))
                    .collect()
            }),
            rejected: Direction::ALL.map(|direction| {
                let rejected = lessons.rejected(direction);
                rejected.map(|edge| EdgeId::clone(edge)).collect()
            }),
        }
    }

    /// How many edges make rules of a workload's policy, each direction's counted by itself.
    #[must_use]
    pub fn learned_edges_of(&self, workload: &WorkloadName) -> usize {
        let place = self.proposer.workloads.get_index_of(workload);
        let count = |place: usize| {
            let lessons = self.lessons(place);
            let of = |direction| lessons.learned(direction).len();
            Direction::ALL.into_iter().map(of).sum()
        };
        place.map_or(0, count)
    }
}

impl Taught for Synthesis<'_> {
    fn lessons(&self, place: usize) -> Cow<'_, Lessons> {
        let mut lessons = Lessons::default();
        let Some(asked) = self.proposer.asked(place) else {
            return Cow::Owned(lessons);
        };
        for direction in Direction::ALL {
            let edges = self.edges.edges(place, direction);
            let side = lessons.side_mut(direction);
            // All are looked at before any is kept: the processor fetches many at once to read them, but one at a time
            // to count who holds them.
            let learned = edges
                .clone()
                .filter(|Edge { id, evidence, .. }| makes_rule(id, evidence, asked, direction));
            side.reserve(learned.count());
            for edge in edges {
                side.append(edge.id, self.proposer.judge(edge, asked, direction));
            }
        }
        Cow::Owned(lessons)
    }

    fn make_policy(&self, place: usize) -> bool {
        let Some(asked) = self.proposer.asked(place) else {
            return false;
        };
        let mut directions = Direction::ALL.into_iter();
        directions.any(|direction| {
            let mut edges = self.edges.edges(place, direction);
            edges.any(|edge| (self.proposer.judge(edge, asked, direction)).makes_policy())
        })
    }
}
