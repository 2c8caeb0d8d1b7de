//! Edges as text and as sets: what is frozen, approved, rejected, and what a proposal rests on.

use std::collections::BTreeSet;

use jiff::Timestamp;
use netpol_common::names::WorkloadName;

use crate::crd::{Frozen, limits};
use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::{EdgeId, Peer};
use crate::policy::options::RejectedEdge;
use crate::policy::{Cluster, Direction};

/// Edges by the direction of the workload whose policy they are for, in the order of [`Direction::ALL`].
pub(super) type Sides = [BTreeSet<EdgeId>; 2];

/// An edge as people write it.
#[must_use]
pub(super) fn text(edge: &EdgeId) -> String {
    RejectedEdge(edge.clone()).to_string()
}

/// The edges that texts name, and what is wrong with the others.
#[must_use]
pub(super) fn parse(field: &str, texts: &[String]) -> (BTreeSet<EdgeId>, Vec<String>) {
    let (mut edges, mut wrong) = (BTreeSet::new(), Vec::new());
    for text in texts {
        match text.parse::<RejectedEdge>() {
            Ok(edge) => drop(edges.insert(edge.0)),
            Err(error) => wrong.push(format!("spec.{field}: {error}")),
        }
    }
    (edges, wrong)
}

/// The end of an edge whose policy is concerned in a direction.
#[must_use]
pub(super) fn end(edge: &EdgeId, direction: Direction) -> &Peer {
    match direction {
        Direction::Ingress => &edge.server,
        Direction::Egress => &edge.client,
    }
}

/// The other end.
#[must_use]
pub(super) fn other_end(edge: &EdgeId, direction: Direction) -> &Peer {
    match direction {
        Direction::Ingress => &edge.client,
        Direction::Egress => &edge.server,
    }
}

/// Those of some edges whose end in each direction is a workload.
#[must_use]
pub(super) fn sides_of(edges: &BTreeSet<EdgeId>, workload: &WorkloadName) -> Sides {
    let own = |edge: &EdgeId, direction| matches!(end(edge, direction), Peer::Workload(name) if name == workload);
    Direction::ALL.map(|direction| {
        let edges = edges.iter().filter(|edge| own(edge, direction));
        edges.cloned().collect()
    })
}

/// Edges as a status holds them; nothing if they are too many.
#[must_use]
pub(super) fn freeze(sides: &Sides, at: Timestamp) -> Option<Frozen> {
    let most = usize::try_from(limits::FROZEN).unwrap_or(usize::MAX);
    if sides.iter().any(|side| side.len() > most) {
        return None;
    }
    let [ingress, egress] = sides;
    let texts = |edges: &BTreeSet<EdgeId>| edges.iter().map(text).collect();
    Some(Frozen {
        at,
        ingress: texts(ingress),
        egress: texts(egress),
    })
}

/// The edges that a status holds.
#[must_use]
pub(super) fn thaw(frozen: &Frozen) -> Sides {
    let [ingress, egress] = [&frozen.ingress, &frozen.egress];
    [parse("", ingress).0, parse("", egress).0]
}

/// Takes out the edges whose other end is not there now, so that no rule can name it, and says how many those are.
/// They come back with it.
pub(super) fn drop_absent(sides: &mut Sides, cluster: &Cluster) -> usize {
    let before: usize = sides.iter().map(BTreeSet::len).sum();
    for (direction, side) in Direction::ALL.into_iter().zip(sides.iter_mut()) {
        side.retain(|edge| is_there(other_end(edge, direction), cluster));
    }
    before - sides.iter().map(BTreeSet::len).sum::<usize>()
}

fn is_there(peer: &Peer, cluster: &Cluster) -> bool {
    match peer {
        Peer::Workload(name) => cluster.workloads.contains_key(name),
        Peer::Node(name) => {
            (cluster.nodes.get(name)).is_some_and(|addresses| !addresses.is_empty())
        }
        Peer::ApiServer => !cluster.api_server.is_empty(),
        Peer::External(_) => true,
    }
}

/// A graph from which a synthesis learns exactly these edges at exactly these ends.
#[must_use]
pub(super) fn graph<'a>(all: impl IntoIterator<Item = &'a Sides>) -> FlowGraph {
    let mut graph = FlowGraph::default();
    for [ingress, egress] in all {
        for edge in ingress {
            entry(&mut graph, edge).server = Some(seen());
        }
        for edge in egress {
            entry(&mut graph, edge).client = Some(seen());
        }
    }
    graph
}

/// Both ends were watched, so that neither learns what only the other one did.
fn entry<'a>(graph: &'a mut FlowGraph, edge: &EdgeId) -> &'a mut Evidence {
    let evidence = graph.edges.entry(edge.clone().into()).or_default();
    evidence.client_watched = true;
    evidence.server_watched = true;
    evidence
}

/// What an end says that saw an edge established, at no known time.
pub(super) fn seen() -> ViewEvidence {
    ViewEvidence {
        counts: Counts {
            established: 1,
            ..Counts::default()
        },
        ..ViewEvidence::default()
    }
}
