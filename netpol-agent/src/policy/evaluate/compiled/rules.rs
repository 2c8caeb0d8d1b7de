//! The rules of all policies, with their peers and ports as numbers.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use super::addresses::Ranges;
use super::intern::index;
use super::select::{Scope, Selection, Selections};
use crate::policy::evaluate::{PortRange, PortSet, Way, plain};

/// Name, protocol and number of a container port.
pub(super) type NamedPort = (String, Protocol, u16);

/// What the policies say, taken apart.
#[derive(Debug, Default)]
pub(super) struct Rules<'a> {
    /// The names of the policies.
    pub(super) policies: Vec<ObjectName>,
    /// Every policy's own selector, numbered as the policy.
    pub(super) subjects: Selections<'a>,
    /// The rules of each policy for each direction that it is about.
    pub(super) of_policy: Vec<[Option<Vec<Rule>>; 2]>,
    /// Peers that are selected by their labels, with the peer's number in the place of the selection's.
    pub(super) selected: Selections<'a>,
    /// The peer that each selection is.
    pub(super) selection_peers: Vec<u32>,
    /// Peers that are blocks of addresses.
    pub(super) blocks: Vec<(u32, Ranges)>,
    /// Names of ports that rules use, by direction.
    pub(super) named: [BTreeSet<(String, Protocol)>; 2],
    peers: HashMap<String, u32>,
}

/// A rule: whom it allows on which ports.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The number of its policy.
    pub(super) policy: u32,
    /// Its own number within policy and direction.
    pub(super) number: usize,
    /// The peers that it allows, by number; `None` is everybody.
    pub(super) peers: Option<Vec<u32>>,
    /// The ports that are the same on every server.
    ports: PortSet,
    /// The ports whose numbers the server's pod tells.
    names: Vec<(String, Protocol)>,
}

impl<'a> Rules<'a> {
    /// The rules of these policies.
    pub(super) fn of(policies: &'a [NetworkPolicy]) -> Self {
        let mut rules = Self::default();
        policies.iter().for_each(|policy| rules.add(policy));
        rules
    }

    /// How many different peers there are.
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    fn add(&mut self, policy: &'a NetworkPolicy) {
        let spec = policy.spec.as_ref();
        self.policies.push(plain::name_of(policy));
        self.subjects.add(Selection {
            namespace: Scope::Named(namespace(policy)),
            pods: spec.and_then(|spec| spec.pod_selector.as_ref()),
        });
        let of_policy = [Way::Ingress, Way::Egress].map(|way| {
            let stated = plain::rules(spec?, way)?;
            let numbered = stated.iter().enumerate();
            Some(
                numbered
                    .map(|(number, rule)| self.rule(policy, way, number, rule))
                    .collect(),
            )
        });
        self.of_policy.push(of_policy);
    }

    fn rule(
        &mut self,
        policy: &'a NetworkPolicy,
        way: Way,
        number: usize,
        stated: &plain::Rule<'a>,
    ) -> Rule {
        let peers = (!stated.peers.is_empty()).then(|| {
            let peers = stated
                .peers
                .iter()
                .filter_map(|peer| self.peer(policy, peer));
            let mut peers: Vec<u32> = peers.collect();
            peers.sort_unstable();
            peers.dedup();
            peers
        });
        let (ports, names) = ports(stated.ports);
        self.named[way.number()].extend(names.iter().cloned());
        Rule {
            policy: index(self.policies.len() - 1),
            number,
            peers,
            ports,
            names,
        }
    }

    /// The number of a peer; none if it can match nobody.
    fn peer(&mut self, policy: &'a NetworkPolicy, peer: &'a NetworkPolicyPeer) -> Option<u32> {
        let own = peer.namespace_selector.is_none() && peer.ip_block.is_none();
        let stated = serde_json::to_string(peer).ok()?;
        let key = if own {
            format!("{}/{stated}", namespace(policy))
        } else {
            stated
        };
        if let Some(number) = self.peers.get(&key) {
            return Some(*number);
        }
        let number = index(self.peers.len());
        if let Some(block) = &peer.ip_block {
            self.blocks.push((number, Ranges::of(block)));
        } else {
            let namespace = match &peer.namespace_selector {
                Some(selector) => Scope::Matching(selector),
                None => {
                    peer.pod_selector.as_ref()?;
                    Scope::Named(namespace(policy))
                }
            };
            let pods = peer.pod_selector.as_ref();
            self.selected.add(Selection { namespace, pods });
            self.selection_peers.push(number);
        }
        self.peers.insert(key, number);
        Some(number)
    }
}

impl Rule {
    /// Whether its ports depend on the server's names.
    pub(super) fn is_named(&self) -> bool {
        !self.names.is_empty()
    }

    /// The ports that it allows at a server with these names.
    pub(super) fn ports_at(&self, named: &[NamedPort]) -> PortSet {
        let resolved = named.iter().filter(|(name, protocol, _)| {
            self.names
                .iter()
                .any(|(wanted, of)| wanted == name && of == protocol)
        });
        let resolved = resolved.map(|(_, protocol, port)| PortRange::one(*protocol, *port));
        let resolved: PortSet = resolved.collect();
        if resolved.is_empty() {
            return self.ports.clone();
        }
        self.ports.union(&resolved)
    }
}

fn namespace(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap_or_default()
}

/// A list of ports: those that are told by number, and those by name. An empty list is every port.
fn ports(stated: &[NetworkPolicyPort]) -> (PortSet, Vec<(String, Protocol)>) {
    if stated.is_empty() {
        return (PortSet::all(), Vec::new());
    }
    let (mut numbers, mut names) = (Vec::new(), Vec::new());
    for entry in stated {
        let name = entry.protocol.as_deref().unwrap_or("TCP");
        let Some(protocol) = Protocol::ALL.into_iter().find(|each| each.name() == name) else {
            continue;
        };
        match (&entry.port, entry.end_port) {
            (None, None) => numbers.push(PortRange::all_of(protocol)),
            (Some(IntOrString::Int(first)), last) => {
                numbers.extend(range(protocol, *first, last.unwrap_or(*first)));
            }
            (Some(IntOrString::String(name)), None) => names.push((name.clone(), protocol)),
            (None | Some(IntOrString::String(_)), Some(_)) => {}
        }
    }
    (numbers.into_iter().collect(), names)
}

/// The ports between two numbers, which need not be ports themselves.
fn range(protocol: Protocol, first: i32, last: i32) -> Option<PortRange> {
    let first = u16::try_from(first.max(1)).ok()?;
    let last = u16::try_from(last.min(i32::from(u16::MAX))).ok()?;
    (first <= last).then_some(PortRange {
        protocol,
        first,
        last,
    })
}
