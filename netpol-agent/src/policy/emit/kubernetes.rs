//! `networking.k8s.io/v1` NetworkPolicies: as objects, as YAML with the evidence in comments, as a JSON list.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::yaml::{self, Comments};
use super::{evidence, head};
use crate::policy::model::{Direction, Policy, PolicyPeer, PortSpec, Rule, Selector, Texts};

/// The label of every namespace that holds its name; the API server sets it.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Fields that people do not write in alphabetical order.
const FIELDS: [&str; 12] = [
    "podSelector",
    "policyTypes",
    "ingress",
    "egress",
    "from",
    "to",
    "ports",
    "protocol",
    "port",
    "endPort",
    "matchLabels",
    "matchExpressions",
];

/// A policy as an object of the Kubernetes API.
#[must_use]
pub fn object(policy: &Policy) -> NetworkPolicy {
    let metadata = ObjectMeta {
        name: Some(policy.name.clone()),
        namespace: Some(policy.workload.namespace.clone()),
        ..ObjectMeta::default()
    };
    let ingress = policy.ingress.iter().map(|rule| NetworkPolicyIngressRule {
        from: Some(peers(rule)),
        ports: Some(ports(rule)),
    });
    let egress = policy.egress.iter().map(|rule| NetworkPolicyEgressRule {
        to: Some(peers(rule)),
        ports: Some(ports(rule)),
    });
    let spec = NetworkPolicySpec {
        pod_selector: Some(selector(&policy.subject)),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(ingress.collect()),
        egress: Some(egress.collect()),
    };
    NetworkPolicy {
        metadata,
        spec: Some(spec),
    }
}

/// All policies as one `v1` `List`, pretty-printed, with a line break at its end.
#[must_use]
pub fn json(policies: &[Policy]) -> String {
    let items: Vec<NetworkPolicy> = policies.iter().map(object).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    format!("{list:#}\n")
}

/// A policy as one YAML document that begins with [`HEADER`](super::HEADER).
#[must_use]
pub fn yaml(policy: &Policy, with_evidence: bool) -> String {
    let comments = match with_evidence {
        true => comments(policy, ""),
        false => Comments::new(),
    };
    let document = yaml::document(&value(policy), &comments);
    format!("{}{document}", head(policy))
}

/// A policy as JSON, its fields in the order in which people write them.
pub(super) fn value(policy: &Policy) -> Value {
    ordered(json!(object(policy)))
}

/// The evidence of each rule, to stand above it in an object that is at `path` of a document.
pub(super) fn comments(policy: &Policy, path: &str) -> Comments {
    let mut comments: Comments = evidence::of_policy(policy, path).into_iter().collect();
    for direction in Direction::ALL {
        annotate(&mut comments, path, direction, policy);
    }
    comments
}

/// The fields in the order in which people write them; labels are in alphabetical order and stay so.
pub(super) fn ordered(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields
                .into_iter()
                .map(|(key, field)| (key, ordered(field)))
                .collect();
            fields.sort_by_key(|(key, _)| FIELDS.iter().position(|field| field == key));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(ordered).collect()),
        scalar => scalar,
    }
}

/// Puts the evidence of each rule above it.
fn annotate(comments: &mut Comments, path: &str, direction: Direction, policy: &Policy) {
    let path = format!("{path}/spec/{}", direction.name());
    for (number, rule) in policy.rules(direction).iter().enumerate() {
        let lines = evidence::lines(direction, &rule.evidence);
        comments.insert(format!("{path}/{number}"), lines);
    }
    if let Some(lines) = evidence::of_direction(policy, direction) {
        comments.insert(path, lines);
    }
}

fn peers(rule: &Rule) -> Vec<NetworkPolicyPeer> {
    rule.peers.iter().map(peer).collect()
}

fn peer(peer: &PolicyPeer) -> NetworkPolicyPeer {
    match peer {
        PolicyPeer::Block(block) => addresses(block, None),
        PolicyPeer::BlockExcept { block, except } => addresses(
            block,
            Some(except.iter().map(ToString::to_string).collect()),
        ),
        PolicyPeer::Namespaces(namespaces) => NetworkPolicyPeer {
            namespace_selector: Some(by_name(namespaces)),
            pod_selector: Some(LabelSelector::default()),
            ip_block: None,
        },
        PolicyPeer::Pods { namespaces, pods } => NetworkPolicyPeer {
            namespace_selector: namespaces.as_ref().map(by_name),
            pod_selector: Some(selector(pods)),
            ip_block: None,
        },
    }
}

fn addresses(block: &IpNet, except: Option<Vec<String>>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: block.to_string(),
            except,
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// The namespaces of these names.
fn by_name(namespaces: &Texts) -> LabelSelector {
    let label = (NAMESPACE_NAME.into(), namespaces.clone());
    selector(&[label].into_iter().collect())
}

/// Single values as `matchLabels`, several as `In`.
pub(super) fn selector(selector: &Selector) -> LabelSelector {
    let mut labels = BTreeMap::new();
    let mut expressions = Vec::new();
    for (key, values) in selector.iter() {
        match (values.len(), values.first()) {
            (1, Some(value)) => drop(labels.insert(key.to_owned(), value.to_owned())),
            _ => expressions.push(LabelSelectorRequirement {
                key: key.to_owned(),
                operator: "In".to_owned(),
                values: Some(values.iter().map(str::to_owned).collect()),
            }),
        }
    }
    LabelSelector {
        match_expressions: (!expressions.is_empty()).then_some(expressions),
        match_labels: (!labels.is_empty()).then_some(labels),
    }
}

fn ports(rule: &Rule) -> Vec<NetworkPolicyPort> {
    rule.ports.iter().copied().map(port).collect()
}

fn port(spec: PortSpec) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(spec.protocol.name().to_owned()),
        port: Some(IntOrString::Int(spec.port.into())),
        end_port: spec.end_port.map(i32::from),
    }
}
