//! A cluster as they are, and who talks to whom in it.
//!
//! Namespaces of fifty workloads, labelled as charts do; each serves one to four ports. Most traffic stays within a
//! namespace, some goes to namespaces that many use, some to the outside; everything uses DNS, and a monitoring
//! system reads metrics from everything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use netpol_agent::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use netpol_agent::identity::{EdgeId, Peer};
use netpol_agent::policy::Cluster;
use netpol_agent::policy::cluster::Workload;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

/// Workloads of one namespace.
const PER_NAMESPACE: usize = 50;
/// The ports that workloads serve.
const PORTS: [u16; 12] = [
    80, 443, 3000, 5432, 6379, 8080, 8081, 8443, 9000, 9042, 9092, 9200,
];
/// Where metrics are read.
const METRICS: u16 = 9090;
const DNS: u16 = 53;

/// What a benchmark needs.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) graph: FlowGraph,
    /// All workloads, the last two being resolver and monitoring.
    pub(crate) names: Vec<WorkloadName>,
}

/// Random numbers from a seed (splitmix64, Steele and others 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// A cluster of so many workloads with about so many edges.
pub(crate) fn scene(workloads: usize, edges: usize) -> Scene {
    let mut random = Random(20_260_101);
    let names = names(workloads);
    let ports: Vec<Vec<u16>> = (0..workloads)
        .map(|_| {
            (0..=random.below(4))
                .map(|_| PORTS[random.below(PORTS.len())])
                .collect()
        })
        .collect();
    let mut graph = FlowGraph::default();
    let (resolver, monitor) = (&names[workloads], &names[workloads + 1]);
    for name in &names[..workloads] {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            insert(&mut graph, edge(name, resolver, protocol, DNS));
        }
        insert(&mut graph, edge(monitor, name, Protocol::Tcp, METRICS));
    }
    let mut tries = edges * 20;
    while graph.edges.len() < edges && tries > 0 {
        tries -= 1;
        let client = random.below(workloads);
        let known = match random.below(100) {
            0 => Peer::External(outside(random.below(50))),
            number => {
                let server = server(&mut random, client, workloads, number < 80);
                Peer::Workload(names[server].clone())
            }
        };
        let port = match &known {
            Peer::Workload(name) => {
                let place = names.binary_search(name).unwrap_or_default();
                ports[place.min(workloads - 1)][random.below(ports[place.min(workloads - 1)].len())]
            }
            _ => 443,
        };
        let edge = EdgeId {
            client: Peer::Workload(names[client].clone()),
            server: known,
            protocol: Protocol::Tcp,
            port,
        };
        insert(&mut graph, edge);
    }
    Scene {
        cluster: cluster(&names),
        graph,
        names,
    }
}

/// Somebody of the same namespace, or of one of the namespaces that many use.
fn server(random: &mut Random, client: usize, workloads: usize, near: bool) -> usize {
    let namespaces = workloads.div_ceil(PER_NAMESPACE);
    let namespace = match near {
        true => client / PER_NAMESPACE,
        false => random.below(namespaces.div_ceil(10)),
    };
    (namespace * PER_NAMESPACE + random.below(PER_NAMESPACE)).min(workloads - 1)
}

fn names(workloads: usize) -> Vec<WorkloadName> {
    let one = |number: usize| {
        let namespace = format!("team-{:04}", number / PER_NAMESPACE);
        let kind = match number % 7 {
            0 => "StatefulSet",
            1 => "CronJob",
            _ => "Deployment",
        };
        (
            namespace,
            kind,
            format!("service-{:02}", number % PER_NAMESPACE),
        )
    };
    let mut names: Vec<WorkloadName> = (0..workloads)
        .map(|number| {
            let (namespace, kind, name) = one(number);
            WorkloadName::new(namespace, kind, name)
        })
        .collect();
    names.push(WorkloadName::new("zz-system", "Deployment", "resolver"));
    names.push(WorkloadName::new("zz-system", "StatefulSet", "monitor"));
    names
}

fn cluster(names: &[WorkloadName]) -> Cluster {
    let workload = |name: &WorkloadName| {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let selector = BTreeMap::from([
            label("app.kubernetes.io/name", &name.name),
            label("app.kubernetes.io/instance", &name.namespace),
        ]);
        let mut template = selector.clone();
        template.extend([
            label("app.kubernetes.io/version", "1.2.3"),
            label("app.kubernetes.io/managed-by", "Helm"),
            label("pod-template-hash", "5d4f8c7b9"),
        ]);
        let workload = Workload {
            selector,
            label_sets: BTreeSet::from([template]),
            ..Workload::default()
        };
        (name.clone(), workload)
    };
    Cluster {
        workloads: names.iter().map(workload).collect(),
        ..Cluster::default()
    }
}

fn outside(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0xc633_6400 + number as u32))
}

pub(crate) fn edge(
    client: &WorkloadName,
    server: &WorkloadName,
    protocol: Protocol,
    port: u16,
) -> EdgeId {
    EdgeId {
        client: Peer::Workload(client.clone()),
        server: Peer::Workload(server.clone()),
        protocol,
        port,
    }
}

fn insert(graph: &mut FlowGraph, edge: EdgeId) {
    graph.edges.insert(edge.into(), established());
}

/// Seen established at both ends.
pub(crate) fn established() -> Evidence {
    let view = || {
        Some(ViewEvidence {
            counts: Counts {
                established: 1,
                ..Counts::default()
            },
            ..ViewEvidence::default()
        })
    };
    Evidence {
        client: view(),
        server: view(),
        ..Evidence::default()
    }
}
