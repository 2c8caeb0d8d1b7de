//! Rules of what is written wider than it was seen, beside those of what is not.
//!
//! What a wide peer allows anyway is not said again of a narrow one inside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Wide;
use crate::identity::Peer;
use crate::policy::learn::Learned;
use crate::policy::model::{PolicyPeer, Rule, Support};
use crate::policy::ports::{self, Ports};
use crate::policy::rules::Rules;
use crate::policy::widening::Block;
use crate::policy::writer::Writer;

/// What each wide peer may be reached on, and why.
type ByPeer = BTreeMap<Wide, (Ports, BTreeSet<Support>)>;

/// The rules of one direction; `narrow` makes those of what is written as it was seen.
pub(in crate::policy) fn rules(
    writer: &Writer<'_>,
    learned: Vec<Learned>,
    narrow: impl FnOnce(Vec<Learned>) -> Rules,
) -> Rules {
    if learned.iter().all(|one| one.stand_ins.is_none()) {
        return narrow(learned);
    }
    let (wide, rest) = divide(writer, learned);
    let Rules { mut rules, excess } = narrow(rest);
    for rule in wide_rules(&wide) {
        match rules.iter_mut().find(|known| known.ports == rule.ports) {
            Some(known) => join(known, rule),
            None => rules.push(rule),
        }
    }
    rules.sort_by(|a, b| (&a.peers, &a.ports).cmp(&(&b.peers, &b.ports)));
    Rules { rules, excess }
}

/// Whether what was learned, as it is written, holds a peer or a part of it.
pub(in crate::policy) fn holds(writer: &Writer<'_>, learned: &Learned, peer: &Peer) -> bool {
    let own = written(writer, learned);
    let other = itself(writer, peer);
    match (learned.peer() == peer, other) {
        (true, _) => true,
        (false, None) => match peer {
            Peer::Workload(name) => own.contains(&Wide::Namespace(name.namespace.clone())),
            _ => false,
        },
        (false, Some(other)) => (own.iter()).any(|own| other.iter().any(|other| own.covers(other))),
    }
}

/// What stands in a rule for what was learned: nothing for a workload that stands as itself.
fn written(writer: &Writer<'_>, learned: &Learned) -> Vec<Wide> {
    match &learned.stand_ins {
        Some(wide) => wide.to_vec(),
        None => itself(writer, learned.peer()).unwrap_or_default(),
    }
}

/// A peer as addresses; `None` if it is pods.
fn itself(writer: &Writer<'_>, peer: &Peer) -> Option<Vec<Wide>> {
    if matches!(peer, Peer::Workload(_)) && !writer.stands_for_more(peer) {
        return None;
    }
    let addresses = writer.addresses(peer).into_iter();
    Some(addresses.map(Wide::from).collect())
}

/// What is written wide, and what is not. What is partly held by something wide is taken apart with it.
fn divide(writer: &Writer<'_>, learned: Vec<Learned>) -> (Vec<Learned>, Vec<Learned>) {
    let (mut wide, narrow): (Vec<Learned>, Vec<Learned>) =
        learned.into_iter().partition(|one| one.stand_ins.is_some());
    let around = by_peer(&wide);
    let mut rest = Vec::new();
    for mut one in narrow {
        if let Some(whole) = namespace_around(writer, &around, &one) {
            one.stand_ins = Some([whole].into());
            wide.push(one);
            continue;
        }
        let own = itself(writer, one.peer()).unwrap_or_default();
        let is_held = |own: &Wide| {
            let mut holding = around.iter().filter(|(wide, _)| wide.covers(own));
            holding.any(|(_, (ports, _))| one.each_port().any(|port| ports.contains(&port)))
        };
        match own.iter().any(is_held) {
            true => {
                one.stand_ins = Some(Arc::from(own));
                wide.push(one);
            }
            false => rest.push(one),
        }
    }
    (wide, rest)
}

