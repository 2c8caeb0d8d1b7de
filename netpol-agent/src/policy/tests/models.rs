//! Policies of any shape that the model has, also those that no cluster of these tests leads to: every format means the
//! same of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::formats::{Stranger, Written};
use crate::identity::objects::Labels;
use crate::policy::Direction;
use crate::policy::evaluate::Pod;
use crate::policy::model::{Policy, PolicyPeer, PortSpec, Rule, Selector, Texts};
use crate::policy::read::Asked;

/// Addresses in, beside and outside of the blocks below.
const ADDRESSES: [&str; 8] = [
    "198.51.100.0",
    "198.51.100.3",
    "198.51.100.4",
    "198.51.100.9",
    "203.0.113.1",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db9::1",
];

const BLOCKS: [&str; 6] = [
    "198.51.100.0/24",
    "198.51.100.0/30",
    "198.51.100.9/32",
    "0.0.0.0/0",
    "2001:db8::/32",
    "2001:db8::1/128",
];

/// Blocks that may be left out of the first, fourth and fifth of [`BLOCKS`].
const LEFT_OUT: [(usize, &str); 5] = [
    (0, "198.51.100.4/30"),
    (0, "198.51.100.0/30"),
    (3, "203.0.113.0/24"),
    (3, "198.51.100.9/32"),
    (4, "2001:db8::2/127"),
];

const PORTS: [u16; 5] = [1, 80, 81, 443, 65535];

fn subset(of: &'static [&'static str], least: usize) -> impl Strategy<Value = Texts> {
    let words = prop::sample::subsequence(of, least..=of.len());
    words.prop_map(Texts::from_iter)
}

fn any_selector(fewest: usize) -> impl Strategy<Value = Selector> {
    let keys = prop::sample::select(&["app", "tier", "example.com/a.b_c"][..]);
    let values = subset(&["x", "y", ""], 1);
    let labels = prop::collection::btree_map(keys.prop_map(Arc::from), values, fewest..3);
    labels.prop_map(Selector::from_iter)
}

fn any_labels() -> impl Strategy<Value = Labels> {
    any_selector(0).prop_map(|selector| {
        let one =
            |(key, values): (&str, &Texts)| Some((key.to_owned(), values.first()?.to_owned()));
        selector.iter().filter_map(one).collect()
    })
}

fn any_peer() -> impl Strategy<Value = PolicyPeer> {
    let namespaces = || subset(&["a", "b", "c"], 1);
    let block = |number: usize| -> IpNet { BLOCKS[number].parse().unwrap() };
    let pods = (prop::option::of(namespaces()), any_selector(1))
        .prop_map(|(namespaces, pods)| PolicyPeer::Pods { namespaces, pods });
    let except = prop::sample::select(&LEFT_OUT[..]).prop_map(move |(number, _)| {
        let except = LEFT_OUT.iter().filter(|(of, _)| *of == number);
        PolicyPeer::BlockExcept {
            block: block(number),
            except: except.map(|(_, block)| block.parse().unwrap()).collect(),
        }
    });
    prop_oneof![
        3 => pods,
        1 => namespaces().prop_map(PolicyPeer::Namespaces),
        2 => (0..BLOCKS.len()).prop_map(move |number| PolicyPeer::Block(block(number))),
        1 => except,
    ]
}

fn any_port() -> impl Strategy<Value = PortSpec> {
    let port = prop::sample::select(&PORTS[..]);
    (prop::sample::select(&Protocol::ALL[..]), port.clone(), port).prop_map(|(protocol, a, b)| {
        PortSpec {
            protocol,
            port: a.min(b),
            end_port: (a != b).then_some(a.max(b)),
        }
    })
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let peers = prop::collection::vec(any_peer(), 1..4);
    let ports = prop::collection::vec(any_port(), 1..4);
    let rule = (peers, ports).prop_map(|(peers, ports)| Rule {
        peers,
        ports,
        evidence: Vec::new(),
    });
    prop::collection::vec(rule, 0..3)
}

fn any_policies() -> impl Strategy<Value = Vec<Policy>> {
    let namespace = prop::sample::select(&["a", "b"][..]);
    let policy = (namespace, any_selector(0), any_rules(), any_rules());
    let policies = prop::collection::vec(policy, 0..4);
    policies.prop_map(|policies| {
        let policies = policies.into_iter().enumerate();
        let policy = |(number, (namespace, subject, ingress, egress))| Policy {
            coverage: None,
            workload: WorkloadName::new(namespace, "Deployment", format!("w{number}")),
            name: format!("w{number}-deployment"),
            subject,
            ingress,
            egress,
            entities: Vec::new(),
            already: std::collections::BTreeMap::new(),
        };
        policies.map(policy).collect()
    })
}

fn any_pods() -> impl Strategy<Value = Vec<Pod>> {
    let namespace = prop::sample::select(&["a", "b", "c"][..]);
    let pods = prop::collection::vec((namespace, any_labels()), 1..5);
    pods.prop_map(|pods| {
        let pods = pods.into_iter().enumerate();
        let pod = |(number, (namespace, labels)): (usize, (&str, Labels))| Pod {
            name: ObjectName::new(namespace, format!("pod-{number}")),
            labels,
            node: Some(format!("node-{number}")),
            host_network: false,
            named_ports: Vec::new(),
        };
        pods.map(pod).collect()
    })
}

/// Every other pod, at an address of its own and at one that blocks hold, and everybody outside.
fn strangers(pods: &[Pod], own: &Pod) -> Vec<Stranger> {
    let addresses = || {
        ADDRESSES
            .iter()
            .map(|address| address.parse::<IpAddr>().unwrap())
    };
    let others = pods.iter().filter(|pod| pod.name != own.name);
    let at_both = |pod: &Pod| {
        let pod = pod.clone();
        let places = [IpAddr::from([10, 0, 0, 9]), IpAddr::from([198, 51, 100, 3])];
        places.map(|address| Stranger::Pod(pod.clone(), address))
    };
    let outside = addresses().map(|address| Stranger::Outside(address, false));
    others.flat_map(at_both).chain(outside).collect()
}

fn questions() -> Vec<(Protocol, u16)> {
    let ports: BTreeSet<u16> = PORTS
        .into_iter()
        .flat_map(|port| [port.saturating_sub(1).max(1), port, port.saturating_add(1)])
        .collect();
    let each = Protocol::ALL.into_iter();
    each.flat_map(|protocol| ports.iter().map(move |port| (protocol, *port)))
        .collect()
}

proptest! {
    #[test]
    fn every_shape_means_the_same(policies in any_policies(), pods in any_pods()) {
        let written = Written::of(&policies);
        for own in &pods {
            for stranger in strangers(&pods, own) {
                for direction in Direction::ALL {
                    for to in questions() {
                        let other = stranger.as_other();
                        let asked = Asked { direction, other, protocol: to.0, port: to.1 };
                        let by_kubernetes = |blocks| written.by_kubernetes(blocks, (own, &stranger), direction, to);
                        prop_assert_eq!(
                            written.by_calico(own, &asked), by_kubernetes(true),
                            "Calico: {} of {} with {:?} on {:?}", direction, own.name, stranger, to
                        );
                        prop_assert_eq!(
                            written.by_cilium(own, &asked), by_kubernetes(false),
                            "Cilium: {} of {} with {:?} on {:?}", direction, own.name, stranger, to
                        );
                    }
                }
            }
        }
    }
}
