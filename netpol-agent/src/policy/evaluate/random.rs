//! Random small clusters and policies, in which everything that the specification speaks of occurs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Member, Pod, Reading, World};
use crate::identity::objects::Labels;
use crate::inventory;

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["app", "tier", "env"];
const VALUES: [&str; 3] = ["x", "y", "z"];
const NAMES: [&str; 2] = ["web", "api"];
const NODES: [&str; 3] = ["n0", "n1", "n2"];

/// Something random that a counter-example shows as Kubernetes objects, a line each, which `check` and `explain` take too.
#[derive(Clone)]
pub(crate) struct Shown<T>(pub(crate) T);

impl<T> Deref for Shown<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Shown<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl fmt::Debug for Shown<World> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n--- inventory.yaml")?;
        for (name, labels) in self.namespaces() {
            let metadata = json!({"name": name, "labels": labels});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            writeln!(f, "---\n{namespace}")?;
        }
        for (_, member) in self.pods() {
            writeln!(f, "---\n{}", pod_object(member))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Shown<Vec<NetworkPolicy>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n--- policies.yaml")?;
        for policy in &self.0 {
            let policy = serde_json::to_string(policy).map_err(|_| fmt::Error)?;
            writeln!(f, "---\n{policy}")?;
        }
        Ok(())
    }
}

/// A pod as an inventory has it.
fn pod_object(member: &Member) -> Value {
    let (pod, workload) = (&member.pod, &member.workload);
    let ports = pod.named_ports.iter();
    let ports = ports.map(|(name, protocol, port)| {
        json!({"name": name, "protocol": protocol.to_string(), "containerPort": port})
    });
    let ports: Vec<Value> = ports.collect();
    let addresses = member.addresses.iter();
    let addresses: Vec<Value> = addresses.map(|address| json!({"ip": address})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": pod.name.namespace, "name": pod.name.name, "labels": pod.labels,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": workload.kind, "name": workload.name, "controller": true}],
        },
        "spec": {"nodeName": pod.node, "hostNetwork": pod.host_network, "containers": [{"name": "c", "ports": ports}]},
        "status": {"podIPs": addresses},
    })
}

/// Any cluster: pods that differ in whatever policies look at, on few nodes.
pub(crate) fn any_world() -> impl Strategy<Value = Shown<World>> {
    let namespaces =
        prop::collection::btree_map(prop::sample::select(&NAMESPACES[..]), any_labels(), 0..=3);
    let members = prop::collection::vec(any_member(), 1..7);
    (namespaces, members).prop_map(|(namespaces, members)| {
        let namespaces = namespaces
            .into_iter()
            .map(|(name, labels)| (name.to_owned(), labels))
            .collect();
        let numbered = members.into_iter().enumerate();
        let members = numbered.map(|(number, make)| make.at(number)).collect();
        Shown(World::new(namespaces, nodes(), members))
    })
}

/// The world of these objects, of which nothing is random.
pub(crate) fn world_of(objects: Value) -> World {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let mut read = inventory::parse("objects", &list).expect("an inventory");
    World::of(&read.take_index())
}

/// Any policies that the API server would take.
pub(crate) fn any_policies() -> impl Strategy<Value = Shown<Vec<NetworkPolicy>>> {
    prop::collection::vec(any_policy(), 0..6).prop_map(|policies| {
        let numbered = policies.into_iter().enumerate();
        let policies = numbered.map(|(number, (namespace, spec))| {
            let metadata = json!({"namespace": namespace, "name": format!("p{number}")});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
        });
        Shown(policies.collect())
    })
}

pub(crate) fn any_reading() -> impl Strategy<Value = Reading> {
    any::<[bool; 3]>().prop_map(
        |[host_network_is_node, blocks_match_pods, own_node_both_ways]| Reading {
            host_network_is_node,
            blocks_match_pods,
            own_node_both_ways,
        },
    )
}

/// Addresses worth asking for: of pods, of nodes, at the edges of blocks, and of nobody.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let texts = [
        "10.0.0.0",
        "10.0.0.1",
        "10.0.0.5",
        "10.0.0.7",
        "10.0.0.8",
        "10.0.1.0",
        "10.255.255.255",
        "11.0.0.0",
        "9.255.255.255",
        "192.0.2.1",
        "192.0.2.2",
        "198.51.100.1",
        "255.255.255.255",
        "0.0.0.1",
        "0.0.0.0",
        "::",
        "::1",
        "fd00::",
        "fd00::1",
        "fd00::5",
        "fd00::8",
        "fd01::",
        "2001:db8::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Ports worth asking for: those that policies and pods name, and their neighbours.
