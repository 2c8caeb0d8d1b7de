//! A cluster and its traffic: workloads of ten pods, each of which calls five others and is called by five.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use netpol_agent::identity::objects::{Labels, Object, Owner, OwnerReference, Pod, PodName};
use netpol_agent::observe::{
    Batch, Epoch, ObjectIdentity, ObservedEdge, ObservedKey, PodIdentity, Source,
};
use netpol_agent::wire::{Agent, Delivery};
use netpol_common::abi::Direction;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

/// Pods of a node, of a workload, and the calls of a pod.
const ON_NODE: usize = 100;
const REPLICAS: usize = 10;
const CALLS: usize = 5;
/// Edges of one delivery.
const DELIVERY: usize = 200;

/// By how many nodes it has.
pub(crate) struct World {
    pub(crate) nodes: usize,
}

impl Default for World {
    fn default() -> Self {
        Self { nodes: 1_000 }
    }
}

impl World {
    fn size(&self) -> usize {
        self.nodes * ON_NODE
    }

    /// Every ReplicaSet.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Object> {
        (0..self.size() / REPLICAS).map(|workload| {
            let name = workload_name(workload);
            Object::Owner(Owner {
                name: WorkloadName::new(
                    namespace(workload),
                    "ReplicaSet",
                    format!("{name}-5d8c7b"),
                ),
                uid: format!("00000000-0000-4000-9000-{workload:012}"),
                generate_name: None,
                owner: Some(reference("Deployment", name)),
                selector: Labels::new(),
                template_labels: Labels::new(),
                host_network: false,
                named_ports: Vec::new(),
            })
        })
    }

    /// Every pod.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Object> {
        (0..self.size()).map(|number| {
            let (workload, identity) = (number / REPLICAS, identity(number));
            let name = workload_name(workload);
            let labels = [
                ("app.kubernetes.io/name", name.clone()),
                ("app.kubernetes.io/instance", name.clone()),
                ("app.kubernetes.io/version", "1.2.3".to_owned()),
                ("app.kubernetes.io/managed-by", "Helm".to_owned()),
                ("pod-template-hash", "5d8c7b".to_owned()),
            ];
            let labels = labels
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            Object::Pod(Pod {
                name: PodName {
                    namespace: identity.name.namespace,
                    name: identity.name.name,
                },
                uid: identity.uid,
                labels: labels.collect(),
                node: Some(node_name(self.node(number))),
                ips: vec![address(number)],
                owner: Some(reference("ReplicaSet", format!("{name}-5d8c7b"))),
                generate_name: Some(format!("{name}-5d8c7b-")),
                created: Some(begin()),
                started: Some(begin()),
                ..Pod::default()
            })
        })
    }

    /// What every agent tells in its turn: its edges with their counts so far.
    pub(crate) fn deliveries(&self, turn: u64) -> impl Iterator<Item = Delivery> {
        (0..self.nodes).flat_map(move |node| {
            let edges = self.edges(node, turn);
            let parts = edges.len().div_ceil(DELIVERY) as u64;
            let parts = edges
                .chunks(DELIVERY)
                .zip(1..)
                .map(|(part, number)| delivery(node, (turn - 1) * parts + number, turn, part));
            parts.collect::<Vec<_>>()
        })
    }

    fn edges(&self, node: usize, turn: u64) -> Vec<ObservedEdge> {
        let pods = (0..self.size()).skip(node).step_by(self.nodes);
        let both = pods.flat_map(|pod| {
            let calls = (1..=CALLS).flat_map(move |call| {
                let shift = call * call * 97 * REPLICAS;
                let callee = (pod + shift) % self.size();
                let caller = (pod + self.size() - shift % self.size()) % self.size();
                let port = port(call);
                [
                    edge(pod, callee, port, Direction::Egress, turn),
                    edge(pod, caller, port, Direction::Ingress, turn),
                ]
            });
            calls.collect::<Vec<_>>()
        });
        both.collect()
    }

    /// The pods of a workload are on different nodes.
    fn node(&self, pod: usize) -> usize {
        pod % self.nodes
    }
}

fn edge(pod: usize, other: usize, port: u16, direction: Direction, turn: u64) -> ObservedEdge {
    let last_seen = begin() + (turn.cast_signed() * 3_600).seconds() + 123_456.microseconds();
    ObservedEdge {
        key: ObservedKey {
            interface: u32::try_from(pod).unwrap_or(0) / 1_000,
            source: Source::Kernel,
            direction,
            protocol: Protocol::Tcp,
            port,
            local: address(pod),
            remote: address(other),
        },
        pod: identity(pod),
        attempts: turn * 100,
        answered: turn * 100,
        refused: 0,
        first_seen: begin() + 60_123_456.microseconds(),
        last_seen,
        one_sided: false,
    }
}

fn delivery(node: usize, sequence: u64, turn: u64, edges: &[ObservedEdge]) -> Delivery {
    let batch = Batch {
        observer: node_name(node),
        epoch: Epoch {
            boot_id: format!("5a6e8b1c-0000-4000-8000-{node:012}"),
            instance: node as u64,
            abi_version: 1,
        },
        sequence,
        time: begin() + (turn.cast_signed() * 3_600 + 60).seconds(),
        edges: edges.to_vec(),
        losses: Vec::new(),
        node_addresses: vec![Ipv4Addr::from(0xac10_0000 + node as u32).into()],
    };
    Delivery {
        agent: Agent {
            node: node_name(node),
            pod_uid: None,
            version: "0.1.0".to_owned(),
        },
        batches: vec![Arc::new(batch)],
    }
}

fn identity(pod: usize) -> PodIdentity {
    let workload = pod / REPLICAS;
    PodIdentity {
        name: ObjectIdentity {
            namespace: namespace(workload),
            name: format!("{}-5d8c7b-{:05}", workload_name(workload), pod % 100_000),
        },
        uid: format!("00000000-0000-4000-8000-{pod:012}"),
    }
}

fn reference(kind: &str, name: String) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        uid: format!("00000000-0000-4000-a000-{:012}", name.len()),
        name,
    }
}

fn namespace(workload: usize) -> String {
    format!("team-{:03}", workload % 200)
}

fn workload_name(workload: usize) -> String {
    format!("service-{workload:05}")
}

fn node_name(node: usize) -> String {
    format!("node-{node:04}.example")
}

fn port(call: usize) -> u16 {
    8_000 + call as u16
}

fn address(pod: usize) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + pod as u32).into()
}

fn begin() -> Timestamp {
    Timestamp::from_second(1_770_000_000).unwrap_or_default()
}
