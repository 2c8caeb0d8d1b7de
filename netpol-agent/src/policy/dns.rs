//! DNS: what counts as it, and what is allowed of it beyond what was seen.
//!
//! An edge is DNS if it is UDP or TCP to port 53 (RFC 1035) or 5353 (where OpenShift's resolvers listen) of
//! anybody, or to a workload behind a service port that is named `dns` or `dns-tcp`, whatever its target port.
//! Clients ask over UDP and turn to TCP when an answer does not fit, so one seen stands for both.

use std::collections::BTreeSet;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::cluster::Cluster;
use super::learn::Learned;
use super::model::{Basis, Direction, Support};
use crate::identity::{EdgeId, Peer};

/// Ports where resolvers listen.
const PORTS: [u16; 2] = [53, 5353];

/// The TCP edges that the learned UDP edges to resolvers imply.
pub(super) fn pairs<'a>(cluster: &Cluster, learned: &[Learned<'a>]) -> Vec<Learned<'a>> {
    let known: BTreeSet<&EdgeId> = learned
        .iter()
        .map(|learned| &learned.support.edge)
        .collect();
    learned
        .iter()
        .filter(|learned| is_dns(cluster, &learned.support.edge))
        .map(|learned| {
            let edge = EdgeId {
                protocol: Protocol::Tcp,
                ..learned.support.edge.clone()
            };
            unseen(learned.peer, edge, Basis::DnsPair)
        })
        .filter(|pair| !known.contains(&pair.support.edge))
        .collect()
}

/// The edges between workloads with policies and the cluster's resolvers, as `workload` takes part in them.
pub(super) fn always<'a>(
    everybody: &'a [Peer],
    resolvers: &'a [(Peer, u16)],
    workload: &WorkloadName,
    direction: Direction,
) -> Vec<Learned<'a>> {
    let own = Peer::Workload(workload.clone());
    let edge = |client: &Peer, server: &Peer, protocol, port| EdgeId {
        client: client.clone(),
        server: server.clone(),
        protocol,
        port,
    };
    let mut edges = Vec::new();
    for (resolver, port) in resolvers {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            match direction {
                Direction::Egress if *resolver != own => {
                    edges.push((resolver, edge(&own, resolver, protocol, *port)));
                }
                Direction::Ingress if *resolver == own => edges.extend(
                    everybody
                        .iter()
                        .filter(|client| **client != own)
                        .map(|client| (client, edge(client, &own, protocol, *port))),
                ),
                _ => {}
            }
        }
    }
    edges
        .into_iter()
        .map(|(peer, edge)| unseen(peer, edge, Basis::DnsAlways))
        .collect()
}

/// An edge that nobody saw.
fn unseen(peer: &Peer, edge: EdgeId, basis: Basis) -> Learned<'_> {
    let support = Support {
        edge,
        basis,
        first_seen: None,
        last_seen: None,
        by_service: BTreeSet::new(),
    };
    Learned {
        peer,
        support,
        disagreed: false,
    }
}

/// Whether an edge is DNS over UDP.
fn is_dns(cluster: &Cluster, edge: &EdgeId) -> bool {
    let named = || match &edge.server {
        Peer::Workload(server) => cluster.resolvers.contains(&(server.clone(), edge.port)),
        _ => false,
    };
    edge.protocol == Protocol::Udp && (PORTS.contains(&edge.port) || named())
}
