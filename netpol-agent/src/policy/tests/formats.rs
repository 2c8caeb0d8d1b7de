//! Every format means the same: what is written for Kubernetes, Cilium and Calico is read back from its text and
//! asked about the same connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::judge::{other_pods, pods};
use super::world::{Case, any_case, external};
use crate::inventory;
use crate::policy::emit::{Format, kubernetes};
use crate::policy::evaluate::{Connection, End, Evaluator, Pod, Reading};
use crate::policy::read::{Asked, Other, Subject, calico, cilium};
use crate::policy::{Direction, Policy, synthesise};

/// The policies of a case as each reader understands their text.
pub(super) struct Written {
    kubernetes: Vec<NetworkPolicy>,
    cilium: Vec<cilium::CiliumNetworkPolicy>,
    calico: Vec<calico::CalicoNetworkPolicy>,
}

/// The other end of a question.
#[derive(Debug)]
pub(super) enum Stranger {
    Pod(Pod, IpAddr),
    Node(String, IpAddr, bool),
    Outside(IpAddr, bool),
}

impl Written {
    pub(super) fn of(policies: &[Policy]) -> Self {
        let text = |format: Format| format.text(policies, true).unwrap();
        let in_inventory = |format: Format| {
            let inventory = inventory::parse("policies", &text(format)).unwrap();
            let policies = inventory.policies.into_iter();
            policies.map(|sourced| sourced.policy).collect()
        };
        let kubernetes: Vec<NetworkPolicy> = in_inventory(Format::Yaml);
        assert_eq!(kubernetes, in_inventory(Format::Json));
        Self {
            kubernetes,
            cilium: cilium::read(&text(Format::Cilium)).unwrap(),
            calico: calico::read(&text(Format::Calico)).unwrap(),
        }
    }

    pub(super) fn by_kubernetes(
        &self,
        blocks_match_pods: bool,
        (own, other): (&Pod, &Stranger),
        direction: Direction,
        (protocol, port): (Protocol, u16),
    ) -> bool {
        let evaluator = Evaluator {
            namespaces: &BTreeMap::new(),
            policies: &self.kubernetes,
            reading: Reading {
                host_network_is_node: true,
                blocks_match_pods,
                ..Reading::default()
            },
        };
        let own = (End::Pod(own), IpAddr::from([10, 0, 0, 1]));
        let other = match other {
            Stranger::Pod(pod, address) => (End::Pod(pod), *address),
            Stranger::Node(name, address, _) => (End::Node(name), *address),
            Stranger::Outside(address, _) => (End::Outside, *address),
        };
        let (client, server) = match direction {
            Direction::Ingress => (other, own),
            Direction::Egress => (own, other),
        };
        let verdict = evaluator.verdict(&Connection {
            client: client.0,
            client_address: client.1,
            server: server.0,
            server_address: server.1,
            protocol,
            port,
        });
        match direction {
            Direction::Ingress => verdict.ingress.allowed,
            Direction::Egress => verdict.egress.allowed,
        }
    }

    pub(super) fn by_cilium(&self, own: &Pod, asked: &Asked<'_>) -> bool {
        cilium::answer(&self.cilium, subject(own), asked).allowed
    }

    pub(super) fn by_calico(&self, own: &Pod, asked: &Asked<'_>) -> bool {
        calico::answer(&self.calico, subject(own), asked).allowed
    }
}

impl Stranger {
    pub(super) fn as_other(&self) -> Other<'_> {
        match self {
            Self::Pod(pod, address) => Other::Pod {
                namespace: &pod.name.namespace,
                labels: &pod.labels,
                address: *address,
            },
            Self::Node(_, address, api_server) => Other::Node {
                address: *address,
                own: false,
                api_server: *api_server,
            },
            Self::Outside(address, api_server) => Other::Outside {
                address: *address,
                api_server: *api_server,
            },
        }
    }
}

fn subject(own: &Pod) -> Subject<'_> {
    Subject {
        namespace: &own.name.namespace,
        labels: &own.labels,
    }
}

/// Whoever may be at the other end. Pods are there with an address of their own and with one that blocks may hold.
fn strangers(case: &Case) -> Vec<Stranger> {
    let on_pods = case.cluster.workloads.iter();
    let on_pods = on_pods.filter(|(_, workload)| !workload.host_network);
    let pods = on_pods.flat_map(|(name, _)| {
        let addresses = [IpAddr::from([10, 0, 0, 9]), external(4)];
        let pods = other_pods(case, name).into_iter();
        pods.flat_map(move |pod| addresses.map(|address| Stranger::Pod(pod.clone(), address)))
    });
    let api_server = |address: &IpAddr| case.cluster.api_server.contains(address);
    let nodes = case.cluster.nodes.iter().flat_map(|(name, addresses)| {
        (addresses.iter())
            .map(|address| Stranger::Node(name.clone(), *address, api_server(address)))
    });
    let on_nodes: BTreeSet<IpAddr> = case.cluster.nodes.values().flatten().copied().collect();
    let outside = (0..14).map(external).chain(case.cluster.api_server.clone());
    let outside = outside.filter(|address| !on_nodes.contains(address));
    let outside = outside.map(|address| Stranger::Outside(address, api_server(&address)));
    pods.chain(nodes).chain(outside).collect()
}

