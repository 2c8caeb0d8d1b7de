//! The evaluator that answers from tables.
//!
//! Compiling finds out once what the plain evaluator finds out for each connection:
//! - Every peer of a rule gets a number. Pods and addresses that match the same peers, and have the same named ports
//!   where rules use names, are one *class of peers*. Equal labels are looked at once, and only against selectors
//!   that ask for a label or namespace that is there.
//! - Blocks cut the address space into ranges; a range tells by binary search which of them hold an address.
//! - Pods that the same policies isolate in a direction share a *row*: for each class of peers the set of ports.
//!
//! A question is then two look-ups in rows. What depends on more than classes, a pod reaching itself and a pod's own
//! node, is asked besides.

mod addresses;
mod build;
mod intern;
mod rows;
mod rules;
mod select;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use super::{PodId, PortSet, Reading, RuleId, Side, Verdict, Way, World};
use addresses::AddressTable;
use rows::{EVERYTHING, PeerClass, Row, Sets};
use rules::{NamedPort, Rule};

/// Policies over a world, in tables.
#[derive(Clone, Debug)]
pub struct Compiled {
    policies: Vec<ObjectName>,
    /// Rows by direction; the first of each is that of whoever is not isolated.
    rows: [Vec<Row>; 2],
    sets: Sets,
    classes: Vec<PeerClass>,
    addresses: AddressTable,
    /// The class of addresses at which there is no pod, by the set of blocks that hold them.
    outside: Vec<u32>,
    nodes: BTreeMap<String, u32>,
    /// The addresses of all pods, each with where it is; those of a pod lie together.
    places: Vec<(IpAddr, Place)>,
    /// Where each pod's places begin, and where the last one's end.
    starts: Vec<u32>,
    /// Whether a pod reaches its own node whatever policies say.
    own_node_both_ways: bool,
}

/// Where an end of a connection is in the tables of a [`Compiled`]: a pod at one of its addresses, a node, or an
/// address.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The rows of its ingress and egress.
    rows: [u32; 2],
    /// The class that it belongs to as a peer.
    class: u32,
    /// The number of the pod; [`NONE`] of whatever policies do not see as a pod.
    pod: u32,
    /// The number of the node that it is or is on; [`NONE`] of whatever is on none.
    node: u32,
}

/// Addresses that the policies treat alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Block {
    /// The addresses.
    pub net: IpNet,
    /// Where they are.
    pub place: Place,
}

/// The number of no pod and no node.
const NONE: u32 = u32::MAX;

impl Compiled {
    /// Compiles policies over a world.
    #[must_use]
    pub fn new(world: &World, policies: &[NetworkPolicy], reading: Reading) -> Self {
        build::compiled(world, policies, reading)
    }

    /// Each address of a pod with the place that the pod has by it. A pod whose addresses are not known has a place
    /// for the unspecified address of each family.
    ///
    /// # Panics
    ///
    /// If the number is of another world.
    #[must_use]
    pub fn places(&self, pod: PodId) -> &[(IpAddr, Place)] {
        let (first, end) = (self.starts[pod.number()], self.starts[pod.number() + 1]);
        &self.places[first as usize..end as usize]
    }

    /// The place of an address at which there is neither a pod nor a node.
    #[must_use]
    pub fn outside(&self, address: IpAddr) -> Place {
        self.at_class(self.outside[self.addresses.set(address) as usize])
    }

    /// The place of a node at one of its addresses.
    #[must_use]
    pub fn node(&self, name: &str, address: IpAddr) -> Place {
        Place {
            node: self.nodes.get(name).copied().unwrap_or(NONE),
            ..self.outside(address)
        }
    }

    /// Whether a connection is allowed at both ends.
    #[must_use]
    pub fn passes(&self, client: Place, server: Place, protocol: Protocol, port: u16) -> bool {
        let holds = |set: u32| match set {
            EVERYTHING => true,
            set => self.sets.get(set).contains(protocol, port),
        };
        holds(self.set(Way::Egress, client, server))
            && holds(self.set(Way::Ingress, client, server))
    }

    /// What the policies say of a connection.
    #[must_use]
    pub fn verdict(&self, client: Place, server: Place, protocol: Protocol, port: u16) -> Verdict {
        let side = |way| self.side(way, client, server, (protocol, port));
        Verdict {
            egress: side(Way::Egress),
            ingress: side(Way::Ingress),
        }
    }

    /// The ports that are allowed at the server (ingress) or at the client (egress).
    #[must_use]
    pub fn ports(&self, way: Way, client: Place, server: Place) -> &PortSet {
        self.sets.get(self.set(way, client, server))
    }

    /// The ports that are allowed at both ends.
    #[must_use]
    pub fn allowed(&self, client: Place, server: Place) -> PortSet {
        let egress = self.ports(Way::Egress, client, server);
        egress.intersection(self.ports(Way::Ingress, client, server))
    }

    /// The numbers of the sets of ports that are allowed at the server and at the client: pairs of places with equal
    /// numbers are allowed the same ports.
    #[must_use]
    pub fn sets(&self, client: Place, server: Place) -> [u32; 2] {
        Way::ALL.map(|way| self.set(way, client, server))
    }

