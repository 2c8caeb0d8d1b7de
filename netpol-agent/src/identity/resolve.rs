//! From addresses to workloads: both ends of a sighting, at the time it was seen.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Protocol, View};

use super::ends::End;
use super::history::Span;
use super::index::Index;

/// An end of an edge of the flow graph.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// Pods of one workload.
    Workload(WorkloadName),
    /// A node: its own processes, its host-network pods, and whatever it masquerades.
    Node(String),
    /// The endpoints of `default/kubernetes`.
    ApiServer,
    /// An address outside the cluster.
    External(IpAddr),
}

/// What identifies an edge of the flow graph.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EdgeId {
    /// Who opens connections.
    pub client: Peer,
    /// To whom.
    pub server: Peer,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port behind DNAT: the target port, where policies match.
    pub port: u16,
}

/// What is to be resolved: the ends as they were seen, when, and by whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// The client as seen.
    pub client: Endpoint,
    /// The server as seen: before DNAT on the client's interface.
    pub server: Endpoint,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The server's port as seen.
    pub port: u16,
    /// From when to when it was seen; without it, valid whenever its addresses are.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Whose interface saw it.
    pub view: Option<View>,
}

/// What is known about a resolved edge besides its ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mark {
    /// The service that was addressed.
    pub by_service: Option<ObjectName>,
    /// The client is the server's own node: probes, exempt from policies.
    pub own_node: bool,
    /// The client is a node that stands for a client unseen (NodePort with SNAT, a masqueraded source).
    pub real_client_unseen: bool,
    /// The client addressed a port of a node, behind which the server stands.
    pub by_node_port: bool,
    /// Where the client may have been; empty if that is not known.
    pub client_nodes: BTreeSet<String>,
    /// Where the server may have been; empty if that is not known.
    pub server_nodes: BTreeSet<String>,
}

/// The outcome of resolving a sighting.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resolution {
    /// The edges it stands for: one, or one for each workload behind a service.
    Edges(Vec<(EdgeId, Mark)>),
    /// An end cannot be told. Never a guess; it may be later.
    Unresolved(Unresolved),
}

/// Why an end cannot be told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Unresolved {
    /// An address of the cluster, but nobody's at that time.
    #[error("{0} belonged to no known pod, service or node at that time")]
    UnknownPod(IpAddr),
    /// More than one owner's at that time; the owners are listed.
    #[error("{0} may have belonged to any of several at that time: {1}")]
    Ambiguous(String, String),
    /// A service without endpoints at that time.
    #[error("service {0} had no endpoints for port {1}")]
    NoEndpoints(ObjectName, u16),
    /// A multicast or broadcast address, or none at all: never an end of an edge.
    #[error("{0} is not the address of one host")]
    NotOneHost(IpAddr),
    /// A named pod or workload that is not in the inventory.
    #[error("{0} is not in the inventory")]
    NotInInventory(String),
}

impl From<&FlowRecord> for Sighting {
    fn from(record: &FlowRecord) -> Self {
        Self {
            client: record.client.clone(),
            server: record.server.clone(),
            protocol: record.protocol,
            port: record.port,
            span: record.span(),
            view: record.view,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name) => name.fmt(f),
            Self::Node(name) => write!(f, "node {name}"),
            Self::ApiServer => f.write_str("kube-apiserver"),
            Self::External(address) => address.fmt(f),
        }
    }
}

impl Index {
    /// Both ends of a sighting, at the time it was seen.
    ///
    /// What the server's interface saw is behind DNAT already, so there the server is never looked for behind a
    /// service. Late resolution is a matter of asking again.
    #[must_use]
    pub fn resolve(&self, sighting: &Sighting) -> Resolution {
        let span = sighting.span.map(Span::new);
        let edges = match sighting.view {
            Some(View::Server) => self.seen_by_server(sighting, span),
            Some(View::Client) | None => self.seen_by_client(sighting, span),
        };
        edges.map_or_else(Resolution::Unresolved, Resolution::Edges)
    }

    fn seen_by_server(&self, sighting: &Sighting, span: Option<Span>) -> Result<Edges, Unresolved> {
        let server = self.end(&sighting.server, span, None)?;
        let client = self.end(&sighting.client, span, server.node())?;
        let mark = self.mark(&client, &server, sighting, span);
        Ok(vec![(edge(client, server, sighting, sighting.port), mark)])
    }

    fn seen_by_client(&self, sighting: &Sighting, span: Option<Span>) -> Result<Edges, Unresolved> {
        let client = self.end(&sighting.client, span, None)?;
        let to = (sighting.protocol, sighting.port);
        if let Endpoint::Ip(address) = sighting.server {
            if self.is_api_server(address, sighting.port, span) {
                let id = EdgeId {
                    client: client.peer,
                    server: Peer::ApiServer,
                    protocol: sighting.protocol,
                    port: sighting.port,
                };
                let mark = Mark {
                    client_nodes: client.nodes,
                    ..Mark::default()
                };
                return Ok(vec![(id, mark)]);
            }
            if let Some(backing) = self.backing(address, to, span) {
                let backing = backing?;
                let several = backing.ends.len() > 1;
                let by_service = several.then(|| backing.service.name.clone());
                let edges = backing.ends.into_iter().map(|(server, port)| {
                    let mark = Mark {
                        by_service: by_service.clone(),
                        by_node_port: backing.by_node_port,
                        client_nodes: client.nodes.clone(),
                        server_nodes: server.nodes.clone(),
                        ..Mark::default()
                    };
                    (edge(client.clone(), server, sighting, port), mark)
                });
                let mut edges: Edges = edges.collect();
                edges.sort_by(|(one, _), (other, _)| one.cmp(other));
                return Ok(edges);
            }
        }
        let server = self.end(&sighting.server, span, client.node())?;
        let mark = self.mark(&client, &server, sighting, span);
        Ok(vec![(edge(client, server, sighting, sighting.port), mark)])
    }

    fn mark(&self, client: &End, server: &End, seen: &Sighting, span: Option<Span>) -> Mark {
        let ends = Mark {
            client_nodes: client.nodes.clone(),
            server_nodes: server.nodes.clone(),
            ..Mark::default()
        };
        let (Peer::Node(node), Peer::Workload(workload)) = (&client.peer, &server.peer) else {
            return ends;
        };
        Mark {
            own_node: server.node() == Some(node),
            real_client_unseen: self.is_masqueraded(workload, (seen.protocol, seen.port), span),
            ..ends
        }
    }
}

type Edges = Vec<(EdgeId, Mark)>;

fn edge(client: End, server: End, sighting: &Sighting, port: u16) -> EdgeId {
    EdgeId {
        client: client.peer,
        server: server.peer,
        protocol: sighting.protocol,
        port,
    }
}
