//! Random cases in which something is asked for beyond or below what was seen: pods, nodes, services and addresses outside
//! may share blocks, and servers may choose their ports anew for each connection.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::world::{Case, any_case, any_labels, external};
use crate::graph::{Evidence, ViewEvidence};
use crate::identity::objects::{Service, ServicePort, TargetPort};
use crate::identity::{EdgeId, Peer};
use crate::policy::Options;
use crate::policy::options::{Budget, External, Nodes, Peers, Ranges, RejectedEdge};

/// Addresses of pods: among nodes, among addresses outside, and elsewhere.
const OF_PODS: [&str; 5] = [
    "192.0.2.0",
    "192.0.2.5",
    "198.51.100.7",
    "2001:db8::7",
    "10.0.0.7",
];

/// Ranges that a person may name: those of nodes, and those of some pods.
const NAMED: [&str; 5] = [
    "192.0.2.0/24",
    "2001:db8:1::/64",
    "192.0.2.0/29",
    "198.51.100.7/32",
    "2001:db8::7/128",
];

const GROUPS: [&str; 4] = [
    "198.51.100.0/30",
    "198.51.100.0/29",
    "198.51.100.4/31",
    "2001:db8::/124",
];

const PLUGINS: [&str; 4] = ["generic", "cilium=1.15", "calico=3.19", "aws"];

/// The first of the ports that a server chooses anew.
const FIRST: u16 = 30_000;

pub(super) fn any_wide() -> impl Strategy<Value = Case> {
    let case = any_case().prop_flat_map(|case| {
        let names: Vec<WorkloadName> = case.cluster.workloads.keys().cloned().collect();
        // Rarely: every port of a range is asked about.
        let draws = prop::option::weighted(0.1, any_draw(names));
        (Just(case), draws).prop_map(|(mut case, draws)| {
            case.graph.edges.extend(draws.into_iter().flatten());
            case
        })
    });
    let rejected = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let shape = (any_places(), any_services());
    (case, any_options(), shape, rejected).prop_map(|(mut case, options, shape, rejected)| {
        let edges: Vec<_> = case.graph.edges.keys().collect();
        let reject = match edges.is_empty() {
            true => BTreeSet::new(),
            false => rejected
                .iter()
                .map(|index| RejectedEdge(EdgeId::clone(index.get::<&Arc<EdgeId>>(&edges))))
                .collect(),
        };
        let ((places, ports), services) = shape;
        let cluster = &mut case.cluster;
        let ranges: [IpNet; 2] = ["10.0.0.0/8", "fd00::/8"].map(|block| block.parse().unwrap());
        let nodes = cluster.nodes.keys().cloned();
        cluster.pod_ranges = nodes.map(|node| (node, ranges.into())).collect();
        let on_pods = cluster.workloads.iter().zip(places);
        let on_pods = on_pods.filter(|((_, workload), _)| !workload.host_network);
        let at = |((name, _), place): ((&WorkloadName, _), Option<IpAddr>)| {
            place.map(|address| (address, name.clone()))
        };
        cluster.pod_addresses = on_pods.filter_map(at).collect();
        let named = cluster.workloads.keys().zip(ports);
        let named = named.filter_map(|(name, port)| {
            let port = ("web".to_owned(), Protocol::Tcp, port?);
            Some((name.clone(), [port].into()))
        });
        cluster.named_ports = named.collect();
        cluster.services = services;
        case.options = Options {
            reject,
            dns: case.options.dns,
            one_way: case.options.one_way,
            external_addresses: case.options.external_addresses,
            ..options
        };
        case
    })
}

