//! A made-up cluster with a policy for each workload, the same on every run.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_agent::identity::objects::Labels;
use netpol_agent::policy::evaluate::{Member, Pod, World};
use netpol_common::names::{ObjectName, WorkloadName};
use serde_json::{Value, json};

/// Ports that workloads serve.
pub(crate) const PORTS: [u16; 8] = [80, 443, 3306, 5432, 6379, 8080, 9090, 9200];
/// Servers that a workload talks to.
const SERVERS: usize = 20;
/// Workloads of one namespace.
const PER_NAMESPACE: usize = 50;

/// Workloads, their pods, and policies that allow exactly some edges between them.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) policies: Vec<NetworkPolicy>,
    /// Client and server workload, by number, and the port.
    pub(crate) edges: Vec<(usize, usize, u16)>,
    /// Pods of each workload.
    pub(crate) replicas: usize,
    /// More numbers of the same sequence.
    pub(crate) random: Random,
}

/// Numbers that look random: splitmix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

impl Cluster {
    /// So many workloads with so many pods each.
    pub(crate) fn new(workloads: usize, replicas: usize) -> Self {
        let mut random = Random(7);
        let mut edges = Vec::new();
        for client in 0..workloads {
            for _ in 0..SERVERS {
                let server = random.below(workloads);
                if server != client {
                    edges.push((client, server, PORTS[random.below(PORTS.len())]));
                }
            }
        }
        edges.sort_unstable();
        edges.dedup();
        let members =
            (0..workloads).flat_map(|workload| (0..replicas).map(move |pod| member(workload, pod)));
        Self {
            world: World::new(BTreeMap::new(), BTreeMap::new(), members.collect()),
            policies: policies(workloads, &edges),
            edges,
            replicas,
            random,
        }
    }
}

/// Names sort as numbers do, so that a workload's pods are where its number says.
fn name(workload: usize) -> (String, String) {
    (
        format!("ns-{:05}", workload / PER_NAMESPACE),
        format!("app-{workload:05}"),
    )
}

fn labels(workload: usize) -> Labels {
    [("app".to_owned(), name(workload).1)].into()
}

fn member(workload: usize, pod: usize) -> Member {
    let (namespace, name) = name(workload);
    let number = u32::try_from(workload * 16 + pod).unwrap_or_default();
    let mut all = labels(workload);
    all.insert(
        "pod-template-hash".to_owned(),
        format!("{:08x}", workload % 7),
    );
    Member {
        pod: Pod {
            name: ObjectName::new(&namespace, format!("{name}-{pod}")),
            labels: all,
            node: Some(format!("node-{}", (workload + pod) % 100)),
            host_network: false,
            named_ports: Vec::new(),
        },
        addresses: vec![IpAddr::from(std::net::Ipv4Addr::from_bits(
            0x0a00_0000 + number,
        ))],
        workload: WorkloadName::new(namespace, "Deployment", name),
        stand_in: false,
    }
}

fn policies(workloads: usize, edges: &[(usize, usize, u16)]) -> Vec<NetworkPolicy> {
    let mut rules = vec![(Vec::new(), Vec::new()); workloads];
    for (client, server, port) in edges {
        let ports = json!([{"protocol": "TCP", "port": port}]);
        rules[*client]
            .1
            .push(json!({"to": [peer(*server)], "ports": ports}));
        rules[*server]
            .0
            .push(json!({"from": [peer(*client)], "ports": ports}));
    }
    let numbered = rules.into_iter().enumerate();
    numbered
        .map(|(workload, (ingress, egress))| policy(workload, ingress, egress))
        .collect()
}

fn peer(workload: usize) -> Value {
    json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name(workload).0}},
        "podSelector": {"matchLabels": labels(workload)},
    })
}

fn policy(workload: usize, ingress: Vec<Value>, mut egress: Vec<Value>) -> NetworkPolicy {
    let (namespace, name) = name(workload);
    let block = format!("203.{}.{}.0/24", workload / 200, workload % 200);
    egress.push(json!({"to": [{"ipBlock": {"cidr": block}}], "ports": [{"port": 443}]}));
    let object = json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "podSelector": {"matchLabels": labels(workload)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    });
    serde_json::from_value(object).expect("it is a policy")
}
