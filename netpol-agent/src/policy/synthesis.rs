//! From the flow graph to policies: all of it at once.
//!
//! What a workload learned is worked out when its policy is, and forgotten after it, so that a large graph takes no
//! more memory than its policies do.

use std::borrow::Cow;

use super::cluster::Cluster;
use super::gathered::Gathered;
use super::lessons::{Lessons, Taught};
use super::model::{Direction, Proposal};
use super::options::{Options, OptionsFor};
use super::proposer::Proposer;
use super::remarks;
use crate::graph::FlowGraph;

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
    let mut proposer = Proposer::new(Cow::Borrowed(cluster), Cow::Borrowed(options));
    let edges = Gathered::of(graph, &mut proposer.workloads);
    let taught = AtOnce {
        proposer: &proposer,
        edges,
    };
    with_unresolved(proposer.proposal(&taught), graph)
}

/// A proposal with the findings about what the graph could not resolve.
pub(super) fn with_unresolved(mut proposal: Proposal, graph: &FlowGraph) -> Proposal {
    proposal.findings.extend(remarks::of_unresolved(graph));
    proposal.findings.sort();
    proposal
}

/// What workloads learned from a graph, worked out when somebody asks.
struct AtOnce<'a> {
    proposer: &'a Proposer<'a>,
    edges: Gathered<'a>,
}

impl Taught for AtOnce<'_> {
    fn lessons(&self, place: usize) -> Cow<'_, Lessons> {
        let mut lessons = Lessons::default();
        let Some(asked) = self.proposer.asked(place) else {
            return Cow::Owned(lessons);
        };
        for direction in Direction::ALL {
            let edges = self.edges.edges(place, direction);
            let side = lessons.side_mut(direction);
            side.reserve(edges.len());
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
