//! What the peers of the graph stand as in a policy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use smallvec::{SmallVec, smallvec};

use super::atlas::{Atlas, Spot};
use super::cluster::Cluster;
use super::finding::Inexpressible;
use super::learn::Learned;
use super::lessons::Taught;
use super::model::Selector;
use super::outside::Outsides;
use super::peers::Atom;
use super::selectors::Unselectable;
use super::widen::AllSightings;
use super::workloads::{Known, Workload};
use crate::identity::Peer;

/// What a peer stands as: one workload, or mostly a few addresses.
pub(super) type Atoms = SmallVec<[Atom; 1]>;

/// Turns peers of the graph into what a policy can say.
pub(super) struct Writer<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) workloads: &'a Known,
    pub(super) atlas: &'a Atlas,
    /// What they learned.
    pub(super) taught: &'a dyn Taught,
    /// When ports of servers were seen, if somebody asked for ranges of them.
    pub(super) sightings: Option<&'a AllSightings>,
    /// What is outside the cluster, by what options tell of it.
    pub(super) outsides: &'a Outsides,
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
    pub(super) fn atoms(&self, peer: &Peer) -> Result<Atoms, Inexpressible> {
        let place = match peer {
            Peer::Workload(name) => self.workloads.get_index_of(name),
            _ => None,
        };
        self.atoms_at(peer, place)
    }

    /// What the peer of something that was learned stands as in a rule.
    pub(super) fn atoms_of(&self, learned: &Learned) -> Result<Atoms, Inexpressible> {
        match learned.place {
            None => self.atoms(learned.peer()),
            place => self.atoms_at(learned.peer(), place),
        }
    }

    fn atoms_at(&self, peer: &Peer, place: Option<usize>) -> Result<Atoms, Inexpressible> {
        let at = place.and_then(|place| Some((place, self.workloads.get_index(place)?.1)));
        if matches!(peer, Peer::Workload(_)) && !at.is_some_and(|(_, known)| is_on_host(known)) {
            let (place, selector) = at
                .and_then(|(place, known)| Some((place, known.selector.as_ref()?)))
                .ok_or(Inexpressible::NotInInventory)?;
            return match selector {
                Ok(_) => Ok(smallvec![Atom::Pods(place)]),
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
            Peer::Workload(name) => self.known(name).is_some_and(is_on_host),
        }
    }

    /// Whether the peer of something that was learned is.
    pub(super) fn stands_wide(&self, learned: &Learned) -> bool {
        match learned.place {
            Some(place) => (self.workloads.get_index(place)).is_some_and(|at| is_on_host(at.1)),
            None => self.stands_for_more(learned.peer()),
        }
    }

    /// Where the workload of an atom lies among those that can be selected.
    pub(super) fn spot(&self, atom: &Atom) -> Option<&Spot> {
        let Atom::Pods(place) = atom else {
            return None;
        };
        self.workloads.get_index(*place)?.1.spot.as_ref()
    }
}

/// Whether a workload has no addresses but its nodes'.
fn is_on_host(workload: &Workload) -> bool {
    workload.is_in_inventory && workload.host_network
}
