//! From policies and pods to tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;

use super::addresses::AddressTable;
use super::intern::{Interner, index};
use super::rows::{PeerClass, Peers, Row, Sets};
use super::rules::{NamedPort, Rule, Rules};
use super::{Compiled, NONE, Place};
use crate::identity::objects::Labels;
use crate::policy::evaluate::plain::labels_of;
use crate::policy::evaluate::{Member, Pod, Reading, Way, World};

/// What isolates an end in a direction: policies by number, and its named ports where they matter.
type RowKey = (Vec<u32>, Vec<NamedPort>);

/// The policies that select pods of certain labels, and the peers that these match by them, all by number.
#[derive(Clone, Debug, Default)]
struct Matched {
    policies: Vec<u32>,
    peers: Vec<u32>,
}

struct Builder<'a> {
    rules: &'a Rules<'a>,
    reading: Reading,
    addresses: AddressTable,
    namespaces: BTreeMap<&'a str, Labels>,
    matched: HashMap<(&'a str, &'a Labels), Matched>,
    rows: [Interner<RowKey>; 2],
    classes: Interner<PeerClass>,
    nodes: BTreeMap<String, u32>,
}

pub(super) fn compiled(world: &World, policies: &[NetworkPolicy], reading: Reading) -> Compiled {
    let rules = Rules::of(policies);
    let mut builder = Builder::new(world, &rules, reading);
    let outside = builder.outside();
    let mut places = Vec::new();
    let mut starts = vec![0];
    for (id, member) in world.pods() {
        for address in world.addresses_of(id) {
            places.push((address, builder.place(index(id.number()), member, address)));
        }
        starts.push(index(places.len()));
    }
    let (rows, classes, sets) = tables(builder.rows, builder.classes.into_values(), &rules);
    Compiled {
        policies: rules.policies.clone(),
        rows,
        sets,
        classes,
        addresses: builder.addresses,
        outside,
        nodes: builder.nodes,
        places,
        starts,
        own_node_both_ways: reading.own_node_both_ways,
    }
}

/// The rows of both directions over all classes.
fn tables(
    keys: [Interner<RowKey>; 2],
    classes: Vec<PeerClass>,
    rules: &Rules<'_>,
) -> ([Vec<Row>; 2], Vec<PeerClass>, Sets) {
    let mut sets = Sets::new();
    let peers = Peers::new(&classes, rules.peers());
    let [ingress, egress] = keys.map(Interner::into_values);
    let rows = [(Way::Ingress, ingress), (Way::Egress, egress)].map(|(way, keys)| {
        let row = |(policies, named): RowKey| {
            if policies.is_empty() {
                return Row::open();
            }
            let of = |policy: &u32| rules.of_policy[*policy as usize][way.number()].as_ref();
            let rules: Vec<Rule> = policies.iter().filter_map(of).flatten().cloned().collect();
            let named = (way == Way::Ingress).then_some(named);
            Row::isolated(rules, named, &peers, &mut sets)
        };
        keys.into_iter().map(row).collect()
    });
    drop(peers);
    (rows, classes, sets)
}

impl<'a> Builder<'a> {
    fn new(world: &'a World, rules: &'a Rules<'a>, reading: Reading) -> Self {
        let named = world.nodes().keys().cloned();
        let used = world
            .pods()
            .filter_map(|(_, member)| member.pod.node.clone());
        let nodes: BTreeSet<String> = named.chain(used).collect();
        let names = world.namespaces().keys();
        let labels = |name: &'a String| (name.as_str(), labels_of(world.namespaces(), name));
        let mut rows = [Interner::new(), Interner::new()];
        for rows in &mut rows {
            rows.number((Vec::new(), Vec::new()));
        }
        Self {
            rules,
            reading,
            addresses: AddressTable::new(&rules.blocks),
            namespaces: names.map(labels).collect(),
            matched: HashMap::new(),
            rows,
            classes: Interner::new(),
            nodes: nodes.into_iter().zip(0..).collect(),
        }
    }

    /// The classes of addresses at which there is no pod, by the sets of blocks that hold them.
    fn outside(&mut self) -> Vec<u32> {
        let sets = self.addresses.sets.clone().into_iter();
        let class = |peers| PeerClass {
            peers,
            named: Vec::new(),
        };
        sets.map(|peers| self.classes.number(class(peers)))
            .collect()
    }

    /// The place of a pod at one of its addresses.
    fn place(&mut self, number: u32, member: &'a Member, address: IpAddr) -> Place {
        let pod = &member.pod;
        let node = pod.node.as_ref().and_then(|name| self.nodes.get(name));
        let node = node.copied().unwrap_or(NONE);
        let blocks = self.addresses.sets[self.addresses.set(address) as usize].clone();
        if pod.host_network && self.reading.host_network_is_node {
            let class = PeerClass {
                peers: blocks,
                named: Vec::new(),
            };
            return Place {
                rows: [0, 0],
                class: self.classes.number(class),
                pod: NONE,
                node,
            };
        }
        let matched = self.matched(pod);
        let mut peers = matched.peers;
        if self.reading.blocks_match_pods {
            peers.extend(blocks);
            peers.sort_unstable();
        }
        let named = named(pod, &self.rules.named[Way::Egress.number()]);
        Place {
            rows: [Way::Ingress, Way::Egress].map(|way| self.row(way, pod, &matched.policies)),
            class: self.classes.number(PeerClass { peers, named }),
            pod: number,
            node,
        }
    }

    /// The number of the row of a pod that these policies select.
    fn row(&mut self, way: Way, pod: &Pod, policies: &[u32]) -> u32 {
        let about = |policy: &&u32| self.rules.of_policy[**policy as usize][way.number()].is_some();
        let policies: Vec<u32> = policies.iter().filter(about).copied().collect();
        let own = way == Way::Ingress && !policies.is_empty();
        let named = if own {
            named(pod, &self.rules.named[way.number()])
        } else {
            Vec::new()
        };
        self.rows[way.number()].number((policies, named))
    }

    fn matched(&mut self, pod: &'a Pod) -> Matched {
        let namespace = pod.name.namespace.as_str();
        let key = (namespace, &pod.labels);
        if let Some(matched) = self.matched.get(&key) {
            return matched.clone();
        }
        let of_namespace = (namespace, &self.namespaces[namespace]);
        let selections = self.rules.selected.matching(of_namespace, &pod.labels);
        let peer = |selection: u32| self.rules.selection_peers[selection as usize];
        let mut peers: Vec<u32> = selections.into_iter().map(peer).collect();
        peers.sort_unstable();
        let matched = Matched {
            policies: self.rules.subjects.matching(of_namespace, &pod.labels),
            peers,
        };
        self.matched.insert(key, matched.clone());
        matched
    }
}

/// A pod's named ports, as far as rules use the names; in order.
fn named(pod: &Pod, used: &BTreeSet<(String, Protocol)>) -> Vec<NamedPort> {
    let is_used = |(name, protocol, _): &&NamedPort| used.contains(&(name.clone(), *protocol));
    let mut named: Vec<NamedPort> = pod.named_ports.iter().filter(is_used).cloned().collect();
    named.sort_unstable();
    named.dedup();
    named
}
