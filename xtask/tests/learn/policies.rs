//! The policies of a run, judged by the lab's truth: they allow what was established, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_agent::identity::{EdgeId, Peer};
use netpol_agent::policy::evaluate::{Connection, End, Evaluator, Pod, Reading, Verdict};
use netpol_agent::policy::validate::validate;
use netpol_common::names::ObjectName;
use netpol_common::words::{Outcome, Protocol};
use xtask::build::Programs;
use xtask::demo::kubectl;
use xtask::lab::cluster::service::ServicePort;
use xtask::lab::cluster::workload::Workload;
use xtask::lab::scenario::cast::{
    COREDNS, FRONTEND, NODE_EXPORTER, PROM, SCANNER, SPOOFER, STATSD, TFTP, WORKER, WORKLOADS,
};
use xtask::lab::scenario::truth::EdgeTruth;
use xtask::lab::scenario::{self, cast};
use xtask::learn::Learned;

/// An address of pods that no node has.
const POD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 250));

/// Checks the policies that come of a run.
pub(crate) fn judge(programs: &Programs, learned: &Learned) -> Result<()> {
    let policies = generate(programs, learned)?;
    for policy in &policies {
        let wrong = validate(policy);
        ensure!(wrong.is_empty(), "{:?}: {wrong:?}", policy.metadata.name);
    }
    only_seen_ranges(&policies)?;
    let judge = Judge::new(&policies);
    judge.between_workloads()?;
    judge.beyond_workloads()?;
    judge.nobody_answers_the_spoofer(&policies)
}

/// The policies, which are the same bytes every time.
fn generate(programs: &Programs, learned: &Learned) -> Result<Vec<NetworkPolicy>> {
    for output in ["yaml", "json"] {
        let words = ["generate", "--output", output];
        let once = kubectl(programs, learned, &words)?;
        let twice = kubectl(programs, learned, &words)?;
        ensure!(once == twice, "{output} differs from run to run");
    }
    let list = kubectl(programs, learned, &["generate", "--output", "json"])?;
    let list: serde_json::Value = serde_json::from_str(&list).context("the list of policies")?;
    let items = list["items"].as_array().context("a list has items")?;
    let decode = |item: &serde_json::Value| Ok(serde_json::from_value(item.clone())?);
    items.iter().map(decode).collect()
}

/// The only contiguous ports of the scenario are a range each.
fn only_seen_ranges(policies: &[NetworkPolicy]) -> Result<()> {
    let ranges: BTreeSet<(i32, i32)> = policies.iter().flat_map(ports).filter_map(range).collect();
    let expected = BTreeSet::from([(20_000, 20_015), (40_000, 40_001)]);
    ensure!(ranges == expected, "ranges of ports: {ranges:?}");
    Ok(())
}

fn ports(policy: &NetworkPolicy) -> impl Iterator<Item = &NetworkPolicyPort> {
    let spec = policy.spec.iter();
    spec.flat_map(|spec| {
        let ingress = spec.ingress.iter().flatten().map(|rule| &rule.ports);
        let egress = spec.egress.iter().flatten().map(|rule| &rule.ports);
        ingress.chain(egress).flatten().flatten()
    })
}

fn range(port: &NetworkPolicyPort) -> Option<(i32, i32)> {
    match port.port {
        Some(IntOrString::Int(first)) => port.end_port.map(|last| (first, last)),
        _ => None,
    }
}

/// The policies as a network plugin reads them.
struct Judge<'a> {
    evaluator: Evaluator<'a>,
    pods: Vec<(&'static Workload, Pod)>,
    edges: BTreeMap<EdgeId, EdgeTruth>,
}

impl<'a> Judge<'a> {
    fn new(policies: &'a [NetworkPolicy]) -> Self {
        // The label that every namespace bears is enough.
        static NAMESPACES: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        Self {
            evaluator: Evaluator {
                namespaces: &NAMESPACES,
                policies,
                reading: Reading::default(),
            },
            pods: WORKLOADS
                .iter()
                .filter(|workload| !workload.host_network)
                .map(|workload| (workload, pod(workload)))
                .collect(),
            edges: scenario::truth().edges,
        }
    }

    /// Between any two workloads, on every port that the scenario touches and on its neighbours, both ends' rules
    /// allow exactly what was established. Ports of services and refused ports are among them.
    fn between_workloads(&self) -> Result<()> {
        let ports = self.ports_of_interest();
        let mut allowed = 0;
        for (client, client_pod) in &self.pods {
            for (server, server_pod) in &self.pods {
                for (protocol, port) in &ports {
                    let verdict =
                        self.verdict(End::Pod(client_pod), End::Pod(server_pod), *protocol, *port);
                    let rules = [
                        !verdict.egress.by.is_empty(),
                        !verdict.ingress.by.is_empty(),
                    ];
                    let expected = self.expected(client, server, *protocol, *port);
                    ensure!(
                        rules == [expected; 2],
                        "{} -> {} port {port}/{protocol}: expected {expected}, egress and ingress are {rules:?}",
                        client.graph_name(),
                        server.graph_name(),
                    );
                    allowed += usize::from(expected);
                }
            }
        }
        ensure!(allowed > 40, "only {allowed} edges are allowed at all");
        Ok(())
    }

