//! Which clients and servers are judged alike, so that one of each is looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::ends::{Spot, Who};
use crate::policy::evaluate::Place;

/// A client and a server that stand for all that are judged like them.
#[derive(Debug)]
pub(super) struct Pair<'s> {
    pub(super) client: &'s Spot,
    pub(super) server: &'s Spot,
    pub(super) clients: Vec<&'s Spot>,
    pub(super) servers: Vec<&'s Spot>,
    /// The families of addresses that any of them speak with each other.
    pub(super) families: BTreeSet<&'static str>,
}

/// What tells pairs apart: whose places they are, whether it is a pod and itself, and whether the client is the
/// server's own node, or the server the client's.
type Kind = (Place, Place, bool, [bool; 2]);

/// Every group of pairs. A pod and itself are left out unless nothing else is asked.
pub(super) fn alike<'s>(from: &'s [Spot], to: &'s [Spot]) -> Vec<Pair<'s>> {
    let mut groups: BTreeMap<Kind, Pair<'s>> = BTreeMap::new();
    for client in from {
        for server in to.iter().filter(|server| client.speaks_with(server)) {
            let itself = matches!(client.who, Who::Pod(_)) && client.who == server.who;
            let kinds = (client.place.kind(), server.place.kind());
            let own_node = [is_own_node(client, server), is_own_node(server, client)];
            let pair = groups.entry((kinds.0, kinds.1, itself, own_node));
            let pair = pair.or_insert_with(|| Pair {
                client,
                server,
                clients: Vec::new(),
                servers: Vec::new(),
                families: BTreeSet::new(),
            });
            keep(&mut pair.clients, client);
            keep(&mut pair.servers, server);
            pair.families.insert(client.family());
        }
    }
    let others = groups.keys().any(|(.., itself, _)| !itself);
    groups.retain(|(.., itself, _), _| !(others && *itself));
    groups.into_values().collect()
}

/// Whether one is the node that the other is on.
fn is_own_node(one: &Spot, other: &Spot) -> bool {
    let (one, other) = (one.place, other.place);
    one.is_node() && one.on_node() == other.on_node()
}

/// Spots come in their order, so one that is there already is mostly the last.
fn keep<'s>(spots: &mut Vec<&'s Spot>, spot: &'s Spot) {
    let known = spots.iter().rev().any(|known| std::ptr::eq(*known, spot));
    if !known {
        spots.push(spot);
    }
}
