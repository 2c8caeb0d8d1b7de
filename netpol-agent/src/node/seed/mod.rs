//! Connections that are open, whether or not their opening was seen.
//!
//! They are keyed as the kernel program would key their edge on the pod's interface: before DNAT on a client's,
//! behind it on a server's. Conntrack tells who the client is; the pods' own socket tables tell what is open indeed,
//! since conntrack keeps entries of pods that are gone, and what conntrack does not track: connections within a
//! bridge, and everything where no rule asks for it.

pub mod conntrack;
mod edges;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use netpol_common::abi::Direction;
use netpol_common::words::Protocol;
use tracing::{debug, warn};

pub use edges::{connections, conversations};

use self::conntrack::Flow;
use self::tables::Sockets;
use crate::node::netns::Numbers;
use crate::node::processes;
use crate::observe::Source;

/// An interface whose pod's connections are wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watched {
    /// The interface.
    pub ifindex: u32,
    /// The pod's addresses; see [`crate::node::bind::Binding::addresses`].
    pub addresses: Vec<IpAddr>,
    /// The number of the pod's network namespace; see [`crate::node::links::Link::netnsid`].
    pub netnsid: Option<i32>,
}

/// One or more open connections of a pod that make one edge.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OpenConnection {
    /// The pod's interface.
    pub ifindex: u32,
    /// [`Source::Conntrack`] or [`Source::Sockets`].
    pub source: Source,
    /// [`Direction::Egress`]: the pod is the client.
    pub direction: Direction,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The pod's address.
    pub local: IpAddr,
    /// The address of the other end, as seen on the pod's interface.
    pub remote: IpAddr,
    /// The server's port, as seen on the pod's interface.
    pub port: u16,
    /// How many connections are open; none of a conversation that may be over.
    pub connections: u64,
}

/// The connections of the `watched` pods that are open now, sorted by key: to seed edges older than the observer,
/// and, asked again and again, to tell which edges are still in use. Must run in the network namespace of the
/// interfaces. `proc` is the process file system.
///
/// Besides, of no connections, UDP conversations of which only the client is known; see [`conversations`].
///
/// What cannot be read counts as empty and is logged.
#[must_use]
pub fn still_open(proc: &Path, watched: &[Watched]) -> Vec<OpenConnection> {
    let sockets = sockets(proc, watched);
    let mut open = connections(watched, &flows(watched), &sockets);
    let tracked: BTreeSet<_> = open.iter().map(OpenConnection::edge).collect();
    let told = conversations(watched, &sockets).into_iter();
    let told: Vec<_> = told
        .filter(|told| !tracked.contains(&told.edge()))
        .collect();
    open.extend(told);
    open
}

impl OpenConnection {
    /// What it is of, however that is known.
    fn edge(&self) -> (u32, Protocol, Direction, IpAddr, IpAddr, u16) {
        (
            self.ifindex,
            self.protocol,
            self.direction,
            self.local,
            self.remote,
            self.port,
        )
    }
}

/// What conntrack holds of the watched pods.
fn flows(watched: &[Watched]) -> Vec<Flow> {
    let addresses = watched.iter().flat_map(|pod| &pod.addresses);
    let addresses: BTreeSet<IpAddr> = addresses.copied().collect();
    conntrack::flows(&addresses).unwrap_or_else(|error| {
        debug!(%error, "no conntrack; open connections are known from socket tables only");
        Vec::new()
    })
}

/// The socket tables of the watched pods in whose network namespace a process is seen, by ifindex.
fn sockets(proc: &Path, watched: &[Watched]) -> BTreeMap<u32, Sockets> {
    let inhabitants = Numbers::open()
        .map_err(|error| error.to_string())
        .and_then(|numbers| {
            processes::inhabitants(proc, &numbers).map_err(|error| error.to_string())
        });
    let oldest = match inhabitants {
        Ok(inhabitants) => inhabitants.oldest,
        Err(error) => {
            warn!(error, proc = %proc.display(), "no socket tables of pods; is the process file system there?");
            return BTreeMap::new();
        }
    };
    let read = watched.iter().filter_map(|pod| {
        let process = oldest.get(&pod.netnsid?)?;
        Some((pod.ifindex, Sockets::of_process(proc, *process).ok()?))
    });
    read.collect()
}
