//! Whether the policy of a whole namespace is there already: it has to hold for whatever pods the namespace gets, so
//! only policies that select every pod count.

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;

use super::Existing;
use super::coverage::Judged;
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer};
use crate::policy::Cluster;
use crate::policy::evaluate::{Connection, End, Evaluator, Pod, Side};
use crate::policy::model::{Direction, NAMESPACE, Policy};

/// Whether policies that are there isolate every pod of a namespace in both directions, and allow what the
/// namespace's policy would.
pub(super) fn is_there(policy: &Policy, cluster: &Cluster, existing: &Existing<'_>) -> bool {
    let namespace = &policy.workload.namespace;
    let of_all: Vec<NetworkPolicy> = (existing.policies.iter())
        .filter(|policy| policy.metadata.namespace.as_ref() == Some(namespace))
        .filter(|policy| selects_all(policy))
        .cloned()
        .collect();
    let judge = Judge {
        any: anybody(namespace),
        evaluator: Evaluator {
            namespaces: existing.world.namespaces(),
            policies: &of_all,
            reading: existing.reading,
        },
    };
    let rules = policy.rules(Direction::Egress).iter();
    let mut edges = rules
        .flat_map(|rule| &rule.evidence)
        .map(|support| &*support.edge);
    judge.isolates() && edges.all(|edge| judge.allows(edge, cluster, existing))
}

/// What all policies that are there say, at the server, of an edge from whatever pod of a namespace; nothing of other
/// edges.
pub(super) fn judge(
    server: &WorkloadName,
    edge: &EdgeId,
    existing: &Existing<'_>,
) -> Option<Judged> {
    let Peer::Workload(client) = &edge.client else {
        return None;
    };
    if client.kind != NAMESPACE {
        return None;
    }
    let any = anybody(&client.namespace);
    let evaluator = Evaluator {
        namespaces: existing.world.namespaces(),
        policies: existing.policies,
        reading: existing.reading,
    };
    let world = existing.world;
    let places = world.pods_of(server).flat_map(|id| {
        let addresses = world.addresses_of(id).into_iter();
        addresses.map(move |address| (End::Pod(&world.pod(id).pod), address))
    });
    let sides = places.map(|(server, server_address)| {
        let connection = Connection {
            client: End::Pod(&any),
            client_address: IpAddr::from(Ipv4Addr::UNSPECIFIED),
            server,
            server_address,
            protocol: edge.protocol,
            port: edge.port,
        };
        evaluator.verdict(&connection).ingress
    });
    let sides: Vec<Side> = sides.collect();
    let is_covered = |side: &Side| side.isolated && !side.by.is_empty();
    Some(Judged {
        covered: !sides.is_empty() && sides.iter().all(is_covered),
        allowed: sides.iter().all(|side| side.allowed),
        by: sides.into_iter().flat_map(|side| side.by).collect(),
    })
}

/// An absent selector is an empty one.
fn selects_all(policy: &NetworkPolicy) -> bool {
    let selector = policy
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_selector.as_ref());
    selector.is_none_or(|selector| *selector == LabelSelector::default())
}

/// A pod of a namespace, of which nothing else is known.
fn anybody(namespace: &str) -> Pod {
    Pod {
        name: ObjectName::new(namespace, ""),
        labels: Labels::new(),
        node: None,
        host_network: false,
        named_ports: Vec::new(),
    }
}

/// Policies that select every pod of a namespace, and one of the pods.
struct Judge<'a> {
    any: Pod,
    evaluator: Evaluator<'a>,
}

impl Judge<'_> {
    fn isolates(&self) -> bool {
        let nobody = (End::Outside, IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let verdict = |client: (End<'_>, IpAddr), server: (End<'_>, IpAddr)| {
            self.evaluator.verdict(&Connection {
                client: client.0,
                client_address: client.1,
                server: server.0,
                server_address: server.1,
                protocol: Protocol::Tcp,
                port: 1,
            })
        };
        let any = (End::Pod(&self.any), nobody.1);
        verdict(nobody, any).ingress.isolated && verdict(any, nobody).egress.isolated
    }

    /// Whether a pod may reach whatever stands for an edge's server.
    fn allows(&self, edge: &EdgeId, cluster: &Cluster, existing: &Existing<'_>) -> bool {
        let servers = servers(&edge.server, cluster, existing);
        let passes = |(server, address): &(End<'_>, IpAddr)| {
            let side = self.egress(edge, *server, *address);
            !side.by.is_empty()
        };
        !servers.is_empty() && servers.iter().all(passes)
    }

    fn egress(&self, edge: &EdgeId, server: End<'_>, server_address: IpAddr) -> Side {
        let connection = Connection {
            client: End::Pod(&self.any),
            client_address: IpAddr::from(Ipv4Addr::UNSPECIFIED),
            server,
            server_address,
            protocol: edge.protocol,
            port: edge.port,
        };
        self.evaluator.verdict(&connection).egress
    }
}

/// The pods or the addresses that a peer is.
fn servers<'a>(peer: &Peer, cluster: &Cluster, existing: &Existing<'a>) -> Vec<(End<'a>, IpAddr)> {
    let world = existing.world;
    match peer {
        Peer::Workload(name) if cluster.is_pods(peer) => {
            let pods = world.pods_of(name);
            let places = pods.flat_map(|id| {
                let addresses = world.addresses_of(id).into_iter();
                addresses.map(move |address| (End::Pod(&world.pod(id).pod), address))
            });
            places.collect()
        }
        _ => {
            let addresses = cluster.addresses(peer).into_iter();
            addresses.map(|address| (End::Outside, address)).collect()
        }
    }
}
