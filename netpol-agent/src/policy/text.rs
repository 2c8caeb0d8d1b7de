//! Edges and their ends in words, for findings and comments.

use std::fmt::Display;

use crate::identity::{EdgeId, Peer};

/// An end of an edge.
pub(super) fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Workload(name) => name.to_string(),
        Peer::Node(name) => format!("node {name}"),
        Peer::ApiServer => "kube-apiserver".to_owned(),
        Peer::External(address) => address.to_string(),
    }
}

/// An edge: client, server, protocol and port.
pub(super) fn edge(edge: &EdgeId) -> String {
    let (client, server) = (peer(&edge.client), peer(&edge.server));
    format!("{client} -> {server} {} {}", edge.protocol, edge.port)
}

/// Items separated by commas.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
