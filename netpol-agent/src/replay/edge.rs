//! Edges as captures show them: addresses or pods, before anybody resolved them.

use std::net::IpAddr;

use netpol_common::record::Endpoint;
use netpol_common::words::Protocol;

/// A client, a server, and the port that the client addressed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Edge {
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

/// One end of a conversation: who, and the port there.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Socket {
    pub(super) end: Endpoint,
    pub(super) port: u16,
}

/// A conversation with its direction: the edge, and the client's port.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Tuple {
    pub(super) edge: Edge,
    pub(super) client_port: u16,
}

impl Socket {
    pub(super) fn new(end: Endpoint, port: u16) -> Self {
        Self { end, port }
    }
}

impl Tuple {
    /// The conversation that `client` opened to `server`.
    pub(super) fn new(client: &Socket, server: &Socket, protocol: Protocol) -> Self {
        Self {
            edge: Edge {
                client: client.end.clone(),
                server: server.end.clone(),
                protocol,
                port: server.port,
            },
            client_port: client.port,
        }
    }
}

/// Whether an address stands for one host, so that it can be an end of an edge.
pub(super) fn is_one_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_multicast() || address.is_unspecified() || broadcast)
}
