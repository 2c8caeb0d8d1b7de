//! What should be allowed, read off the graph in the plainest way, and what is, asked of the evaluator.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;

use super::world::{Case, PORTS, external};
use crate::graph::{Evidence, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer};
use crate::policy::evaluate::{Connection, End, Evaluator, Pod, Reading};
use crate::policy::{Direction, Dns, OneWay};

/// The other end of allowed traffic: a workload, or an address at which there is no pod.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Other {
    Workload(WorkloadName),
    Address(IpAddr),
}

/// What stands at an end: a pod and its address, or an address at which there is no pod.
pub(super) type Ends = Vec<(Option<Pod>, IpAddr)>;

/// What may come from or go to whom.
pub(super) type Allowed = BTreeSet<(Other, Protocol, u16)>;

/// Whether an edge is to be allowed at the end that `direction` is of.
pub(super) fn is_learned(
    case: &Case,
    edge: &EdgeId,
    evidence: &Evidence,
    direction: Direction,
) -> bool {
    if evidence.own_node && direction == Direction::Ingress {
        return false;
    }
    let (own, other, watched) = match direction {
        Direction::Ingress => (&evidence.server, &evidence.client, evidence.server_watched),
        Direction::Egress => (&evidence.client, &evidence.server, evidence.client_watched),
    };
    let peer = match direction {
        Direction::Ingress => &edge.client,
        Direction::Egress => &edge.server,
    };
    if *peer == Peer::Node("lost".to_owned()) {
        return false;
    }
    let established = |view: &Option<ViewEvidence>| {
        view.as_ref()
            .is_some_and(|view| view.counts.established > 0)
    };
    let one_way = |view: &ViewEvidence| {
        edge.protocol == Protocol::Udp
            && view.counts.one_way > 0
            && view.counts.refused == 0
            && match case.options.one_way {
                OneWay::Always => true,
                OneWay::Repeated => view.repeated,
                OneWay::Never => false,
            }
    };
    let silent = |view: &ViewEvidence| {
        let udp =
            edge.protocol == Protocol::Udp && view.counts.one_way > 0 && view.counts.refused == 0;
        view.counts.established == 0 && view.counts.unknown > 0 && !udp
    };
    let one_way = match (own, other) {
        (Some(own), Some(other)) if silent(own) => one_way(other),
        (Some(own), _) => one_way(own),
        (None, Some(other)) => one_way(other),
        (None, None) => false,
    };
    let denies = |own: &ViewEvidence| {
        let counts = &own.counts;
        let datagrams = edge.protocol == Protocol::Udp && counts.one_way > 0 && counts.refused == 0;
        counts.established == 0 && counts.unknown == 0 && !datagrams
    };
    if watched && own.as_ref().is_none_or(denies) {
        return false;
    }
    established(own) || established(other) || one_way
}

/// What the policy of a workload is to allow in one direction: `with_policy` are those that take
/// part in DNS, `unselectable` those that cannot.
pub(super) fn expected(
    case: &Case,
    workload: &WorkloadName,
    direction: Direction,
    (with_policy, unselectable): (&BTreeSet<WorkloadName>, &BTreeSet<WorkloadName>),
) -> Allowed {
    let own = Peer::Workload(workload.clone());
    let mut allowed = Allowed::new();
    for (edge, evidence) in &case.graph.edges {
        let (end, other) = match direction {
            Direction::Ingress => (&edge.server, &edge.client),
            Direction::Egress => (&edge.client, &edge.server),
        };
        if *end != own || !is_learned(case, edge, evidence, direction) {
            continue;
        }
        let resolver = match &edge.server {
            Peer::Workload(name) => case.cluster.resolvers.contains(&(name.clone(), edge.port)),
            _ => false,
        };
        let dns =
            edge.protocol == Protocol::Udp && (edge.port == 53 || edge.port == 5353 || resolver);
        for other in others(case, other) {
            allowed.insert((other.clone(), edge.protocol, edge.port));
            if dns && case.options.dns != Dns::Seen {
                allowed.insert((other, Protocol::Tcp, edge.port));
            }
        }
    }
    if case.options.dns == Dns::Always {
        allowed.extend(always(
            case,
            workload,
            direction,
            (with_policy, unselectable),
        ));
    }
    allowed
}