/// The whole namespace of a peer, if that may be reached on all its ports anyway.
fn namespace_around(writer: &Writer<'_>, around: &ByPeer, learned: &Learned) -> Option<Wide> {
    let Peer::Workload(name) = learned.peer() else {
        return None;
    };
    if writer.stands_for_more(learned.peer()) {
        return None;
    }
    let whole = Wide::Namespace(name.namespace.clone());
    let (ports, _) = around.get(&whole)?;
    learned
        .each_port()
        .all(|port| ports.contains(&port))
        .then_some(whole)
}

fn by_peer(learned: &[Learned]) -> ByPeer {
    let mut by_peer = ByPeer::new();
    for one in learned {
        for wide in one.stand_ins.iter().flat_map(|wide| wide.iter()) {
            let (ports, evidence) = by_peer.entry(wide.clone()).or_default();
            ports.extend(one.each_port());
            evidence.insert(one.support.clone());
        }
    }
    by_peer
}

/// One rule for each set of ports.
fn wide_rules(learned: &[Learned]) -> Vec<Rule> {
    let mut by_peer = by_peer(learned);
    absorb(&mut by_peer);
    let mut by_ports: BTreeMap<Ports, (Vec<PolicyPeer>, BTreeSet<Support>)> = BTreeMap::new();
    for (wide, (ports, evidence)) in by_peer {
        let (peers, known) = by_ports.entry(ports).or_default();
        peers.push(wide.into());
        known.extend(evidence);
    }
    let rules = by_ports.into_iter().map(|(ports, (peers, evidence))| Rule {
        peers: tidy(peers),
        ports: ports::specs(&ports),
        evidence: evidence.into_iter().collect(),
    });
    rules.collect()
}

fn join(rule: &mut Rule, other: Rule) {
    let peers = std::mem::take(&mut rule.peers).into_iter();
    rule.peers = tidy(peers.chain(other.peers).collect());
    let evidence: BTreeSet<Support> = rule.evidence.drain(..).chain(other.evidence).collect();
    rule.evidence = evidence.into_iter().collect();
}

/// Entries in order: whole namespaces in one, blocks without exceptions as few as hold the same.
fn tidy(peers: Vec<PolicyPeer>) -> Vec<PolicyPeer> {
    let (mut namespaces, mut blocks, mut rest) = (BTreeSet::new(), Vec::new(), Vec::new());
    for peer in peers {
        match peer {
            PolicyPeer::Namespaces(names) => namespaces.extend(names.iter().map(str::to_owned)),
            PolicyPeer::Block(block) => blocks.push(block),
            other => rest.push(other),
        }
    }
    let blocks = IpNet::aggregate(&blocks).into_iter();
    rest.extend(blocks.map(PolicyPeer::Block));
    let is_any = !namespaces.is_empty();
    rest.extend(is_any.then(|| PolicyPeer::Namespaces(namespaces.into_iter().collect())));
    rest.sort();
    rest.dedup();
    rest
}

/// Takes from every peer the ports that a wider one around it has, and hands over their evidence.
fn absorb(by_peer: &mut ByPeer) {
    let before = by_peer.clone();
    for (wide, (ports, evidence)) in &before {
        for (around, (others, _)) in before.iter().filter(|(around, _)| *around != wide) {
            if !around.covers(wide) {
                continue;
            }
            let shared: Ports = ports.intersection(others).copied().collect();
            let handed = evidence.iter().filter(|one| uses(one, &shared));
            if let Some((_, known)) = by_peer.get_mut(around) {
                known.extend(handed.cloned());
            }
            if let Some((left, known)) = by_peer.get_mut(wide) {
                left.retain(|port| !shared.contains(port));
                known.retain(|one| uses(one, left));
            }
        }
    }
    by_peer.retain(|_, (ports, _)| !ports.is_empty());
}

/// Whether an edge is about one of the ports.
fn uses(support: &Support, ports: &Ports) -> bool {
    let (protocol, port) = (support.edge.protocol, support.edge.port);
    let (first, last) = support.range.unwrap_or((port, port));
    let mut shared = ports.range((protocol, first)..=(protocol, last));
    shared.next().is_some()
}

