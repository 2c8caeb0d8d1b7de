//! Rules: peers with equal sets of ports stand together, and never a peer with another's ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;

use super::cluster::Cluster;
use super::finding::Inexpressible;
use super::learn::Learned;
use super::model::{NamedPeer, PolicyPeer, Rule, Selector, Support};
use super::peers::{self, Atom};
use super::ports::{self, Ports};
use super::selectors::Unselectable;
use super::synthesis::{Known, Workload};
use crate::identity::Peer;

/// Turns peers of the graph into what a policy can say.
pub(super) struct Writer<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) workloads: &'a Known,
}

/// Peers that have the same ports.
#[derive(Default)]
struct Group {
    atoms: Vec<Atom>,
    named: BTreeMap<NamedPeer, BTreeSet<IpAddr>>,
    evidence: BTreeSet<Support>,
}

impl Writer<'_> {
    fn known(&self, name: &WorkloadName) -> Option<&Workload> {
        self.workloads
            .get(name)
            .filter(|workload| workload.is_in_inventory)
    }

    /// What selects a workload, or why nothing does.
    pub(super) fn selector(&self, name: &WorkloadName) -> Option<&Result<Selector, Unselectable>> {
        self.known(name)?.selector.as_ref()
    }

    /// What a peer stands as in a rule.
    pub(super) fn atoms(&self, peer: &Peer, port: u16) -> Result<Vec<Atom>, Inexpressible> {
        if port == 0 {
            return Err(Inexpressible::PortZero);
        }
        if let Peer::Workload(name) = peer
            && !self.stands_for_more(peer)
        {
            return match self.selector(name) {
                None => Err(Inexpressible::NotInInventory),
                Some(Ok(_)) => Ok(vec![Atom::Pods(name.clone())]),
                _ => Err(Inexpressible::Unselectable),
            };
        }
        let addresses = self.addresses(peer);
        match addresses.is_empty() {
            true => Err(Inexpressible::NoAddress),
            false => Ok(addresses.into_iter().map(Atom::Address).collect()),
        }
    }

    /// The addresses that a peer stands as, if it does.
    pub(super) fn addresses(&self, peer: &Peer) -> BTreeSet<IpAddr> {
        let node = |name: &String| self.cluster.nodes.get(name).into_iter().flatten();
        let addresses: BTreeSet<IpAddr> = match peer {
            Peer::Workload(name) => {
                let workload = self.cluster.workloads.get(name);
                workload
                    .into_iter()
                    .flat_map(|workload| &workload.nodes)
                    .flat_map(node)
                    .copied()
                    .collect()
            }
            Peer::Node(name) => node(name).copied().collect(),
            Peer::ApiServer => self.cluster.api_server.clone(),
            Peer::External(address) => [*address].into(),
        };
        addresses
            .into_iter()
            .map(|address| address.to_canonical())
            .collect()
    }

    /// Whether a peer is written as addresses at which there may be more than that peer.
    pub(super) fn stands_for_more(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Node(_) | Peer::ApiServer => true,
            Peer::External(_) => false,
            Peer::Workload(name) => self
                .known(name)
                .is_some_and(|workload| workload.host_network),
        }
    }

    /// The name of a peer that is written as addresses, if it has one.
    fn name(&self, peer: &Peer) -> Option<NamedPeer> {
        match peer {
            Peer::Node(_) => Some(NamedPeer::Node),
            Peer::ApiServer => Some(NamedPeer::ApiServer),
            Peer::Workload(_) => self.stands_for_more(peer).then_some(NamedPeer::Node),
            Peer::External(_) => None,
        }
    }

    /// The entries of a rule's list of peers, for a policy in `namespace`.
    fn entries(&self, namespace: &str, atoms: &[Atom]) -> Vec<PolicyPeer> {
        let mut addresses = BTreeSet::new();
        let mut workloads: Vec<(String, Selector)> = Vec::new();
        for atom in atoms {
            match atom {
                Atom::Address(address) => drop(addresses.insert(*address)),
                Atom::Pods(name) => {
                    let selector = self.selector(name).and_then(|chosen| chosen.as_ref().ok());
                    workloads.extend(
                        selector.map(|selector| (name.namespace.clone(), selector.clone())),
                    );
                }
            }
        }
        peers::entries(namespace, workloads, &addresses)
    }
}

/// The rules that allow exactly what was learned, for a policy in `namespace`. Peers that cannot be written are
/// to have been found before.
pub(super) fn rules(writer: &Writer<'_>, namespace: &str, learned: &[Learned]) -> Vec<Rule> {
    let mut by_atom: BTreeMap<Atom, (Ports, BTreeSet<Support>, BTreeSet<NamedPeer>)> =
        BTreeMap::new();
    for one in learned {
        let edge = &one.support.edge;
        for atom in writer.atoms(one.peer(), edge.port).into_iter().flatten() {
            let (ports, evidence, names) = by_atom.entry(atom).or_default();
            ports.insert((edge.protocol, edge.port));
            evidence.insert(one.support.clone());
            names.extend(writer.name(one.peer()));
        }
    }
    let mut groups: BTreeMap<Ports, Group> = BTreeMap::new();
    for (atom, (ports, evidence, names)) in by_atom {
        let group = groups.entry(ports).or_default();
        if let Atom::Address(address) = atom {
            for name in names {
                group.named.entry(name).or_default().insert(address);
            }
        }
        group.atoms.push(atom);
        group.evidence.extend(evidence);
    }
    let mut rules: Vec<Rule> = groups
        .into_iter()
        .map(|(ports, group)| Rule {
            peers: writer.entries(namespace, &group.atoms),
            ports: ports::specs(&ports),
            named: group.named,
            evidence: group.evidence.into_iter().collect(),
        })
        .collect();
    rules.sort_by(|a, b| (&a.peers, &a.ports).cmp(&(&b.peers, &b.ports)));
    rules
}