fn always(
    case: &Case,
    workload: &WorkloadName,
    direction: Direction,
    (with_policy, unselectable): (&BTreeSet<WorkloadName>, &BTreeSet<WorkloadName>),
) -> Allowed {
    let mut allowed = Allowed::new();
    for (resolver, port) in &case.cluster.resolvers {
        if unselectable.contains(resolver) {
            continue;
        }
        let others: Vec<&WorkloadName> = match direction {
            Direction::Egress => vec![resolver],
            Direction::Ingress if resolver == workload => with_policy.iter().collect(),
            Direction::Ingress => Vec::new(),
        };
        for other in others.into_iter().filter(|other| *other != workload) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                allowed.extend(
                    others_of(case, other)
                        .into_iter()
                        .map(|other| (other, protocol, *port)),
                );
            }
        }
    }
    allowed
}

fn others_of(case: &Case, workload: &WorkloadName) -> BTreeSet<Other> {
    others(case, &Peer::Workload(workload.clone()))
}

/// What a peer is, to a policy.
fn others(case: &Case, peer: &Peer) -> BTreeSet<Other> {
    let node = |name: &String| case.cluster.nodes[name].iter().copied().map(Other::Address);
    match peer {
        Peer::Workload(name) if case.cluster.workloads[name].host_network => case.cluster.workloads
            [name]
            .nodes
            .iter()
            .flat_map(node)
            .collect(),
        Peer::Workload(name) => [Other::Workload(name.clone())].into(),
        Peer::Node(name) => node(name).collect(),
        Peer::ApiServer => case
            .cluster
            .api_server
            .iter()
            .copied()
            .map(Other::Address)
            .collect(),
        Peer::External(address) => [Other::Address(*address)].into(),
    }
}

/// The pods of a workload, one for each set of labels.
pub(super) fn pods(case: &Case, name: &WorkloadName) -> Vec<Pod> {
    let workload = &case.cluster.workloads[name];
    let pod = |(number, labels): (usize, &Labels)| Pod {
        name: ObjectName::new(&name.namespace, format!("{}-{number}", name.name)),
        labels: labels.clone(),
        node: Some(format!("node-of-{}-{number}", name.name)),
        host_network: workload.host_network,
        named_ports: Vec::new(),
    };
    workload.label_sets.iter().enumerate().map(pod).collect()
}

/// The same pods under other names and on other nodes, so that each is another pod than any of [`pods`].
pub(super) fn other_pods(case: &Case, name: &WorkloadName) -> Vec<Pod> {
    let mut others = pods(case, name);
    for pod in &mut others {
        pod.name.name.push_str("-twin");
        pod.node = pod.node.take().map(|node| node + "-twin");
    }
    others
}

/// Everything that policies allow a workload's pods in one direction, of all that could be asked. An error, where
/// they do not treat all pods of a workload alike.
pub(super) fn allowed(
    case: &Case,
    policies: &[NetworkPolicy],
    workload: &WorkloadName,
    direction: Direction,
) -> Result<Allowed, String> {
    let (own, others) = (pods(case, workload), everybody(case));
    let mut allowed = Allowed::new();
    for (other, ends) in &others {
        for to in questions(case) {
            let asked = own
                .iter()
                .flat_map(|pod| ends.iter().map(move |end| (pod, end)));
            let answers: BTreeSet<bool> = asked
                .map(|(pod, (other, address))| {
                    let other = other.as_ref().map_or(End::Outside, End::Pod);
                    passes(policies, pod, (other, *address), direction, to)
                })
                .collect();
            match (answers.contains(&true), answers.contains(&false)) {
                (true, true) => {
                    return Err(format!("{workload} and {other:?}: not all pods alike"));
                }
                (true, false) => {
                    allowed.insert((other.clone(), to.0, to.1));
                }
                _ => {}
            }
        }
    }
    Ok(allowed)
}

