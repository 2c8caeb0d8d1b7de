//! Connections that are open, whether or not their opening was seen.
//!
//! They are keyed as the kernel program would key their edge on the pod's interface: before DNAT on a client's,
//! behind it on a server's.

use std::net::IpAddr;

use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

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
    /// How many connections are open.
    pub connections: u64,
}