impl Wide {
    /// Whether another thing is this one or a part of it.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Namespace(name), Self::Namespace(other)) => name == other,
            (Self::Block(block), Self::Block(other)) => block.covers(other),
            _ => false,
        }
    }
}

impl From<IpAddr> for Wide {
    fn from(address: IpAddr) -> Self {
        Self::Block(Block::from(IpNet::from(address)))
    }
}

impl From<Wide> for PolicyPeer {
    fn from(wide: Wide) -> Self {
        match wide {
            Wide::Namespace(name) => Self::Namespaces([name].into_iter().collect()),
            Wide::Block(Block { block, except }) if except.is_empty() => Self::Block(block),
            Wide::Block(Block { block, except }) => Self::BlockExcept { block, except },
        }
    }
}

#[cfg(test)]
mod tests {
    use netpol_common::names::WorkloadName;
    use netpol_common::words::Protocol;

    use super::*;
    use crate::identity::EdgeId;
    use crate::policy::model::Basis;

    fn block(text: &str) -> Wide {
        Wide::Block(Block::from(text.parse::<IpNet>().expect("a block")))
    }

    /// What rests on an edge to a port, perhaps as a part of a range.
    fn support(port: u16, range: Option<(u16, u16)>) -> Support {
        let edge = EdgeId {
            client: Peer::Workload(WorkloadName::new("n", "Deployment", "w")),
            server: Peer::Node("one".to_owned()),
            protocol: Protocol::Tcp,
            port,
        };
        Support {
            edge: Arc::new(edge),
            basis: Basis::Established,
            first_seen: None,
            last_seen: None,
            by_service: BTreeSet::new(),
            written_as: None,
            range,
        }
    }

    fn allowed(supports: &[Support]) -> (Ports, BTreeSet<Support>) {
        let ports = supports.iter().flat_map(|one| {
            let (first, last) = one.range.unwrap_or((one.edge.port, one.edge.port));
            (first..=last).map(|port| (Protocol::Tcp, port))
        });
        (ports.collect(), supports.iter().cloned().collect())
    }

    #[test]
    fn only_what_holds_all_of_another_covers_it() {
        let namespace = |name: &str| Wide::Namespace(name.to_owned());
        assert!(namespace("a").covers(&namespace("a")));
        assert!(!namespace("a").covers(&namespace("b")));
        assert!(block("10.0.0.0/8").covers(&block("10.1.0.0/16")));
        assert!(!block("10.1.0.0/16").covers(&block("10.0.0.0/8")));
        assert!(!block("0.0.0.0/0").covers(&namespace("a")));
    }

    #[test]
    fn what_a_wider_peer_has_is_taken_from_one_inside_it_with_its_evidence() {
        let (both, own, range) = (
            support(80, None),
            support(90, None),
            support(95, Some((94, 96))),
        );
        let wider = [support(80, None), support(95, None)];
        let mut by_peer = ByPeer::from([
            (block("10.0.0.0/8"), allowed(&wider)),
            (
                block("10.1.0.0/16"),
                allowed(&[both.clone(), own.clone(), range.clone()]),
            ),
            (block("10.2.0.0/16"), allowed(std::slice::from_ref(&both))),
            (block("192.0.2.0/24"), allowed(std::slice::from_ref(&both))),
        ]);
        absorb(&mut by_peer);
        let ports =
            |ports: &[u16]| -> Ports { ports.iter().map(|port| (Protocol::Tcp, *port)).collect() };
        let all = wider.iter().chain([&range]).cloned().collect();
        let expected = ByPeer::from([
            (block("10.0.0.0/8"), (ports(&[80, 95]), all)),
            (
                block("10.1.0.0/16"),
                (ports(&[90, 94, 96]), [own, range].into()),
            ),
            (block("192.0.2.0/24"), (ports(&[80]), [both].into())),
        ]);
        assert_eq!(by_peer, expected);
    }
}