    fn expected(
        &self,
        client: &Workload,
        server: &Workload,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        // DNS over UDP falls back to TCP (RFC 7766), so both are allowed where either was seen.
        let resolves = [FRONTEND, WORKER]
            .iter()
            .any(|c| c.graph_name() == client.graph_name());
        let both = protocol != Protocol::Sctp && port == 53;
        if server.graph_name() == COREDNS.graph_name() && resolves && both {
            return true;
        }
        let id = EdgeId {
            client: Peer::Workload(client.graph_name()),
            server: Peer::Workload(server.graph_name()),
            protocol,
            port,
        };
        self.edges.get(&id).is_some_and(deserves_rule)
            // One-way, but seen again in another minute.
            || (client.graph_name() == FRONTEND.graph_name()
                && server.graph_name() == STATSD.graph_name()
                && (protocol, port) == (Protocol::Udp, 8125))
    }

    fn ports_of_interest(&self) -> BTreeSet<(Protocol, u16)> {
        let of_edges = self.edges.keys().map(|id| (id.protocol, id.port));
        let of_services = cast::SERVICES.iter().flat_map(|service| service.ports);
        let numbers = |port: &ServicePort| {
            [
                Some((port.protocol, port.port)),
                port.node_port.map(|node| (port.protocol, node)),
            ]
        };
        let touched = of_edges.chain(of_services.flat_map(numbers).flatten());
        touched
            .flat_map(|(protocol, port)| {
                [port.saturating_sub(1), port, port.saturating_add(1)].map(|port| (protocol, port))
            })
            .collect()
    }

    /// Nodes, the API server and the world outside: what was established is allowed at the pod's end, what was not
    /// answered is not.
    fn beyond_workloads(&self) -> Result<()> {
        for (id, edge) in &self.edges {
            let (client, server) = (self.end(&id.client)?, self.end(&id.server)?);
            if matches!((client.0, server.0), (End::Pod(_), End::Pod(_))) || edge.own_node {
                continue;
            }
            let verdict = self
                .evaluator
                .verdict(&connection(client, server, id.protocol, id.port));
            let expected = deserves_rule(edge);
            ensure!(
                verdict.allowed() == expected,
                "{} -> {} port {}/{}: {verdict:?}",
                id.client,
                id.server,
                id.port,
                id.protocol
            );
        }
        // The service's port of the API server, and the node port.
        let prom = pod(PROM);
        let n1: IpAddr = [172, 30, 0, 11].into();
        for (port, expected) in [(6443, true), (443, false), (30_080, false)] {
            let to = connection(
                (End::Pod(&prom), POD),
                (End::Node("n1"), n1),
                Protocol::Tcp,
                port,
            );
            ensure!(
                self.evaluator.verdict(&to).allowed() == expected,
                "prom to n1 port {port}"
            );
        }
        Ok(())
    }

    fn end(&self, peer: &Peer) -> Result<(End<'_>, IpAddr)> {
        Ok(match peer {
            Peer::Workload(name) => {
                let found = self
                    .pods
                    .iter()
                    .find(|(workload, _)| workload.graph_name() == *name);
                (
                    End::Pod(
                        &found
                            .with_context(|| format!("{name} is not of the cast"))?
                            .1,
                    ),
                    POD,
                )
            }
            Peer::Node(name) => {
                let number = if name == "n1" { 11 } else { 12 };
                (
                    End::Node(if name == "n1" { "n1" } else { "n2" }),
                    [172, 30, 0, number].into(),
                )
            }
            Peer::ApiServer => (End::Node("n1"), [172, 30, 0, 11].into()),
            Peer::External(address) => (End::Outside, *address),
        })
    }

    fn verdict(&self, client: End<'_>, server: End<'_>, protocol: Protocol, port: u16) -> Verdict {
        self.evaluator
            .verdict(&connection((client, POD), (server, POD), protocol, port))
    }

    /// Neither the pod that spoofs nor the one whose address it bears may reach what it aimed at; and who has no
    /// traffic of its own to show has no policy.
    fn nobody_answers_the_spoofer(&self, policies: &[NetworkPolicy]) -> Result<()> {
        for suspect in [pod(SPOOFER), pod(SCANNER)] {
            for (target, protocol, port) in [
                (cast::API_V2, Protocol::Tcp, 9091),
                (cast::VOICE, Protocol::Udp, 40_000),
            ] {
                let verdict =
                    self.verdict(End::Pod(&suspect), End::Pod(&pod(target)), protocol, port);
                ensure!(
                    !verdict.ingress.allowed,
                    "{} -> {}",
                    suspect.name,
                    target.name
                );
            }
        }
        for without in [SPOOFER, TFTP, NODE_EXPORTER] {
            let names = policies
                .iter()
                .filter_map(|policy| policy.metadata.name.as_deref());
            let mut of_it = names.filter(|name| name.starts_with(without.name));
            ensure!(of_it.next().is_none(), "{} has a policy", without.name);
        }
        Ok(())
    }
}

/// Whether an edge of the truth was established at least once.
fn deserves_rule(edge: &EdgeTruth) -> bool {
    let established = Outcome::Established.name();
    edge.client_view.contains_key(established) || edge.server_view.contains_key(established)
}

fn connection<'a>(
    (client, client_address): (End<'a>, IpAddr),
    (server, server_address): (End<'a>, IpAddr),
    protocol: Protocol,
    port: u16,
) -> Connection<'a> {
    Connection {
        client,
        client_address,
        server,
        server_address,
        protocol,
        port,
    }
}

/// A pod of the workload as people describe it.
fn pod(workload: &Workload) -> Pod {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let port =
        |(name, protocol, port): &(&str, Protocol, u16)| ((*name).to_owned(), *protocol, *port);
    Pod {
        name: ObjectName::new(workload.namespace, workload.name),
        labels: workload.labels.iter().map(owned).collect(),
        // Another node than those of the lab: nothing is allowed for being near.
        node: Some("n3".to_owned()),
        host_network: workload.host_network,
        named_ports: workload.ports.iter().map(port).collect(),
    }
}