pub(crate) const PORTS: [u16; 12] = [1, 79, 80, 81, 82, 84, 85, 8080, 8081, 9090, 9091, 65535];

/// A pod before it is given a name.
#[derive(Clone, Debug)]
struct Make {
    namespace: &'static str,
    workload: u8,
    labels: Labels,
    node: Option<&'static str>,
    host_network: bool,
    named_ports: BTreeSet<(&'static str, Protocol, u16)>,
    families: (bool, bool),
}

impl Make {
    fn at(self, number: usize) -> Member {
        let v4 = self.families.0.then(|| format!("10.0.0.{}", number + 1));
        let v6 = self.families.1.then(|| format!("fd00::{}", number + 1));
        let own = v4.into_iter().chain(v6).map(|text| text.parse().unwrap());
        let own: Vec<IpAddr> = own.collect();
        let addresses = match self.node {
            Some(node) if self.host_network => nodes()[node].iter().copied().collect(),
            _ => own,
        };
        let ports = self.named_ports.into_iter();
        Member {
            pod: Pod {
                name: ObjectName::new(self.namespace, format!("pod-{number}")),
                labels: self.labels,
                node: self.node.map(str::to_owned),
                host_network: self.host_network,
                named_ports: ports
                    .map(|(name, protocol, port)| (name.to_owned(), protocol, port))
                    .collect(),
            },
            addresses,
            workload: WorkloadName::new(
                self.namespace,
                "Deployment",
                format!("w{}", self.workload),
            ),
            stand_in: false,
        }
    }
}

fn nodes() -> BTreeMap<String, BTreeSet<IpAddr>> {
    let address = |number: usize| format!("192.0.2.{}", number + 1).parse().unwrap();
    let numbered = NODES.iter().enumerate();
    numbered
        .map(|(number, name)| ((*name).to_owned(), [address(number)].into()))
        .collect()
}

fn any_member() -> impl Strategy<Value = Make> {
    let port = (
        prop::sample::select(&NAMES[..]),
        any_protocol(),
        prop::sample::select(&[80u16, 8080, 9090][..]),
    );
    let families = prop_oneof![6 => Just((true, false)), 2 => Just((true, true)), 1 => Just((false, true)), 1 => Just((false, false))];
    let who = (prop::sample::select(&NAMESPACES[..]), 0u8..3, any_labels());
    let node = prop::option::weighted(0.8, prop::sample::select(&NODES[..]));
    (
        who,
        node,
        prop::bool::weighted(0.2),
        prop::collection::btree_set(port, 0..3),
        families,
    )
        .prop_map(
            |((namespace, workload, labels), node, host_network, named_ports, families)| Make {
                namespace,
                workload,
                labels,
                node,
                host_network,
                named_ports,
                families,
            },
        )
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let labels = prop::collection::btree_map(
        prop::sample::select(&KEYS[..]),
        prop::sample::select(&VALUES[..]),
        0..=3,
    );
    labels.prop_map(|labels| {
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    })
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![4 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn any_policy() -> impl Strategy<Value = (&'static str, Value)> {
    let types = prop::sample::select(vec![
        None,
        Some(json!([])),
        Some(json!(["Ingress"])),
        Some(json!(["Egress"])),
        Some(json!(["Ingress", "Egress"])),
    ]);
    let rules =
        || prop::option::weighted(0.7, prop::collection::vec((any_peers(), any_ports()), 0..3));
    (
        prop::sample::select(&NAMESPACES[..]),
        prop::option::weighted(0.9, any_selector()),
        types,
        rules(),
        rules(),
    )
        .prop_map(|(namespace, subject, types, ingress, egress)| {
            let rules = |word: &str, rules: Vec<(Option<Value>, Option<Value>)>| -> Value {
                rules
                    .into_iter()
                    .map(|(peers, ports)| object([(word, peers), ("ports", ports)]))
                    .collect()
            };
            let spec = object([
                ("podSelector", subject),
                ("policyTypes", types),
                ("ingress", ingress.map(|list| rules("from", list))),
                ("egress", egress.map(|list| rules("to", list))),
            ]);
            (namespace, spec)
        })
}

/// An object of those fields that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect())
}

fn any_peers() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(
        0.8,
        prop::collection::vec(any_peer(), 0..3).prop_map(Value::from),
    )
}

fn any_peer() -> impl Strategy<Value = Value> {
    let namespaces = || prop_oneof![2 => any_selector(), 1 => any_name_selector()];
    prop_oneof![
        3 => any_selector().prop_map(|pods| json!({"podSelector": pods})),
        2 => namespaces().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        2 => (namespaces(), any_selector()).prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods})),
        4 => any_block().prop_map(|block| json!({"ipBlock": block})),
    ]
}