/// The ports that edges use, and their neighbours, over each protocol.
fn questions(case: &Case) -> Vec<(Protocol, u16)> {
    let resolvers = case.cluster.resolvers.iter().map(|(_, port)| *port);
    let used = case.graph.edges.keys().map(|edge| edge.port);
    let ports: BTreeSet<u16> = used
        .chain(resolvers)
        .flat_map(|port| [port - 1, port, port.saturating_add(1)])
        .collect();
    let protocols = Protocol::ALL.into_iter();
    protocols
        .flat_map(|protocol| ports.iter().map(move |port| (protocol, *port)))
        .collect()
}

/// Whether a policy's form for Kubernetes allows any address that a node or the API server may have.
fn allows_some_node(
    case: &Case,
    written: &Written,
    own: &Pod,
    direction: Direction,
    to: (Protocol, u16),
) -> bool {
    let nodes = case.cluster.nodes.values().flatten();
    nodes.chain(&case.cluster.api_server).any(|address| {
        let outside = Stranger::Outside(*address, false);
        written.by_kubernetes(false, (own, &outside), direction, to)
    })
}

/// A Kubernetes object as Terraform has it: fields in snake case, blocks for objects, and as many blocks as a list of
/// objects has items.
fn in_terraform(value: &Value) -> Value {
    let snake = |key: &str| {
        let letters = key.chars().map(|c| match c.is_ascii_uppercase() {
            true => format!("_{}", c.to_ascii_lowercase()),
            false => c.to_string(),
        });
        letters.collect::<String>()
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| **field != json!([]));
            let field = |(key, field): (&String, &Value)| match &**key {
                "matchLabels" => (snake(key), field.clone()),
                "port" => (snake(key), field.to_string().into()),
                _ => (snake(key), in_terraform(field)),
            };
            fields.map(field).collect()
        }
        Value::Array(items) => match items.as_slice() {
            [only @ Value::Object(_)] => in_terraform(only),
            items => items.iter().map(in_terraform).collect(),
        },
        scalar => scalar.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Calico's form allows the same connections as Kubernetes'. So does Cilium's, where blocks match no pods; but a
    /// node in it stands for every node, so that it may let other nodes in, and never keeps one out.
    #[test]
    fn every_format_means_the_same(case in any_case()) {
        let policies = synthesise(&case.graph, &case.cluster, &case.options).policies;
        let written = Written::of(&policies);
        let (strangers, questions) = (strangers(&case), questions(&case));
        let names = case.cluster.workloads.iter().filter(|(_, workload)| !workload.host_network);
        for own in names.flat_map(|(name, _)| pods(&case, name)) {
            for (stranger, direction) in strangers.iter().flat_map(|one| Direction::ALL.map(|direction| (one, direction))) {
                for &to in &questions {
                    let asked = Asked { direction, other: stranger.as_other(), protocol: to.0, port: to.1 };
                    let by_kubernetes = |blocks| written.by_kubernetes(blocks, (&own, stranger), direction, to);
                    let context = || format!("{direction} of {} with {stranger:?} on {to:?}", own.name);
                    prop_assert_eq!(written.by_calico(&own, &asked), by_kubernetes(true), "{}", context());
                    let (cilium, kubernetes) = (written.by_cilium(&own, &asked), by_kubernetes(false));
                    if matches!(stranger, Stranger::Node(..)) {
                        prop_assert!(cilium || !kubernetes, "{}", context());
                        prop_assert!(!cilium || kubernetes || allows_some_node(&case, &written, &own, direction, to), "{}", context());
                    } else {
                        prop_assert_eq!(cilium, kubernetes, "{}", context());
                    }
                }
            }
        }
    }

    /// Terraform's and Ansible's forms hold the Kubernetes objects, as parsers of their languages read them.
    #[test]
    fn terraform_and_ansible_hold_the_kubernetes_form(case in any_case()) {
        let policies = synthesise(&case.graph, &case.cluster, &case.options).policies;
        let objects: Vec<Value> = policies.iter().map(|policy| json!(kubernetes::object(policy))).collect();

        let text = Format::Terraform.text(&policies, true).unwrap();
        let mut read: Value = hcl::from_str(&text).unwrap();
        let resources = read["resource"]["kubernetes_network_policy_v1"].take();
        let resources: Vec<&Value> = resources.as_object().into_iter().flatten().map(|(_, resource)| resource).collect();
        let expected: Vec<Value> = objects
            .iter()
            .map(|object| in_terraform(&json!({"metadata": object["metadata"], "spec": object["spec"]})))
            .collect();
        prop_assert_eq!(resources, expected.iter().collect::<Vec<_>>(), "{}", text);

        let text = Format::Ansible.text(&policies, true).unwrap();
        let play: Value = serde_saphyr::from_str(&text).unwrap();
        let tasks = play[0]["tasks"].as_array().cloned().unwrap_or_default();
        let definitions: Vec<Value> = tasks.iter().map(|task| task["kubernetes.core.k8s"]["definition"].clone()).collect();
        prop_assert_eq!(definitions, objects, "{}", text);
    }
}
