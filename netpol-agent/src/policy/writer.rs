//! What the peers of the graph stand as in a policy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netpol_common::names::WorkloadName;

use super::cluster::Cluster;
use super::finding::Inexpressible;
use super::model::Selector;
use super::peers::{Atom, Selected};
use super::selectors::Unselectable;
use super::synthesis::{Known, Workload};
use super::widen::AllSightings;
use crate::identity::Peer;

/// Turns peers of the graph into what a policy can say.
pub(super) struct Writer<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) workloads: &'a Known,
    /// When ports of servers were seen, if somebody asked for ranges of them.
    pub(super) sightings: Option<&'a AllSightings>,
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
    pub(super) fn atoms(&self, peer: &Peer) -> Result<Vec<Atom>, Inexpressible> {
        if let Peer::Workload(name) = peer
            && !self.stands_for_more(peer)
        {
            let (place, selector) = (self.workloads.get_full(name))
                .and_then(|(place, _, known)| Some((place, known.selector.as_ref()?)))
                .ok_or(Inexpressible::NotInInventory)?;
            return match selector {
                Ok(_) => Ok(vec![Atom::Pods(place)]),
                Err(_) => Err(Inexpressible::Unselectable),
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
        self.cluster.addresses(peer)
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

    /// What selects the pods of an atom, and in which namespace.
    pub(super) fn selected(&self, atom: &Atom) -> Option<Selected<'_>> {
        let Atom::Pods(place) = atom else {
            return None;
        };
        let (name, known) = self.workloads.get_index(*place)?;
        let selector = known.selector.as_ref()?.as_ref().ok()?;
        Some((&name.namespace, selector))
    }
}
