//! Edges in words, for findings and comments.

use std::fmt::Display;

use crate::identity::EdgeId;

/// An edge: client, server, protocol and port.
pub(super) fn edge(edge: &EdgeId) -> String {
    format!(
        "{} -> {} {} {}",
        edge.client, edge.server, edge.protocol, edge.port
    )
}

/// Items separated by commas.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// A number of edges.
pub(super) fn edges(number: usize) -> String {
    match number {
        1 => "1 edge".to_owned(),
        more => format!("{more} edges"),
    }
}
