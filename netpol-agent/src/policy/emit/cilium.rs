//! CiliumNetworkPolicies (`cilium.io/v2`): the same as the Kubernetes form, in Cilium's words.
//!
//! What differs, by Cilium's documentation of layer 3 and 4 policies:
//! - A rule takes peers of one kind only, so that endpoints, blocks and entities stand in rules of their own.
//! - An endpoint selector without a namespace means the policy's own; labels of pods have the source `k8s`.
//! - A direction without rules is not isolated; the empty rule isolates it and allows nothing.
//! - Blocks match neither pods nor nodes. Nodes and the API server are entities, and only all nodes together are one:
//!   [`remarks`] says so.
//! - One list of ports holds at most 40.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use netpol_common::words::Protocol;
use serde_json::{Value, json};

use super::kubernetes;
use super::yaml::{self, Comments};
use super::{evidence, head};
use crate::policy::model::{Direction, NamedPeer, Policy, PolicyPeer, PortSpec, Rule, Selector};
use crate::policy::text::list;

/// The label of every endpoint that holds its namespace.
const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";

/// How many ports one list may hold.
const MOST_PORTS: usize = 40;

/// Labels that Cilium leaves out of an endpoint's identity unless it is told otherwise, by how they begin.
const IGNORED_LABELS: [&str; 3] = ["kubernetes.io/", "k8s.io/", "io.kubernetes."];

/// A policy as one YAML document that begins with [`HEADER`](super::HEADER).
#[must_use]
pub fn yaml(policy: &Policy, with_evidence: bool) -> String {
    let mut comments = Comments::new();
    let [ingress, egress] =
        Direction::ALL.map(|direction| rules(direction, policy.rules(direction), &mut comments));
    let value = json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.workload.namespace},
        "spec": {
            "endpointSelector": endpoints(None, &policy.subject),
            "ingress": ingress,
            "egress": egress,
        },
    });
    if !with_evidence {
        comments.clear();
    }
    format!("{}{}", head(policy), yaml::document(&value, &comments))
}

/// What these policies let in or leave out in this form alone, in words.
#[must_use]
pub fn remarks(policies: &[Policy]) -> Vec<String> {
    let of_policy = |policy: &Policy| {
        let nodes = Direction::ALL.into_iter().flat_map(|direction| {
            let rules = policy.rules(direction).iter();
            rules
                .filter(|rule| rule.named.contains_key(&NamedPeer::Node))
                .map(move |rule| (direction, rule))
        });
        let workload = &policy.workload;
        let widened = nodes.map(move |(direction, rule)| {
            format!(
                "{direction} of {workload}: Cilium matches nodes by what they are only: every node is allowed on {}",
                list(&rule.ports)
            )
        });
        let ignored = keys(policy)
            .into_iter()
            .filter(|key| IGNORED_LABELS.iter().any(|start| key.starts_with(start)));
        let ignored = ignored.map(move |key| {
            format!(
                "{workload}: its policy selects by the label {key}, which Cilium ignores unless its option `labels` \
                 includes it"
            )
        });
        widened.chain(ignored).collect::<Vec<_>>()
    };
    policies.iter().flat_map(of_policy).collect()
}

/// The rules of one direction, with the evidence of each above the first that it became.
fn rules(direction: Direction, rules: &[Rule], comments: &mut Comments) -> Vec<Value> {
    let path = format!("/spec/{}", direction.name());
    let mut written = Vec::new();
    for rule in rules {
        let lines = evidence::lines(direction, rule);
        comments.insert(format!("{path}/{}", written.len()), lines);
        written.extend(translate(direction, rule));
    }
    if written.is_empty() {
        comments.insert(path, vec![evidence::nothing_seen(direction)]);
        written.push(json!({}));
    }
    written
}

/// The rules that a rule becomes: one for each kind of peer.
fn translate(direction: Direction, rule: &Rule) -> Vec<Value> {
    let word = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let mut selectors = Vec::new();
    let mut blocks = Vec::new();
    for peer in &rule.peers {
        match peer {
            PolicyPeer::Pods { namespaces, pods } => {
                selectors.push(endpoints(namespaces.as_ref(), pods));
            }
            PolicyPeer::Block(block) if !is_named(rule, block) => blocks.push(json!(block)),
            PolicyPeer::Block(_) => {}
        }
    }
    let entities: Vec<Value> = rule.named.keys().flat_map(entities).collect();
    let kinds = [
        ("Endpoints", selectors),
        ("CIDR", blocks),
        ("Entities", entities),
    ];
    let kinds = kinds.into_iter().filter(|(_, peers)| !peers.is_empty());
    kinds
        .map(|(kind, peers)| json!({(format!("{word}{kind}")): peers, "toPorts": ports(rule)}))
        .collect()
}

/// Whether a block holds nothing but addresses of what has a name.
fn is_named(rule: &Rule, block: &IpNet) -> bool {
    let inside: BTreeSet<_> = (rule.named.values().flatten())
        .filter(|address| block.contains(*address))
        .collect();
    let host_bits = u32::from(block.max_prefix_len() - block.prefix_len());
    2usize.checked_pow(host_bits) == Some(inside.len())
}

fn entities(name: &NamedPeer) -> impl Iterator<Item = Value> + use<> {
    let words: &[&str] = match name {
        NamedPeer::Node => &["host", "remote-node"],
        NamedPeer::ApiServer => &["kube-apiserver"],
    };
    words.iter().map(|word| json!(word))
}

/// A selector of endpoints; without namespaces, of the policy's own.
fn endpoints(namespaces: Option<&BTreeSet<String>>, pods: &Selector) -> Value {
    let labels = pods.0.iter();
    let mut labels: BTreeMap<String, BTreeSet<String>> = labels
        .map(|(key, values)| (format!("k8s:{key}"), values.clone()))
        .collect();
    if let Some(namespaces) = namespaces {
        labels.insert(NAMESPACE.to_owned(), namespaces.clone());
    }
    kubernetes::ordered(json!(kubernetes::selector(&Selector(labels))))
}

fn ports(rule: &Rule) -> Vec<Value> {
    let lists = rule.ports.chunks(MOST_PORTS);
    lists
        .map(|ports| json!({"ports": ports.iter().map(port).collect::<Vec<_>>()}))
        .collect()
}

fn port(spec: &PortSpec) -> Value {
    let mut port = json!({"port": spec.port.to_string()});
    if let Some(last) = spec.end_port {
        port["endPort"] = last.into();
    }
    port["protocol"] = protocol(spec.protocol);
    port
}

fn protocol(protocol: Protocol) -> Value {
    protocol.name().into()
}

/// The keys of all labels that a policy selects by.
fn keys(policy: &Policy) -> BTreeSet<&String> {
    let rules = policy.ingress.iter().chain(&policy.egress);
    let peers = rules.flat_map(|rule| &rule.peers);
    let selectors = peers.filter_map(|peer| match peer {
        PolicyPeer::Pods { pods, .. } => Some(pods),
        PolicyPeer::Block(_) => None,
    });
    selectors
        .chain([&policy.subject])
        .flat_map(|selector| selector.0.keys())
        .collect()
}
