//! From tracked connections and sockets to edges.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

use super::conntrack::{Flow, Tuple};
use super::tables::Sockets;
use super::{OpenConnection, Watched};
use crate::observe::Source;

/// A connection as it looks on the pod's interface.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Seen {
    protocol: Protocol,
    direction: Direction,
    local: SocketAddr,
    remote: SocketAddr,
}

/// The edges that the pods' open connections make, sorted.
///
/// A tracked connection counts unless the pod's socket table is known and does not have it. Of sockets that are not
/// tracked, established TCP counts where one end is known to listen: the pod itself, whose table tells, or else the
/// other end, unless that is a pod whose table says it does not. Where both listen, or neither, nobody can tell who
/// the client is, and nothing is made of it. UDP sockets alone say neither that anything was sent nor that anybody
/// replied, and make no edge.
///
/// A proxy inside the pod's namespace that redirects connections shows as if they left the pod as they were opened.
#[must_use]
pub fn connections(
    watched: &[Watched],
    flows: &[Flow],
    sockets: &BTreeMap<u32, Sockets>,
) -> Vec<OpenConnection> {
    let mut edges: BTreeMap<OpenConnection, u64> = BTreeMap::new();
    for pod in watched {
        let table = sockets.get(&pod.ifindex);
        let tracked = tracked(pod, flows);
        let open = tracked
            .iter()
            .filter(|seen| table.is_none_or(|table| has(table, seen)));
        let known: BTreeSet<_> = tracked
            .iter()
            .map(|seen| (seen.local, seen.remote))
            .collect();
        let untracked = table
            .into_iter()
            .flat_map(|table| untracked(pod, table, watched, sockets));
        let untracked = untracked.filter(|seen| !known.contains(&(seen.local, seen.remote)));
        for seen in open {
            *edges.entry(key(pod, Source::Conntrack, seen)).or_default() += 1;
        }
        for seen in untracked {
            *edges.entry(key(pod, Source::Sockets, &seen)).or_default() += 1;
        }
    }
    let counted = edges.into_iter().map(|(edge, connections)| OpenConnection {
        connections,
        ..edge
    });
    counted.collect()
}

/// Who is the client of UDP conversations that may be under way, as connected sockets tell: of no connections, since nobody
/// knows whether anything was sent.
///
/// A server takes datagrams from anybody on its port; a socket that is connected and has none such beside it on the same
/// port is a client's, unless the other end is a pod whose table says that nobody awaits anything there. Both ends are told
/// if both are watched. Where both await, or neither, nothing is told: the first to be seen will be taken for the client,
/// as where the client's socket is not connected.
#[must_use]
pub fn conversations(
    watched: &[Watched],
    sockets: &BTreeMap<u32, Sockets>,
) -> BTreeSet<OpenConnection> {
    let mut told = BTreeSet::new();
    for pod in watched {
        let Some(table) = sockets.get(&pod.ifindex) else {
            continue;
        };
        for &(local, remote) in &table.conversing {
            let other = watched
                .iter()
                .find(|other| other.addresses.contains(&remote.ip()));
            let theirs = other.and_then(|other| sockets.get(&other.ifindex));
            let theirs = theirs.map(|theirs| theirs.awaits_at(remote));
            let Some(direction) = direction(table.awaits_at(local), theirs) else {
                continue;
            };
            let ends = [
                (Some(pod), direction, local, remote),
                (other, opposite(direction), remote, local),
            ];
            let seen = ends
                .into_iter()
                .filter_map(|(pod, direction, local, remote)| {
                    let seen = Seen {
                        protocol: Protocol::Udp,
                        direction,
                        local,
                        remote,
                    };
                    pod.filter(|pod| passes(pod, local.ip(), remote.ip()))
                        .map(|pod| key(pod, Source::Sockets, &seen))
                });
            told.extend(seen);
        }
    }
    told
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Egress => Direction::Ingress,
        Direction::Ingress => Direction::Egress,
    }
}

/// Who is the client, given whether our end awaits anybody, and whether the other end does, if that is known.
fn direction(ours: bool, theirs: Option<bool>) -> Option<Direction> {
    match (ours, theirs) {
        (true, None | Some(false)) => Some(Direction::Ingress),
        (false, None | Some(true)) => Some(Direction::Egress),
        (true, Some(true)) | (false, Some(false)) => None,
    }
}

fn key(pod: &Watched, source: Source, seen: &Seen) -> OpenConnection {
    let server = match seen.direction {
        Direction::Egress => seen.remote,
        Direction::Ingress => seen.local,
    };
    OpenConnection {
        ifindex: pod.ifindex,
        source,
        direction: seen.direction,
        protocol: seen.protocol,
        local: seen.local.ip(),
        remote: seen.remote.ip(),
        port: server.port(),
        connections: 0,
    }
}

/// The tracked connections of a pod; one with itself through a service shows in both directions.
fn tracked(pod: &Watched, flows: &[Flow]) -> BTreeSet<Seen> {
    let ends = flows.iter().flat_map(|flow| {
        let seen = |direction, tuple: &Tuple| Seen {
            protocol: flow.protocol,
            direction,
            local: SocketAddr::new(tuple.source, tuple.source_port),
            remote: SocketAddr::new(tuple.destination, tuple.destination_port),
        };
        let client = seen(Direction::Egress, &flow.original);
        let server = seen(Direction::Ingress, &flow.reply);
        [client, server]
    });
    ends.filter(|seen| passes(pod, seen.local.ip(), seen.remote.ip()))
        .collect()
}

/// Whether a connection between these addresses passes the pod's interface. One of a pod with its own address does
/// not leave it.
fn passes(pod: &Watched, local: IpAddr, remote: IpAddr) -> bool {
    let outside = !pod.addresses.contains(&remote) && !remote.is_loopback();
    pod.addresses.contains(&local) && outside
}

/// Whether the socket that a tracked connection needs is open.
fn has(table: &Sockets, seen: &Seen) -> bool {
    match seen.protocol {
        Protocol::Tcp => table.established.contains(&(seen.local, seen.remote)),
        Protocol::Udp => table.has_datagram_socket(seen.local),
        Protocol::Sctp => true,
    }
}

/// The established TCP connections in the pod's table whose client can be told.
fn untracked(
    pod: &Watched,
    table: &Sockets,
    watched: &[Watched],
    sockets: &BTreeMap<u32, Sockets>,
) -> Vec<Seen> {
    let leaving = table
        .established
        .iter()
        .filter(|(local, remote)| passes(pod, local.ip(), remote.ip()));
    let seen = leaving.filter_map(|&(local, remote)| {
        let theirs = listens(remote, watched, sockets);
        Some(Seen {
            protocol: Protocol::Tcp,
            direction: direction(table.listens_on(local), theirs)?,
            local,
            remote,
        })
    });
    seen.collect()
}

/// Whether `place` is listened on, if it is a pod's whose table is known.
fn listens(
    place: SocketAddr,
    watched: &[Watched],
    sockets: &BTreeMap<u32, Sockets>,
) -> Option<bool> {
    let pod = watched
        .iter()
        .find(|pod| pod.addresses.contains(&place.ip()))?;
    Some(sockets.get(&pod.ifindex)?.listens_on(place))
}

#[cfg(test)]
mod tests;
