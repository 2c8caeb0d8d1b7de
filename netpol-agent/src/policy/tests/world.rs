//! Random small clusters and flow graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer};
use crate::policy::cluster::Workload;
use crate::policy::{Cluster, Dns, OneWay, Options};

/// Ports that touch each other, ports that do not, and those of DNS.
pub(super) const PORTS: [u16; 9] = [53, 80, 81, 82, 84, 443, 5353, 8053, 65535];

/// A cluster, what was seen in it, and what is asked of the engine.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) cluster: Cluster,
    pub(super) graph: FlowGraph,
    pub(super) options: Options,
}

pub(super) fn any_case() -> impl Strategy<Value = Case> {
    any_cluster().prop_flat_map(|cluster| {
        let graph = any_graph(&cluster);
        (Just(cluster), graph, any_options()).prop_map(|(cluster, graph, options)| Case {
            cluster,
            graph,
            options,
        })
    })
}

/// An address of the outside, from a range in which neighbours and whole blocks occur.
pub(super) fn external(number: u8) -> IpAddr {
    match number.is_multiple_of(2) {
        true => format!("198.51.100.{}", number / 2).parse().unwrap(),
        false => format!("2001:db8::{:x}", number / 2).parse().unwrap(),
    }
}

fn any_options() -> impl Strategy<Value = Options> {
    let dns = prop::sample::select(&[Dns::Seen, Dns::Pair, Dns::Always][..]);
    let one_way = prop::sample::select(&[OneWay::Always, OneWay::Repeated, OneWay::Never][..]);
    (dns, one_way).prop_map(|(dns, one_way)| Options {
        dns,
        one_way,
        external_addresses: 3,
        ..Options::default()
    })
}

fn any_cluster() -> impl Strategy<Value = Cluster> {
    let workloads = prop::collection::vec(any_workload(), 1..7);
    let resolvers = prop::collection::vec(any::<bool>(), 7);
    (workloads, resolvers).prop_map(|(workloads, resolves)| {
        let workloads: BTreeMap<WorkloadName, Workload> = workloads
            .into_iter()
            .enumerate()
            .map(|(number, (namespace, kind, workload))| {
                (
                    WorkloadName::new(namespace, kind, format!("w{number}")),
                    workload,
                )
            })
            .collect();
        let named = workloads
            .keys()
            .zip(resolves)
            .filter(|(name, resolves)| *resolves && name.kind == "Deployment");
        Cluster {
            resolvers: named.map(|(name, _)| (name.clone(), 8053)).collect(),
            workloads,
            nodes: [
                (
                    "one".to_owned(),
                    ["192.0.2.1", "2001:db8:1::1"]
                        .map(|a| a.parse().unwrap())
                        .into(),
                ),
                (
                    "two".to_owned(),
                    ["192.0.2.2"].map(|a| a.parse().unwrap()).into(),
                ),
                ("lost".to_owned(), BTreeSet::new()),
            ]
            .into(),
            api_server: ["192.0.2.2", "192.0.2.3"]
                .map(|a| a.parse().unwrap())
                .into(),
            ..Cluster::default()
        }
    })
}

pub(super) fn any_workload() -> impl Strategy<Value = (&'static str, &'static str, Workload)> {
    let namespace = prop::sample::select(&["a", "b"][..]);
    let kind = prop::sample::select(&["Deployment", "Deployment", "CronJob", "Pod"][..]);
    let more_pods =
        prop::collection::vec(any_labels(&["pod-template-hash", "tier", "extra"], 2), 0..2);
    let host_network = prop::bool::weighted(0.1);
    (
        namespace,
        kind,
        any_labels(&["app", "tier", "version", "zone"], 4),
        more_pods,
        host_network,
    )
        .prop_map(|(namespace, kind, template, more_pods, host_network)| {
            let mut label_sets = BTreeSet::from([template.clone()]);
            for more in more_pods {
                let mut labels = template.clone();
                labels.extend(more);
                label_sets.insert(labels);
            }
            let own = template
                .into_iter()
                .filter(|(key, _)| kind == "Deployment" && key != "zone");
            let workload = Workload {
                selector: own.take(2).collect(),
                label_sets,
                host_network,
                nodes: ["one".to_owned()].into(),
            };
            (namespace, kind, workload)
        })
}

pub(super) fn any_labels(
    keys: &'static [&'static str],
    most: usize,
) -> impl Strategy<Value = Labels> {
    let label = (
        prop::sample::select(keys),
        prop::sample::select(&["x", "y", "z"][..]),
    );
    let labels = prop::collection::btree_map(label.0, label.1, 0..=most);
    labels.prop_map(|labels| {
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    })
}

fn any_graph(cluster: &Cluster) -> impl Strategy<Value = FlowGraph> + use<> {
    let names: Vec<WorkloadName> = cluster.workloads.keys().cloned().collect();
    let bundles = prop::collection::vec((any_edges(names), any_evidence()), 0..8);
    bundles.prop_map(|bundles| {
        let alike = |(edges, evidence): (Vec<EdgeId>, Evidence)| {
            edges.into_iter().map(move |edge| (edge, evidence.clone()))
        };
        FlowGraph {
            edges: (bundles.into_iter().flat_map(alike))
                .map(|(edge, evidence)| (edge.into(), evidence))
                .collect(),
            ..FlowGraph::default()
        }
    })
}

/// Edges between the same two ends, on one or several ports, so that ranges and gaps occur.
fn any_edges(names: Vec<WorkloadName>) -> impl Strategy<Value = Vec<EdgeId>> {
    let protocol = prop::sample::select(&Protocol::ALL[..]);
    let ports = prop::collection::btree_set(prop::sample::select(&PORTS[..]), 1..5);
    (any_peer(names.clone()), any_peer(names), protocol, ports).prop_map(
        |(client, server, protocol, ports)| {
            let edge = |port| EdgeId {
                client: client.clone(),
                server: server.clone(),
                protocol,
                port,
            };
            ports.into_iter().map(edge).collect()
        },
    )
}

fn any_peer(names: Vec<WorkloadName>) -> impl Strategy<Value = Peer> {
    prop_oneof![
        6 => prop::sample::select(names).prop_map(Peer::Workload),
        1 => prop_oneof![9 => Just("one"), 9 => Just("two"), 1 => Just("lost")].prop_map(|name| Peer::Node(name.to_owned())),
        1 => Just(Peer::ApiServer),
        3 => (0u8..12).prop_map(|number| Peer::External(external(number))),
    ]
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let view = || prop::option::weighted(0.7, any_view());
    let rarely = || prop::bool::weighted(0.1);
    (view(), view(), rarely(), rarely(), rarely()).prop_map(
        |(client, server, own_node, client_watched, server_watched)| Evidence {
            client,
            server,
            own_node,
            client_watched,
            server_watched,
            ..Evidence::default()
        },
    )
}

fn any_view() -> impl Strategy<Value = ViewEvidence> {
    let often = |weight| prop_oneof![10 - weight => Just(0u64), weight => 1u64..3];
    (
        often(6),
        often(2),
        often(2),
        often(3),
        often(2),
        any::<bool>(),
    )
        .prop_map(
            |(established, refused, unanswered, one_way, unknown, repeated)| ViewEvidence {
                counts: Counts {
                    established,
                    refused,
                    unanswered,
                    one_way,
                    unknown,
                },
                repeated,
                ..ViewEvidence::default()
            },
        )
}
