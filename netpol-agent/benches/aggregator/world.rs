//! A cluster and its traffic, by number: workloads of ten pods, each of which calls five others and is called by five.
//!
//! Pods of one workload are on different nodes. A pod's generation counts how often it was replaced: by one of another name,
//! uid and address on the same node.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use netpol_agent::observe::{
    Batch, Epoch, ObjectIdentity, ObservedEdge, ObservedKey, PodIdentity, Source,
};
use netpol_agent::wire::{Agent, Delivery};
use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

/// Pods of a workload.
pub(crate) const REPLICAS: usize = 10;
/// Others that a pod calls.
const CALLS: usize = 5;
/// Edges that a pod has a part in.
pub(crate) const EDGES: usize = 2 * CALLS;
/// The namespace of netpol itself.
pub(crate) const OWN: &str = "netpol-system";
/// The namespaces of workloads.
pub(crate) const NAMESPACES: usize = 200;

/// How large the cluster is, and when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) nodes: usize,
    pub(crate) pods: usize,
    pub(crate) began: Timestamp,
}

/// What an agent says of an edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) count: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl World {
    pub(crate) fn new(nodes: usize, pods: usize) -> Self {
        let began = Timestamp::now() - SignedDuration::from_hours(1);
        Self { nodes, pods, began }
    }

    pub(crate) fn workloads(&self) -> usize {
        self.pods.div_ceil(REPLICAS)
    }

    /// The pods of a node.
    pub(crate) fn on(&self, node: usize) -> impl Iterator<Item = usize> {
        (node..self.pods).step_by(self.nodes)
    }

    /// The node of a pod.
    pub(crate) fn node(&self, pod: usize) -> usize {
        pod % self.nodes
    }

    /// The edges that a pod has a part in, by which pod is at the other end.
    pub(crate) fn edges(&self, pod: usize) -> impl Iterator<Item = (usize, u16, Direction)> {
        let size = self.pods;
        (1..=CALLS).flat_map(move |call| {
            let shift = (call * call * 97 * REPLICAS) % size;
            let (callee, caller) = ((pod + shift) % size, (pod + size - shift) % size);
            let port = port(call);
            [
                (callee, port, Direction::Egress),
                (caller, port, Direction::Ingress),
            ]
        })
    }
}

/// An edge of a pod, by the generations of both.
pub(crate) fn edge(
    (pod, own): (usize, u8),
    (other, others): (usize, u8),
    (port, direction): (u16, Direction),
    seen: Seen,
) -> ObservedEdge {
    ObservedEdge {
        key: ObservedKey {
            interface: u32::try_from(pod).unwrap_or(0) * 2 + u32::from(own),
            source: Source::Kernel,
            direction,
            protocol: Protocol::Tcp,
            port,
            local: address(pod, own),
            remote: address(other, others),
        },
        pod: identity(pod, own),
        attempts: seen.count,
        answered: seen.count,
        refused: 0,
        first_seen: seen.first,
        last_seen: seen.last,
        one_sided: false,
    }
}

/// What the agent of a node delivers.
pub(crate) fn delivery(node: usize, sequence: u64, edges: Vec<ObservedEdge>) -> Delivery {
    let batch = Batch {
        observer: node_name(node),
        epoch: Epoch {
            boot_id: format!("5a6e8b1c-0000-4000-8000-{node:012}"),
            instance: node as u64,
            abi_version: 1,
        },
        sequence,
        time: Timestamp::now(),
        edges,
        losses: Vec::new(),
        node_addresses: vec![node_address(node).into()],
    };
    Delivery {
        agent: Agent {
            node: node_name(node),
            pod_uid: Some(agent_uid(node)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        batches: vec![Arc::new(batch)],
    }
}

fn identity(pod: usize, generation: u8) -> PodIdentity {
    PodIdentity {
        name: ObjectIdentity {
            namespace: namespace(pod / REPLICAS),
            name: pod_name(pod, generation),
        },
        uid: pod_uid(pod, generation),
    }
}

pub(crate) fn pod_name(pod: usize, generation: u8) -> String {
    format!("{}-{generation}{pod:05}", set_name(pod / REPLICAS))
}

pub(crate) fn pod_uid(pod: usize, generation: u8) -> String {
    format!("00000000-0000-4000-800{generation}-{pod:012}")
}

/// The ReplicaSet of a workload.
pub(crate) fn set_name(workload: usize) -> String {
    format!("{}-5d8c7b", workload_name(workload))
}

pub(crate) fn namespace(workload: usize) -> String {
    format!("team-{:03}", workload % NAMESPACES)
}

pub(crate) fn workload_name(workload: usize) -> String {
    format!("service-{workload:05}")
}

pub(crate) fn node_name(node: usize) -> String {
    format!("node-{node:04}.example")
}

pub(crate) fn agent_uid(node: usize) -> String {
    format!("00000000-0000-4000-9000-{node:012}")
}

pub(crate) fn agent_name(node: usize) -> String {
    format!("netpol-agent-{node:05}")
}

pub(crate) fn port(call: usize) -> u16 {
    8_000 + call as u16
}

pub(crate) fn address(pod: usize, generation: u8) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + (u32::from(generation) << 20) + pod as u32).into()
}

pub(crate) fn node_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::from(0xac10_0000 + node as u32)
}
