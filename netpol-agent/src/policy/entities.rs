//! Nodes and the API server by what they are instead of by their addresses, for network plugins whose rules about
//! addresses do not match these.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::learn::Learned;
use super::model::{Direction, Entity, EntityRule, Support};
use super::ports::{self, Ports};
use super::writer::Writer;
use crate::identity::Peer;

/// What was learned of one kind of peers.
#[derive(Default)]
struct Known {
    ports: Ports,
    addresses: BTreeSet<IpAddr>,
    evidence: BTreeSet<Support>,
}

/// What was learned in one direction about peers that are written as their addresses, by kind.
pub(super) fn rules(writer: &Writer<'_>, learned: &[Learned]) -> Vec<EntityRule> {
    let mut by_kind: BTreeMap<(Direction, &[Entity]), Known> = BTreeMap::new();
    for alike in learned.chunk_by(Learned::has_same_peer) {
        let entities = (alike.first()).map_or(&[][..], |one| entities(writer, one));
        for one in alike.iter().filter(|_| !entities.is_empty()) {
            let known = by_kind.entry((one.direction, entities)).or_default();
            known.ports.extend(one.each_port());
            known.addresses.extend(writer.addresses(one.peer()));
            known.evidence.insert(one.support.clone());
        }
    }
    let rule = |((direction, entities), known): ((Direction, &[Entity]), Known)| EntityRule {
        direction,
        entities: entities.iter().copied().collect(),
        addresses: known.addresses,
        ports: ports::specs(&known.ports),
        evidence: known.evidence.into_iter().collect(),
    };
    by_kind.into_iter().map(rule).collect()
}

/// What a peer is, if it is written as its addresses. A pod's own node needs no rule to come in.
fn entities(writer: &Writer<'_>, learned: &Learned) -> &'static [Entity] {
    match (learned.peer(), learned.direction) {
        (Peer::ApiServer, _) => &[Entity::KubeApiServer],
        _ if !writer.stands_wide(learned) => &[],
        (_, Direction::Ingress) => &[Entity::RemoteNode],
        (_, Direction::Egress) => &[Entity::Host, Entity::RemoteNode],
    }
}
