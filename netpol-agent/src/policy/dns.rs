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
/// in the order of its edges.
pub(super) fn pairs(
    cluster: &Cluster,
    learned: &[Learned],
    wanted: impl Fn(&EdgeId) -> bool,
) -> Vec<Learned> {
    let asked = learned
        .iter()
        .filter(|learned| is_dns(cluster, &learned.support.edge) && wanted(&learned.support.edge));
    let is_known = |pair: &Learned| {
        let place = learned.binary_search_by(|known| known.support.edge.cmp(&pair.support.edge));
        place.is_ok()
    };
    asked
        .map(|learned| {
            let edge = EdgeId {
                protocol: Protocol::Tcp,
                ..EdgeId::clone(&learned.support.edge)
            };
            Learned {
                place: learned.place,
                ..unseen(edge, learned.direction, Basis::DnsPair)
            }
        })
        .filter(|pair| !is_known(pair))
        .collect()
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
