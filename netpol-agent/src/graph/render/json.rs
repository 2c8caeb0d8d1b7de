//! The graph as JSON, for programs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::Endpoint;
use netpol_common::words::{Outcome, Protocol};
use serde::Serialize;

use crate::graph::{Evidence, FlowGraph, UnresolvedFlow, ViewEvidence};
use crate::identity::{EdgeId, Peer};

/// The graph as one JSON document, indented.
///
/// # Errors
///
/// None that a graph can cause.
pub fn json(graph: &FlowGraph) -> Result<String, serde_json::Error> {
    let document = Document {
        edges: graph.edges.iter().map(edge).collect(),
        unresolved: graph.unresolved.flows.iter().map(unresolved).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
struct Document<'a> {
    edges: Vec<Edge<'a>>,
    unresolved: Vec<Unresolved<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum End<'a> {
    Workload(&'a WorkloadName),
    Node(&'a str),
    Service(&'a str),
    Ip(IpAddr),
}

#[derive(Serialize)]
struct Edge<'a> {
    client: End<'a>,
    server: End<'a>,
    protocol: Protocol,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_view: Option<Seen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_view: Option<Seen>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    by_service: &'a BTreeSet<ObjectName>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_node: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    real_client_unseen: bool,
}

#[derive(Serialize)]
struct Seen {
    established: u64,
    refused: u64,
    unanswered: u64,
    one_way: u64,
    unknown: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

#[derive(Serialize)]
struct Unresolved<'a> {
    client: &'a Endpoint,
    server: &'a Endpoint,
    protocol: Protocol,
    port: u16,
    outcome: Outcome,
    count: u64,
    reason: String,
}

fn edge<'a>((id, evidence): (&'a Arc<EdgeId>, &'a Evidence)) -> Edge<'a> {
    Edge {
        client: end(&id.client),
        server: end(&id.server),
        protocol: id.protocol,
        port: id.port,
        client_view: evidence.client.as_ref().map(seen),
        server_view: evidence.server.as_ref().map(seen),
        by_service: &evidence.by_service,
        own_node: evidence.own_node,
        real_client_unseen: evidence.real_client_unseen,
    }
}

fn end(peer: &Peer) -> End<'_> {
    match peer {
        Peer::Workload(name) => End::Workload(name),
        Peer::Node(name) => End::Node(name),
        Peer::ApiServer => End::Service("default/kubernetes"),
        Peer::External(address) => End::Ip(*address),
    }
}

fn seen(view: &ViewEvidence) -> Seen {
    Seen {
        established: view.counts.established,
        refused: view.counts.refused,
        unanswered: view.counts.unanswered,
        one_way: view.counts.one_way,
        unknown: view.counts.unknown,
        first_seen: view.first_seen,
        last_seen: view.last_seen,
        repeated: view.repeated,
    }
}

fn unresolved<'a>((flow, evidence): (&'a UnresolvedFlow, &'a ViewEvidence)) -> Unresolved<'a> {
    Unresolved {
        client: &flow.client,
        server: &flow.server,
        protocol: flow.protocol,
        port: flow.port,
        outcome: flow.outcome,
        count: evidence.counts.of(flow.outcome),
        reason: flow.reason.to_string(),
    }
}
