//! Which clients and servers are judged alike, so that one of each is looked at.

use std::collections::BTreeMap;

use super::ends::{Spot, Who};
use crate::policy::evaluate::Place;

/// A client and a server that stand for all that are judged like them.
#[derive(Debug)]
pub(super) struct Pair<'s> {
    pub(super) client: &'s Spot,
    pub(super) server: &'s Spot,
    pub(super) clients: Vec<&'s Spot>,
    pub(super) servers: Vec<&'s Spot>,
}

/// What tells pairs apart: whose places they are, and whether it is a pod and itself, or a pod and its own node.
type Kind = (Place, Place, bool, bool);

/// Every group of pairs. A pod and itself are left out unless nothing else is asked.
pub(super) fn alike<'s>(from: &'s [Spot], to: &'s [Spot]) -> Vec<Pair<'s>> {
    let mut groups: BTreeMap<Kind, Pair<'s>> = BTreeMap::new();
    for client in from {
        for server in to.iter().filter(|server| client.speaks_with(server)) {
            let itself = matches!(client.who, Who::Pod(_)) && client.who == server.who;
            let kinds = (client.place.kind(), server.place.kind());
            let pair = groups.entry((kinds.0, kinds.1, itself, own_node(client, server)));
            let pair = pair.or_insert_with(|| Pair {
                client,
                server,
                clients: Vec::new(),
                servers: Vec::new(),
            });
            keep(&mut pair.clients, client);
            keep(&mut pair.servers, server);
        }
    }
    let others = groups.keys().any(|(.., itself, _)| !itself);
    groups.retain(|(.., itself, _), _| !(others && *itself));
    groups.into_values().collect()
}

/// Whether a server's own node is the client.
fn own_node(client: &Spot, server: &Spot) -> bool {
    let (client, server) = (client.place, server.place);
    client.is_node() && client.on_node() == server.on_node()
}

/// Spots come in their order, so one that is there already is mostly the last.
fn keep<'s>(spots: &mut Vec<&'s Spot>, spot: &'s Spot) {
    let known = spots.iter().rev().any(|known| std::ptr::eq(*known, spot));
    if !known {
        spots.push(spot);
    }
}