fn any_options() -> impl Strategy<Value = Options> {
    let external = prop::sample::select(&[External::Seen, External::Aggregate, External::Any][..]);
    let groups = prop::collection::btree_set(0usize..4, 0..3);
    let nodes = prop::sample::select(&["", "auto", "192.0.2.0/31", "192.0.2.0/28"][..]);
    let peers = prop::sample::select(&[Peers::Workload, Peers::Namespace][..]);
    let budget = (1usize..4, 0u64..9).prop_map(|(blocks, beyond)| Budget { blocks, beyond });
    let ranges = prop::sample::select(&[Ranges::Seen, Ranges::Infer][..]);
    let cni = prop::sample::select(&PLUGINS[..]);
    let named = prop::sample::subsequence(&NAMED[..], 0..=NAMED.len());
    (
        (external, groups, named),
        (nodes, peers, budget),
        (any::<bool>(), ranges, cni),
    )
        .prop_map(
            |((external, groups, named), (nodes, peers, budget), last)| {
                let (default_deny, ranges, cni) = last;
                let group = |number: usize| {
                    let block: IpNet = GROUPS[number].parse().unwrap();
                    (format!("group-{number}"), BTreeSet::from([block]))
                };
                Options {
                    external,
                    budget,
                    nodes: match nodes {
                        "" => Nodes::Addresses,
                        "auto" => Nodes::Blocks,
                        block => Nodes::Given([block.parse().unwrap()].into()),
                    },
                    peers,
                    default_deny,
                    ranges,
                    cni: cni.parse().unwrap(),
                    cluster_ranges: named
                        .into_iter()
                        .map(|range| range.parse().unwrap())
                        .collect(),
                    cidr_groups: groups.into_iter().map(group).collect(),
                    ..Options::default()
                }
            },
        )
}

/// Where the pods of each workload are, if that is known, and the number of their port `web`.
fn any_places() -> impl Strategy<Value = (Vec<Option<IpAddr>>, Vec<Option<u16>>)> {
    let place = prop::sample::select(&OF_PODS[..]);
    let place = prop::option::of(place.prop_map(|address| address.parse().unwrap()));
    let port = prop::option::of(prop::sample::select(&[80, FIRST + 4][..]));
    (
        prop::collection::vec(place, 7),
        prop::collection::vec(port, 7),
    )
}

fn any_services() -> impl Strategy<Value = Vec<Service>> {
    let namespace = prop::sample::select(&["a", "b", "default"][..]);
    let selector = any_labels(&["app", "tier"], 2);
    let targets = [80, 443, 8053, FIRST + 6].map(TargetPort::Number);
    let named = Just(TargetPort::Name("web".to_owned()));
    let target = prop_oneof![2 => prop::sample::select(targets.to_vec()), 1 => named];
    let service = (
        namespace,
        selector,
        target,
        prop::sample::select(&[81, 443][..]),
    );
    prop::collection::vec(service, 0..4).prop_map(|services| {
        let services = (1u8..).zip(services);
        let service = |(number, (namespace, selector, target, port))| {
            let name = match namespace {
                "default" => "kubernetes".to_owned(),
                _ => format!("s{number}"),
            };
            Service {
                name: ObjectName::new(namespace, name),
                cluster_ips: vec![[10, 96, 0, number].into()],
                external_ips: Vec::new(),
                selector,
                ports: vec![ServicePort {
                    name: String::new(),
                    protocol: Protocol::Tcp,
                    port,
                    target,
                    node_port: None,
                }],
                keeps_client: false,
                created: None,
            }
        };
        services.map(service).collect()
    })
}

/// Many ports of one server that were all seen in use in one hour, or sometimes over several.
fn any_draw(names: Vec<WorkloadName>) -> impl Strategy<Value = Vec<(Arc<EdgeId>, Evidence)>> {
    let client = prop_oneof![
        4 => prop::sample::select(names.clone()).prop_map(Peer::Workload),
        1 => Just(Peer::Node("one".to_owned())),
        1 => Just(Peer::External(external(2))),
    ];
    let server = prop::sample::select(names);
    let protocol = prop::sample::select(&Protocol::ALL[..]);
    let lasting = prop::bool::weighted(0.1);
    (client, server, protocol, 1u16..4, 8u16..13, lasting).prop_map(
        |(client, server, protocol, step, number, lasting)| {
            let mut view = ViewEvidence::default();
            view.counts.established = 1;
            view.windows.insert(7);
            if lasting {
                view.windows.insert(11);
            }
            let evidence = Evidence {
                client: Some(view.clone()),
                server: Some(view),
                ..Evidence::default()
            };
            let edge = |number| EdgeId {
                client: client.clone(),
                server: Peer::Workload(server.clone()),
                protocol,
                port: FIRST + number * step,
            };
            let edges = (0..number).map(edge);
            edges
                .map(|edge| (Arc::new(edge), evidence.clone()))
                .collect()
        },
    )
}