/// Whether policies deny a workload's pods anything in one direction that was allowed there.
pub(super) fn denies_any_of(
    allowed: &Allowed,
    case: &Case,
    policies: &[NetworkPolicy],
    workload: &WorkloadName,
    direction: Direction,
) -> bool {
    let others: BTreeMap<Other, Ends> = everybody(case).into_iter().collect();
    let own = pods(case, workload);
    allowed.iter().any(|(other, protocol, port)| {
        let mut asked = own
            .iter()
            .flat_map(|pod| others[other].iter().map(move |end| (pod, end)));
        asked.any(|(pod, (other, address))| {
            let other = other.as_ref().map_or(End::Outside, End::Pod);
            let to = (*protocol, *port);
            !passes(policies, pod, (other, *address), direction, to)
        })
    })
}

/// Whoever may be at the other end: pods of workloads, and addresses that edges use, with their neighbours.
fn everybody(case: &Case) -> Vec<(Other, Ends)> {
    let on_pods = case
        .cluster
        .workloads
        .iter()
        .filter(|(_, workload)| !workload.host_network);
    let workloads = on_pods.map(|(name, _)| {
        let mut known = case.cluster.pod_addresses.iter();
        let known = known.find(|(_, own)| own == name);
        let address = known.map_or_else(pod_address, |(address, _)| *address);
        let pods = other_pods(case, name).into_iter();
        let pods = pods.map(move |pod| (Some(pod), address));
        (Other::Workload(name.clone()), pods.collect())
    });
    let addresses = addresses(case)
        .into_iter()
        .map(|address| (Other::Address(address), vec![(None, address)]));
    workloads.chain(addresses).collect()
}

/// Whether the policies let a connection pass at the end that `direction` is of.
pub(super) fn passes(
    policies: &[NetworkPolicy],
    own: &Pod,
    (other, address): (End<'_>, IpAddr),
    direction: Direction,
    (protocol, port): (Protocol, u16),
) -> bool {
    let namespaces = BTreeMap::new();
    let evaluator = Evaluator {
        namespaces: &namespaces,
        policies,
        reading: Reading::default(),
    };
    let own = (End::Pod(own), pod_address());
    let ((client, client_address), (server, server_address)) = match direction {
        Direction::Ingress => ((other, address), own),
        Direction::Egress => (own, (other, address)),
    };
    let verdict = evaluator.verdict(&Connection {
        client,
        client_address,
        server,
        server_address,
        protocol,
        port,
    });
    match direction {
        Direction::Ingress => verdict.ingress.allowed,
        Direction::Egress => verdict.egress.allowed,
    }
}

fn pod_address() -> IpAddr {
    IpAddr::from([10, 0, 0, 1])
}

/// The ports that edges use, and their neighbours.
pub(super) fn questions(case: &Case) -> BTreeSet<(Protocol, u16)> {
    let ports: BTreeSet<u16> = PORTS
        .into_iter()
        .flat_map(|port| [port - 1, port, port.saturating_add(1)])
        .collect();
    let fixed = Protocol::ALL
        .into_iter()
        .flat_map(move |protocol| ports.clone().into_iter().map(move |port| (protocol, port)));
    let edges = case.graph.edges.keys();
    let others = edges.filter(|edge| !PORTS.contains(&edge.port));
    let others = others.flat_map(|edge| {
        // As far as an inferred range may go beyond its ends.
        let near = edge.port.saturating_sub(8)..=edge.port.saturating_add(8);
        let elsewhere = Protocol::ALL.map(|protocol| (protocol, edge.port));
        let near = near.map(|port| (edge.protocol, port));
        near.chain(elsewhere)
    });
    fixed.chain(others).collect()
}

/// The addresses that edges use, and their neighbours.
pub(super) fn addresses(case: &Case) -> BTreeSet<IpAddr> {
    let nodes = case.cluster.nodes.values().flatten().copied();
    let services = case.cluster.services.iter();
    let services = services.flat_map(|service| service.cluster_ips.clone());
    let fixed = nodes.chain(case.cluster.api_server.iter().copied());
    let fixed = fixed.chain(services);
    fixed
        .chain((0..14).map(external))
        .chain(["192.0.2.0", "192.0.2.4", "2001:db8:1::2"].map(|a| a.parse().unwrap()))
        .collect()
}
