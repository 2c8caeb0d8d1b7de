//! All that policies allow: between workloads, and between workloads and blocks of addresses.
//!
//! Policies speak of pods, and the pods of one workload may differ: in labels that a run or a rollout sets, in named
//! ports, in the families of their addresses, in their nodes. What is listed of two workloads is what *any* pod of
//! the one may open to *any* pod of the other, by any two of their addresses of one family. So what is not listed is
//! denied to every pod. Towards addresses outside, policies say what is listed whether or not a pod has an address of
//! that family.

mod kinds;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;

use super::evaluate::{Compiled, Place, PortSet, Reading, Way, World};
pub(crate) use kinds::Kind;

/// One end of what is allowed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Party {
    /// The pods of a workload.
    Workload(WorkloadName),
    /// Addresses at which there is no pod.
    Block(IpNet),
}

/// Everything that is allowed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Connectivity {
    parties: Vec<Party>,
    sets: Vec<PortSet>,
    /// From, to and set, by number.
    entries: Vec<(u32, u32, u32)>,
}

/// What one party may open to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// Who opens connections.
    pub from: &'a Party,
    /// To whom.
    pub to: &'a Party,
    /// On which ports; never none.
    pub ports: &'a PortSet,
}

/// Everything that policies allow over a world.
///
/// Workloads come before blocks, each in order. A workload to itself is left out. Blocks are as large as the rules
/// leave them: those of clients are cut by ingress rules, those of servers by egress rules. IPv6 occurs only where
/// policies or pods use it.
#[must_use]
pub fn connectivity(world: &World, policies: &[NetworkPolicy], reading: Reading) -> Connectivity {
    let compiled = Compiled::new(world, policies, reading);
    let six = compiled.names_v6() || world.families().iter().any(IpAddr::is_ipv6);
    let workloads = world.workloads();
    let workloads: Vec<_> = workloads
        .map(|(name, pods)| (name, Kind::of(&compiled, pods)))
        .collect();
    let clients = compiled.blocks(Way::Ingress, six);
    let servers = compiled.blocks(Way::Egress, six);
    let mut found = Found::new(&compiled);
    for (number, (name, own)) in workloads.iter().enumerate() {
        let from = found.party(Party::Workload((*name).clone()));
        for (other, (name, others)) in workloads.iter().enumerate() {
            if number != other {
                let set = found.between(own, others);
                found.add(from, || Party::Workload((*name).clone()), set);
            }
        }
        for block in &servers {
            let set = found.outside(Way::Egress, own, block.place);
            found.add(from, || Party::Block(block.net), set);
        }
    }
    for block in &clients {
        let from = found.party(Party::Block(block.net));
        for (name, own) in &workloads {
            let set = found.outside(Way::Ingress, own, block.place);
            found.add(from, || Party::Workload((*name).clone()), set);
        }
    }
    found.finish()
}

impl Connectivity {
    /// Everything that is allowed, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        let parts = self.entries.iter();
        parts.map(|(from, to, set)| Entry {
            from: &self.parties[*from as usize],
            to: &self.parties[*to as usize],
            ports: &self.sets[*set as usize],
        })
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name) => name.fmt(f),
            Self::Block(net) => net.fmt(f),
        }
    }
}

/// What was found so far. Sets are worked out once for each pair of sets that they come from.
struct Found<'a> {
    compiled: &'a Compiled,
    numbers: BTreeMap<Party, u32>,
    parties: Vec<Party>,
    sets: Vec<PortSet>,
    set_numbers: BTreeMap<PortSet, u32>,
    both: BTreeMap<[u32; 2], u32>,
    either: BTreeMap<[u32; 2], u32>,
    entries: Vec<(u32, u32, u32)>,
}

impl<'a> Found<'a> {
    fn new(compiled: &'a Compiled) -> Self {
        Self {
            compiled,
            numbers: BTreeMap::new(),
            parties: Vec::new(),
            sets: vec![PortSet::none()],
            set_numbers: [(PortSet::none(), 0)].into(),
            both: BTreeMap::new(),
            either: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    fn party(&mut self, party: Party) -> u32 {
        if let Some(number) = self.numbers.get(&party) {
            return *number;
        }
        let number = small(self.parties.len());
        self.parties.push(party.clone());
        self.numbers.insert(party, number);
        number
    }

    fn add(&mut self, from: u32, to: impl FnOnce() -> Party, set: u32) {
        if set != 0 {
            let to = self.party(to());
            self.entries.push((from, to, set));
        }
    }

    /// The number of the set of ports that any of some pods may open to any of others.
    fn between(&mut self, from: &[Kind], to: &[Kind]) -> u32 {
        let mut all = 0;
        for client in from {
            for server in to.iter().filter(|server| server.meets(client)) {
                let set = if client.may_be_exempt(server, self.compiled) {
                    self.number(PortSet::all())
                } else {
                    self.both(client.place, server.place)
                };
                all = self.either(all, set);
            }
        }
        all
    }

    /// The number of the set of ports that are allowed between any of some pods and addresses outside.
    fn outside(&mut self, way: Way, own: &[Kind], outside: Place) -> u32 {
        own.iter().fold(0, |all, kind| {
            let set = match way {
                Way::Ingress => self.both(outside, kind.place),
                Way::Egress => self.both(kind.place, outside),
            };
            self.either(all, set)
        })
    }

    /// The ports that are allowed at both ends.
    fn both(&mut self, client: Place, server: Place) -> u32 {
        let key = self.compiled.sets(client, server);
        if let Some(set) = self.both.get(&key) {
            return *set;
        }
        let set = self.number(self.compiled.allowed(client, server));
        self.both.insert(key, set);
        set
    }

    fn either(&mut self, one: u32, other: u32) -> u32 {
        if one == other || other == 0 {
            return one;
        }
        if one == 0 {
            return other;
        }
        if let Some(set) = self.either.get(&[one, other]) {
            return *set;
        }
        let union = self.sets[one as usize].union(&self.sets[other as usize]);
        let set = self.number(union);
        self.either.insert([one, other], set);
        set
    }

    fn number(&mut self, set: PortSet) -> u32 {
        if let Some(number) = self.set_numbers.get(&set) {
            return *number;
        }
        let number = small(self.sets.len());
        self.sets.push(set.clone());
        self.set_numbers.insert(set, number);
        number
    }

    fn finish(self) -> Connectivity {
        Connectivity {
            parties: self.parties,
            sets: self.sets,
            entries: self.entries,
        }
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("memory ends before there are 2^32 parties or sets")
}

#[cfg(test)]
mod tests;