    /// Whether any policy isolates whoever is at a place in a direction.
    #[must_use]
    pub fn isolated(&self, way: Way, place: Place) -> bool {
        self.row(way, place).isolated
    }

    /// All addresses at which there is no pod, in blocks that are as large as the rules of a direction leave them:
    /// of clients for ingress, of servers for egress. IPv6 only if `six`.
    #[must_use]
    pub fn blocks(&self, way: Way, six: bool) -> Vec<Block> {
        let alike = self.alike(way);
        let class = |set: u32| alike[self.outside[set as usize] as usize];
        let prefixes = self.addresses.prefixes(six, class);
        let block = |(net, class)| Block {
            net,
            place: self.at_class(class),
        };
        prefixes.into_iter().map(block).collect()
    }

    /// Whether a pod reaches its own node whatever policies say.
    #[must_use]
    pub fn own_node_both_ways(&self) -> bool {
        self.own_node_both_ways
    }

    /// Whether policies name any addresses of IPv6.
    #[must_use]
    pub fn names_v6(&self) -> bool {
        self.addresses.holds_v6
    }

    /// For each class the first one that every row of a direction treats alike.
    fn alike(&self, way: Way) -> Vec<u32> {
        let mut treated: Vec<Vec<(usize, u32)>> = vec![Vec::new(); self.classes.len()];
        for (number, row) in self.rows[way.number()].iter().enumerate() {
            for (class, set) in row.exceptions() {
                treated[*class as usize].push((number, *set));
            }
        }
        let mut firsts: BTreeMap<Vec<(usize, u32)>, u32> = BTreeMap::new();
        let numbered = treated.into_iter().enumerate();
        let first =
            numbered.map(|(class, treated)| *firsts.entry(treated).or_insert(intern::index(class)));
        first.collect()
    }

    fn at_class(&self, class: u32) -> Place {
        Place {
            rows: [0, 0],
            class,
            pod: NONE,
            node: NONE,
        }
    }

    fn row(&self, way: Way, place: Place) -> &Row {
        &self.rows[way.number()][place.rows[way.number()] as usize]
    }

    /// The number of the set of ports that are allowed at one end.
    fn set(&self, way: Way, client: Place, server: Place) -> u32 {
        let (own, other) = ends(way, client, server);
        if self.always(way, own, other) {
            return EVERYTHING;
        }
        self.row(way, own).allowed(other.class)
    }

    fn side(&self, way: Way, client: Place, server: Place, to: (Protocol, u16)) -> Side {
        let (own, other) = ends(way, client, server);
        let row = self.row(way, own);
        let named = match way {
            Way::Ingress => &row.named,
            Way::Egress => &self.classes[other.class as usize].named,
        };
        let matching = row
            .rules
            .iter()
            .filter(|rule| self.matches(rule, other, to, named));
        let by = matching.map(|rule| RuleId {
            policy: self.policies[rule.policy as usize].clone(),
            rule: rule.number,
        });
        let by: Vec<RuleId> = by.collect();
        Side {
            allowed: self.always(way, own, other) || !row.isolated || !by.is_empty(),
            isolated: row.isolated,
            by,
        }
    }

    /// Whether no policy can deny it: a pod reaches itself, its own node reaches it, and as the reading has it, it
    /// reaches its own node.
    fn always(&self, way: Way, own: Place, other: Place) -> bool {
        let itself = own.pod != NONE && own.pod == other.pod;
        let own_node = other.pod == NONE && other.node != NONE && other.node == own.node;
        let exempt = way == Way::Ingress || self.own_node_both_ways;
        itself || (exempt && own.pod != NONE && own_node)
    }

    fn matches(
        &self,
        rule: &Rule,
        other: Place,
        (protocol, port): (Protocol, u16),
        named: &[NamedPort],
    ) -> bool {
        let class = &self.classes[other.class as usize].peers;
        let matched = |peer: &u32| class.binary_search(peer).is_ok();
        let peer = rule
            .peers
            .as_ref()
            .is_none_or(|peers| peers.iter().any(matched));
        peer && rule.ports_at(named).contains(protocol, port)
    }
}

impl Place {
    /// Whether policies see only the node of whoever is here.
    #[must_use]
    pub fn is_node(self) -> bool {
        self.pod == NONE && self.node != NONE
    }

    /// The number of the node that it is or is on.
    #[must_use]
    pub fn on_node(self) -> Option<u32> {
        (self.node != NONE).then_some(self.node)
    }

    /// The same place for whichever pod and node: whatever policies allow two such places they allow any two of the
    /// kinds, but for a pod and itself, and a pod and its own node.
    #[must_use]
    pub fn kind(self) -> Self {
        Self {
            pod: NONE,
            node: NONE,
            ..self
        }
    }
}

/// The end that is judged, and the other.
fn ends(way: Way, client: Place, server: Place) -> (Place, Place) {
    match way {
        Way::Ingress => (server, client),
        Way::Egress => (client, server),
    }
}

#[cfg(test)]
mod tests;
