//! From flow records to edges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use indexmap::{IndexMap, IndexSet};
use jiff::Timestamp;
use netpol_common::names::ObjectName;
use netpol_common::record::FlowRecord;
use netpol_common::words::{Outcome, Protocol, View};

use super::narrow::narrow;
use super::watch::Watches;
use super::{Evidence, FlowGraph, Resolve};
use crate::identity::{EdgeId, Mark, Peer, Resolution};

/// Adds up flow records. What it holds grows with the number of distinct edges, not of records.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pub(super) graph: FlowGraph,
    edges: IndexMap<Arc<EdgeId>, Evidence, FixedState>,
    /// Every edge that was resolved to, for all that is kept of it to share.
    ids: IndexSet<Arc<EdgeId>, FixedState>,
    /// What was seen of services behind which more than one workload stands: the edges that may be meant.
    pub(super) candidates: BTreeMap<ServiceUse, BTreeMap<Arc<EdgeId>, Evidence>>,
    /// The ends of all edges, each of which they share.
    peers: IndexSet<Peer, FixedState>,
    /// Nodes whose agents saw something.
    pub(super) observers: BTreeSet<String>,
    /// Which ends were watched when.
    pub(super) watches: Watches,
}

/// A client's use of a service.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ServiceUse {
    pub(super) client: Peer,
    pub(super) service: ObjectName,
    pub(super) protocol: Protocol,
    /// The port as seen: the service's own where that was addressed.
    pub(super) port: u16,
}

impl Builder {
    /// Adds what a record says.
    pub fn add(&mut self, resolve: &dyn Resolve, record: &FlowRecord) {
        if let Some(observer) = &record.observer
            && !self.observers.contains(observer)
        {
            self.observers.insert(observer.clone());
        }
        self.graph.note_time(record.span());
        let outcome = spoken(record);
        if record.count == 0 && outcome != Outcome::Established {
            return;
        }
        match resolve.resolve(&record.into()) {
            Resolution::Unresolved(reason) => {
                self.watches.note_unresolved(record, outcome);
                self.graph.unresolved.add(record, outcome, reason);
            }
            Resolution::Edges(edges) => {
                let one_of_several = edges.len() > 1 || record.by_service.is_some();
                for (id, mark) in edges {
                    let id = self.share(id);
                    self.watches.note(&id, &mark, record, outcome);
                    let evidence = self.evidence(id, &mark, record, one_of_several);
                    evidence.add(outcome, record);
                }
            }
        }
    }

    /// The graph. `resolve` tells which workloads ran where an agent watched.
    #[must_use]
    pub fn finish(mut self, resolve: &dyn Resolve) -> FlowGraph {
        let possible = self.candidates.values_mut().flat_map(BTreeMap::values_mut);
        for evidence in self.edges.values_mut().chain(possible) {
            let views = [&mut evidence.client, &mut evidence.server];
            for view in views.into_iter().flatten() {
                view.count_open();
            }
        }
        self.graph.edges = std::mem::take(&mut self.edges).into_iter().collect();
        narrow(&mut self, resolve);
        for (id, evidence) in &mut self.graph.edges {
            share_view_of_self(id, evidence);
        }
        self.watches.judge(&mut self.graph);
        self.graph
    }

    /// The edge as it is known, or with the ends of those that are.
    fn share(&mut self, id: EdgeId) -> Arc<EdgeId> {
        if let Some(known) = self.ids.get(&id) {
            return Arc::clone(known);
        }
        let mut share = |peer: Peer| {
            let place = self.peers.insert_full(peer).0;
            self.peers[place].clone()
        };
        let id = Arc::new(EdgeId {
            client: share(id.client),
            server: share(id.server),
            ..id
        });
        self.ids.insert(Arc::clone(&id));
        id
    }

    /// Where the evidence of a resolved record belongs: to the edge, or to one that may be meant.
    fn evidence(
        &mut self,
        id: Arc<EdgeId>,
        mark: &Mark,
        record: &FlowRecord,
        one_of_several: bool,
    ) -> &mut Evidence {
        let new = || Evidence {
            own_node: mark.own_node,
            ..Evidence::default()
        };
        let service = mark.by_service.as_ref().or(record.by_service.as_ref());
        let evidence = match service {
            Some(service) if one_of_several => self
                .candidates
                .entry(ServiceUse {
                    client: id.client.clone(),
                    service: service.clone(),
                    protocol: id.protocol,
                    port: record.port,
                })
                .or_default()
                .entry(id)
                .or_insert_with(new),
            _ => self.edges.entry(id).or_insert_with(new),
        };
        evidence.own_node &= mark.own_node;
        evidence.real_client_unseen |= mark.real_client_unseen;
        evidence.by_node_port |= mark.by_node_port;
        evidence
    }
}

impl FlowGraph {
    fn note_time(&mut self, span: Option<(Timestamp, Timestamp)>) {
        let Some((first, last)) = span else { return };
        let known = self.recorded.unwrap_or((first, last));
        self.recorded = Some((known.0.min(first), known.1.max(last)));
    }
}

impl Evidence {
    fn add(&mut self, outcome: Outcome, record: &FlowRecord) {
        if record.view != Some(View::Server) {
            let view = self.client.get_or_insert_default();
            view.add(outcome, record.count, record.span());
        }
        if record.view != Some(View::Client) {
            let view = self.server.get_or_insert_default();
            view.add(outcome, record.count, record.span());
        }
    }
}

/// The outcome in the words of its protocol: what nothing answered is one-way for datagrams only.
fn spoken(record: &FlowRecord) -> Outcome {
    match (record.protocol, record.outcome) {
        (Protocol::Tcp | Protocol::Sctp, Outcome::OneWay) => Outcome::Unanswered,
        (_, outcome) => outcome,
    }
}

/// What a workload says to itself may be seen once only (a pod that reaches itself through a service leaves by its
/// interface and comes back with its node's address): that one view then stands for both.
fn share_view_of_self(id: &EdgeId, evidence: &mut Evidence) {
    if id.client != id.server || !matches!(id.client, Peer::Workload(_)) {
        return;
    }
    if evidence.client.is_none() {
        evidence.client.clone_from(&evidence.server);
    }
    if evidence.server.is_none() {
        evidence.server.clone_from(&evidence.client);
    }
}