/// Namespaces by the label that each of them bears.
fn any_name_selector() -> impl Strategy<Value = Value> {
    let names = prop::sample::subsequence(NAMESPACES.to_vec(), 1..=2);
    (names, any::<bool>()).prop_map(|(names, expression)| match expression {
        true => json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}),
        false => json!({"matchLabels": {"kubernetes.io/metadata.name": names[0]}}),
    })
}

fn any_selector() -> impl Strategy<Value = Value> {
    let label = || {
        (
            prop::sample::select(&KEYS[..]),
            prop::sample::select(&VALUES[..]),
        )
    };
    let labels = prop::option::of(prop::collection::btree_map(label().0, label().1, 0..2));
    let operator = prop::sample::select(&["In", "NotIn", "Exists", "DoesNotExist"][..]);
    let values = prop::sample::subsequence(VALUES.to_vec(), 1..=2);
    let expression =
        (prop::sample::select(&KEYS[..]), operator, values).prop_map(|(key, operator, values)| {
            let values = operator.ends_with("In").then_some(json!(values));
            object([
                ("key", Some(json!(key))),
                ("operator", Some(json!(operator))),
                ("values", values),
            ])
        });
    let expressions = prop::option::weighted(0.4, prop::collection::vec(expression, 0..2));
    (labels, expressions).prop_map(|(labels, expressions)| {
        object([
            ("matchLabels", labels.map(|labels| json!(labels))),
            ("matchExpressions", expressions.map(Value::from)),
        ])
    })
}

fn any_block() -> impl Strategy<Value = Value> {
    let blocks = [
        (
            "0.0.0.0/0",
            &["10.0.0.0/8", "10.0.0.0/30", "192.0.2.0/24", "128.0.0.0/1"][..],
        ),
        (
            "10.0.0.0/8",
            &["10.0.0.0/29", "10.0.0.4/30", "10.0.0.1/32", "10.128.0.0/9"],
        ),
        ("10.0.0.0/29", &["10.0.0.2/31", "10.0.0.3/32"]),
        ("10.0.0.2/32", &[]),
        ("192.0.2.2/32", &[]),
        ("128.0.0.0/1", &["192.0.2.1/32"]),
        ("::/0", &["fd00::/8", "8000::/1"]),
        ("fd00::/8", &["fd00::4/126", "fd00::1/128"]),
        ("fd00::2/128", &[]),
    ];
    let choice = prop::sample::select(blocks.to_vec());
    let with_except = choice.prop_flat_map(|(cidr, excepts)| {
        let except = prop::sample::subsequence(excepts.to_vec(), 0..=excepts.len().min(2));
        (Just(cidr), prop::option::of(except))
    });
    with_except.prop_map(|(cidr, except)| {
        object([
            ("cidr", Some(json!(cidr))),
            ("except", except.map(|list| json!(list))),
        ])
    })
}

fn any_ports() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(
        0.7,
        prop::collection::vec(any_port(), 0..3).prop_map(Value::from),
    )
}

fn any_port() -> impl Strategy<Value = Value> {
    let range = prop::sample::select(
        &[
            (80u16, None),
            (80, Some(80)),
            (80, Some(84)),
            (81, Some(8080)),
            (1, Some(65535)),
            (8081, None),
        ][..],
    );
    let port = prop_oneof![
        1 => Just((None, None)),
        4 => range.prop_map(|(port, last)| (Some(json!(port)), last.map(|last| json!(last)))),
        3 => prop::sample::select(&NAMES[..]).prop_map(|name| (Some(json!(name)), None)),
    ];
    let protocol = prop::option::weighted(0.7, any_protocol());
    (protocol, port).prop_map(|(protocol, (port, last))| {
        object([
            ("protocol", protocol.map(|protocol| json!(protocol.name()))),
            ("port", port),
            ("endPort", last),
        ])
    })
}
