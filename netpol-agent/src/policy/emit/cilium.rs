//! CiliumNetworkPolicies (`cilium.io/v2`): the same as the Kubernetes form, in Cilium's words.
//!
//! What differs, by Cilium's documentation of layer 3 and 4 policies:
//! - A rule takes peers of one kind only, so that endpoints, blocks and entities stand in rules of their own.
//! - An endpoint selector without a namespace means the policy's own; labels of pods have the source `k8s`.
//! - A direction without rules is not isolated; the empty rule isolates it and allows nothing.
//! - Blocks match neither pods nor nodes. Nodes and the API server are entities, and only all nodes together are one:
//!   [`remarks`] says so.
//! - One list of ports holds at most 40.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::kubernetes;
use super::yaml::{self, Comments};
use super::{evidence, head};
use crate::policy::finding::{Finding, Unenforced};
use crate::policy::ignored;
use crate::policy::model::{
    Direction, Entity, EntityRule, Policy, PolicyPeer, PortSpec, Rule, Selector, Support, Texts,
};
use crate::policy::text::list;

/// The label of every endpoint that holds its namespace.
const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";

/// How many ports one list may hold.
const MOST_PORTS: usize = 40;

/// Blocks with more bits than these for their addresses are never looked at address by address.
const FEW_BITS: u8 = 8;

/// A policy as one YAML document that begins with [`HEADER`](super::HEADER).
#[must_use]
pub fn yaml(policy: &Policy, with_evidence: bool) -> String {
    let mut comments: Comments = evidence::of_policy(policy, "").into_iter().collect();
    let [ingress, egress] = Direction::ALL.map(|direction| rules(policy, direction, &mut comments));
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
        let workload = &policy.workload;
        let nodes = policy.entities.iter();
        let nodes = nodes.filter(|rule| rule.entities.contains(&Entity::RemoteNode));
        let widened = nodes.map(|rule| {
            format!(
                "Widening: {workload}: {} of nodes stands as every node, since Cilium knows them by what they are \
                 only: allows all of them on {}",
                rule.direction,
                list(&rule.ports)
            )
        });
        let ignored = ignored::by_cilium(policy).map(|finding| finding.to_string());
        widened.chain(ignored).collect::<Vec<_>>()
    };
    policies.iter().flat_map(of_policy).collect()
}

/// Whether a finding is not to be told of this form: nodes and the API server are written as what they are here, and of
/// labels that are ignored [`remarks`] tells, whichever plugin the policies are made for.
#[must_use]
pub fn mends(finding: &Finding) -> bool {
    let entities = |what: &Unenforced| matches!(what, Unenforced::Entities(..));
    match finding {
        Finding::Unenforceable { what, .. } => entities(what),
        Finding::IgnoredLabel { .. } => true,
        _ => false,
    }
}

/// The rules of one direction, with the evidence of each above the first that it became.
fn rules(policy: &Policy, direction: Direction, comments: &mut Comments) -> Vec<Value> {
    let path = format!("/spec/{}", direction.name());
    let mut written = Vec::new();
    let mut write = |evidence: &[Support], rules: Vec<Value>| {
        if !rules.is_empty() {
            let lines = evidence::lines(direction, evidence);
            comments.insert(format!("{path}/{}", written.len()), lines);
            written.extend(rules);
        }
    };
    let entities: Vec<&EntityRule> = (policy.entities.iter())
        .filter(|rule| rule.direction == direction)
        .collect();
    for rule in policy.rules(direction) {
        write(&rule.evidence, translate(direction, rule, &entities));
    }
    for rule in entities {
        let words = rule.entities.iter().map(|entity| word(*entity)).collect();
        write(
            &rule.evidence,
            vec![one(direction, "Entities", words, &rule.ports)],
        );
    }
    if let Some(lines) = evidence::of_direction(policy, direction) {
        comments.insert(path, lines);
    }
    if written.is_empty() {
        written.push(json!({}));
    }
    written
}

/// The rules that a rule becomes: one for each kind of peer, less what is said by entities.
fn translate(direction: Direction, rule: &Rule, entities: &[&EntityRule]) -> Vec<Value> {
    let mut selectors = Vec::new();
    let (mut blocks, mut sets) = (Vec::new(), Vec::new());
    for peer in &rule.peers {
        match peer {
            PolicyPeer::Pods { namespaces, pods } => {
                selectors.push(endpoints(namespaces.as_ref(), pods));
            }
            PolicyPeer::Block(block) if !is_said(rule, block, entities) => {
                blocks.push(json!(block));
            }
            PolicyPeer::Block(_) => {}
            PolicyPeer::Namespaces(names) => {
                selectors.push(endpoints(Some(names), &Selector::default()));
            }
            PolicyPeer::BlockExcept { block, except } => {
                sets.push(json!({"cidr": block, "except": except}));
            }
        }
    }
    let kinds = [
        ("Endpoints", selectors),
        ("CIDR", blocks),
        ("CIDRSet", sets),
    ];
    let kinds = kinds.into_iter().filter(|(_, peers)| !peers.is_empty());
    kinds
        .map(|(kind, peers)| one(direction, kind, peers, &rule.ports))
        .collect()
}

fn one(direction: Direction, kind: &str, peers: Vec<Value>, specs: &[PortSpec]) -> Value {
    let field = match direction {
        Direction::Ingress => format!("from{kind}"),
        Direction::Egress => format!("to{kind}"),
    };
    json!({field: peers, "toPorts": ports(specs)})
}

/// Whether entities allow everything that a block does.
fn is_said(rule: &Rule, block: &IpNet, entities: &[&EntityRule]) -> bool {
    let longest = block.max_prefix_len();
    let said = |address: IpNet, spec: &PortSpec| {
        let mut here = entities
            .iter()
            .filter(|rule| rule.addresses.contains(&address.addr()))
            .flat_map(|rule| &rule.ports);
        here.any(|all| {
            all.protocol == spec.protocol && all.port <= spec.port && spec.last() <= all.last()
        })
    };
    let mut addresses = block.subnets(longest).into_iter().flatten();
    block.prefix_len() + FEW_BITS >= longest
        && addresses.all(|address| rule.ports.iter().all(|spec| said(address, spec)))
}

fn word(entity: Entity) -> Value {
    json!(match entity {
        Entity::Host => "host",
        Entity::RemoteNode => "remote-node",
        Entity::KubeApiServer => "kube-apiserver",
    })
}

/// A selector of endpoints; without namespaces, of the policy's own.
fn endpoints(namespaces: Option<&Texts>, pods: &Selector) -> Value {
    let labels = pods.iter();
    let labels = labels.map(|(key, values)| (format!("k8s:{key}").into(), values.clone()));
    let namespaces = namespaces.map(|namespaces| (NAMESPACE.into(), namespaces.clone()));
    let labels: Selector = labels.chain(namespaces).collect();
    kubernetes::ordered(json!(kubernetes::selector(&labels)))
}

fn ports(specs: &[PortSpec]) -> Vec<Value> {
    let lists = specs.chunks(MOST_PORTS);
    lists
        .map(|ports| json!({"ports": ports.iter().map(port).collect::<Vec<_>>()}))
        .collect()
}

fn port(spec: &PortSpec) -> Value {
    let mut port = json!({"port": spec.port.to_string()});
    if let Some(last) = spec.end_port {
        port["endPort"] = last.into();
    }
    port["protocol"] = spec.protocol.name().into();
    port
}
