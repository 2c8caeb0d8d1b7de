//! Which workload behind a service it was.
//!
//! A client's interface shows the service's address, so a flow to a service that several workloads back may be to
//! any of them. The server's own view tells. A workload that no server's view confirms is dropped only where its own
//! interfaces were watched, and never if that would leave none: no edge is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netpol_common::words::{Outcome, Protocol, View};

use super::build::{Builder, ServiceUse};
use super::watch::Watches;
use super::{Evidence, FlowGraph, Resolve, ViewEvidence};
use crate::identity::{EdgeId, Peer};

/// Moves every candidate that is or may be meant into the graph.
pub(super) fn narrow(builder: &mut Builder, resolve: &dyn Resolve) {
    let candidates = std::mem::take(&mut builder.candidates);
    if candidates.is_empty() {
        return;
    }
    let watch = Watch::new(builder, resolve);
    let kept: Vec<Kept> = candidates
        .iter()
        .flat_map(|(service_use, edges)| settle(service_use, edges, &builder.graph, &watch))
        .collect();
    for kept in kept {
        kept.move_into(&mut builder.graph);
    }
}

/// A candidate that stays.
struct Kept {
    id: Arc<EdgeId>,
    evidence: Evidence,
    outcomes: Vec<Outcome>,
}

/// The candidates of one use of a service that stay, each with the outcomes that may be its own.
fn settle(
    service_use: &ServiceUse,
    edges: &BTreeMap<Arc<EdgeId>, Evidence>,
    graph: &FlowGraph,
    watch: &Watch<'_>,
) -> Vec<Kept> {
    let mut kept: BTreeMap<&Arc<EdgeId>, Vec<Outcome>> = BTreeMap::new();
    for outcome in Outcome::ALL {
        let meant = edges.iter().filter(|(_, e)| has(e, outcome));
        let possible: Vec<&Arc<EdgeId>> = meant.map(|(id, _)| id).collect();
        for id in likely(&possible, outcome, graph, watch) {
            kept.entry(id).or_default().push(outcome);
        }
    }
    kept.into_iter()
        .map(|(id, outcomes)| {
            let mut evidence = edges[id].clone();
            if !confirmed(id, Outcome::Established, graph, watch) {
                evidence.by_service.insert(service_use.service.clone());
            }
            Kept {
                id: Arc::clone(id),
                evidence,
                outcomes,
            }
        })
        .collect()
}

/// Those that are confirmed or cannot be judged; all of them if that is none.
fn likely<'a>(
    possible: &[&'a Arc<EdgeId>],
    outcome: Outcome,
    graph: &FlowGraph,
    watch: &Watch<'_>,
) -> Vec<&'a Arc<EdgeId>> {
    let is_confirmed = |id: &&Arc<EdgeId>| confirmed(id, outcome, graph, watch);
    let told = possible.iter().any(is_confirmed);
    let stays = |id: &&Arc<EdgeId>| is_confirmed(id) || !watch.watched(id, told);
    let some: Vec<&Arc<EdgeId>> = possible.iter().copied().filter(stays).collect();
    if some.is_empty() {
        possible.to_vec()
    } else {
        some
    }
}

/// Whether the server's interface saw the like of it. A pod that reaches itself comes back with its node's address.
fn confirmed(id: &EdgeId, outcome: Outcome, graph: &FlowGraph, watch: &Watch<'_>) -> bool {
    let saw = |evidence: &Evidence| {
        let view = evidence.server.as_ref();
        view.is_some_and(|view| alike(outcome).iter().any(|o| view.counts.of(*o) > 0))
    };
    if graph.edges.get(id).is_some_and(saw) {
        return true;
    }
    let port = (&id.server, id.protocol, id.port);
    let mut of_own_node = watch.from_own_node.get(&port).into_iter().flatten();
    id.client == id.server && of_own_node.any(|evidence| saw(evidence))
}

/// What the server's interface shows where the client's shows `outcome`: the two need not see the same packets.
fn alike(outcome: Outcome) -> &'static [Outcome] {
    match outcome {
        Outcome::Established | Outcome::OneWay | Outcome::Unknown => {
            &[Outcome::Established, Outcome::OneWay, Outcome::Unknown]
        }
        Outcome::Refused => &[Outcome::Refused],
        Outcome::Unanswered => &[Outcome::Unanswered, Outcome::Unknown],
    }
}

fn has(evidence: &Evidence, outcome: Outcome) -> bool {
    let counts = |view| {
        evidence
            .view(view)
            .is_some_and(|v| v.counts.of(outcome) > 0)
    };
    counts(View::Client) || counts(View::Server)
}

impl Kept {
    fn move_into(self, graph: &mut FlowGraph) {
        let Self {
            id,
            evidence,
            outcomes,
        } = self;
        let known = graph.edges.entry(id).or_insert_with(|| Evidence {
            own_node: evidence.own_node,
            ..Evidence::default()
        });
        take(&mut known.client, evidence.client.as_ref(), &outcomes);
        take(&mut known.server, evidence.server.as_ref(), &outcomes);
        known.by_service.extend(evidence.by_service);
        known.own_node &= evidence.own_node;
        known.real_client_unseen |= evidence.real_client_unseen;
        known.by_node_port |= evidence.by_node_port;
    }
}

fn take(to: &mut Option<ViewEvidence>, from: Option<&ViewEvidence>, outcomes: &[Outcome]) {
    if let Some(from) = from {
        to.get_or_insert_default().take(from, outcomes);
    }
}

/// Which workloads were watched by an agent.
struct Watch<'a> {
    /// Those on whose interfaces something was seen.
    seen: BTreeSet<Peer>,
    /// What came to a port of a workload from its own pods' nodes.
    from_own_node: BTreeMap<(&'a Peer, Protocol, u16), Vec<&'a Evidence>>,
    observers: &'a BTreeSet<String>,
    watches: &'a Watches,
    resolve: &'a dyn Resolve,
}

impl<'a> Watch<'a> {
    fn new(builder: &'a Builder, resolve: &'a dyn Resolve) -> Self {
        let (mut seen, mut from_own_node) = (BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
        for (id, evidence) in &builder.graph.edges {
            if evidence.own_node && matches!(id.client, Peer::Node(_)) {
                let port = (&id.server, id.protocol, id.port);
                from_own_node.entry(port).or_default().push(evidence);
            }
            if evidence.client.is_some() {
                seen.insert(id.client.clone());
            }
            if evidence.server.is_some() {
                seen.insert(id.server.clone());
            }
        }
        Self {
            seen,
            from_own_node,
            observers: &builder.observers,
            watches: &builder.watches,
            resolve,
        }
    }

    /// Whether every node of the server's workload had an agent at that time. Where records do not tell times and
    /// observers, whether they had one ever, or anything was seen there; but only if another backend's view `told`
    /// that it was the one, since this alone rules out nobody.
    fn watched(&self, id: &EdgeId, told: bool) -> bool {
        let peer = &id.server;
        let Peer::Workload(workload) = peer else {
            return false;
        };
        if let Some(had_agents) = self.watches.had_agents(id) {
            return had_agents;
        }
        if !told {
            return false;
        }
        let nodes = self.resolve.nodes_of(workload);
        if self.observers.is_empty() || nodes.is_empty() {
            return self.seen.contains(peer);
        }
        nodes.iter().all(|node| self.observers.contains(node))
    }
}
