//! DNS: what counts as it, and what is allowed of it beyond what was seen.
//!
//! An edge is DNS if it is UDP or TCP to port 53 (RFC 1035) or 5353 (where OpenShift's resolvers listen) of
//! anybody, or to a workload behind a service port that is named `dns` or `dns-tcp`, whatever its target port.
//! Clients ask over UDP and turn to TCP when an answer does not fit, so one seen stands for both.

use std::collections::BTreeSet;
use std::sync::Arc;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::cluster::Cluster;
use super::learn::Learned;
use super::model::{Basis, Direction, Support};
use crate::identity::{EdgeId, Peer};

/// Ports where resolvers listen.
const PORTS: [u16; 2] = [53, 5353];

/// The TCP edges that the learned UDP edges to resolvers imply, where `wanted` says so of an edge. What was learned is
/// of one workload, in the order of its edges.
pub(super) fn pairs(
    cluster: &Cluster,
    learned: &[Learned],
    wanted: impl Fn(&EdgeId) -> bool,
) -> Vec<Learned> {
    let mut pairs = Vec::new();
    for alike in learned.chunk_by(Learned::has_same_peer) {
        let port = |one: &Learned| (one.support.edge.protocol, one.support.edge.port);
        for one in alike {
            let edge = &one.support.edge;
            if !is_dns(cluster, edge) || !wanted(edge) {
                continue;
            }
            let pair = (Protocol::Tcp, edge.port);
            if alike.iter().all(|known| port(known) != pair) {
                let edge = EdgeId {
                    protocol: Protocol::Tcp,
                    ..EdgeId::clone(edge)
                };
                pairs.push(Learned {
                    place: one.place,
                    ..unseen(edge, one.direction, Basis::DnsPair)
                });
            }
        }
    }
    pairs
}

/// The edges between workloads with policies and the cluster's resolvers, as `workload` takes part in them, less
/// those that it learned.
pub(super) fn always(
    everybody: &[Peer],
    resolvers: &[(Peer, u16)],
    workload: &WorkloadName,
    direction: Direction,
    learned: &[Learned],
) -> Vec<Learned> {
    let own = Peer::Workload(workload.clone());
    let edge = |client: &Peer, server: &Peer, protocol, port| EdgeId {
        client: client.clone(),
        server: server.clone(),
        protocol,
        port,
    };
    let mut implied = Vec::new();
    for (resolver, port) in resolvers {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            match direction {
                Direction::Egress if *resolver != own => {
                    implied.push(edge(&own, resolver, protocol, *port));
                }
                Direction::Ingress if *resolver == own => implied.extend(
                    everybody
                        .iter()
                        .filter(|client| **client != own)
                        .map(|client| edge(client, &own, protocol, *port)),
                ),
                _ => {}
            }
        }
    }
    let known = edges(learned);
    implied
        .into_iter()
        .filter(|edge| !known.contains(edge))
        .map(|edge| unseen(edge, direction, Basis::DnsAlways))
        .collect()
}

fn edges(learned: &[Learned]) -> BTreeSet<&EdgeId> {
    learned
        .iter()
        .map(|learned| &*learned.support.edge)
        .collect()
}

/// An edge that nobody saw.
pub(super) fn unseen(edge: EdgeId, direction: Direction, basis: Basis) -> Learned {
    let support = Support {
        edge: Arc::new(edge),
        basis,
        first_seen: None,
        last_seen: None,
        by_service: BTreeSet::new(),
        written_as: None,
        range: None,
    };
    Learned {
        direction,
        place: None,
        support,
        disagreed: false,
        stand_ins: None,
        windows: None,
    }
}

/// Whether an edge is DNS over UDP.
pub(super) fn is_dns(cluster: &Cluster, edge: &EdgeId) -> bool {
    let named = || match &edge.server {
        Peer::Workload(server) => cluster.resolvers.contains(&(server.clone(), edge.port)),
        _ => false,
    };
    edge.protocol == Protocol::Udp && (PORTS.contains(&edge.port) || named())
}
