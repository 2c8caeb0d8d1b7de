//! Policies in words that a person reads.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Scene;
use super::ends::{Spot, Who};
use super::misses::Rule;
use crate::policy::evaluate::{End, Side, Way};

/// `namespace/name`.
pub(super) fn name(policy: &NetworkPolicy) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let metadata = &policy.metadata;
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}

/// The word for a direction.
pub(super) fn way(way: Way) -> &'static str {
    match way {
        Way::Ingress => "ingress",
        Way::Egress => "egress",
    }
}

/// What a rule allows: `from pods app=web on TCP 80`.
pub(super) fn rule(policy: &NetworkPolicy, way: Way, rule: &Rule<'_>) -> String {
    let preposition = match way {
        Way::Ingress => "from",
        Way::Egress => "to",
    };
    let own = policy.metadata.namespace.as_deref().unwrap_or_default();
    let peers: Vec<String> = rule.peers.iter().map(|each| peer(own, each)).collect();
    let peers = match peers.is_empty() {
        true => "anybody".to_owned(),
        false => peers.join(", or "),
    };
    let ports: Vec<String> = rule.ports.iter().map(port).collect();
    let ports = match ports.is_empty() {
        true => "any port".to_owned(),
        false => ports.join(", "),
    };
    format!("{preposition} {peers} on {ports}")
}

/// A peer of a policy in the namespace `own`.
pub(super) fn peer(own: &str, peer: &NetworkPolicyPeer) -> String {
    if let Some(block) = &peer.ip_block {
        let except: Vec<&str> = block.except.iter().flatten().map(String::as_str).collect();
        return match except.is_empty() {
            true => block.cidr.clone(),
            false => format!("{} except {}", block.cidr, except.join(" and ")),
        };
    }
    let pods = match peer
        .pod_selector
        .as_ref()
        .map(selector)
        .filter(|text| !text.is_empty())
    {
        Some(pods) => format!("pods {pods}"),
        None => "all pods".to_owned(),
    };
    match peer.namespace_selector.as_ref().map(selector) {
        None => format!("{pods} of namespace {own}"),
        Some(namespaces) if namespaces.is_empty() => format!("{pods} of every namespace"),
        Some(namespaces) => format!("{pods} of namespaces {namespaces}"),
    }
}

/// An entry of a list of ports.
pub(super) fn port(entry: &NetworkPolicyPort) -> String {
    let protocol = entry.protocol.as_deref().unwrap_or("TCP");
    match (&entry.port, entry.end_port) {
        (None, _) => format!("every {protocol} port"),
        (Some(IntOrString::Int(first)), Some(last)) => format!("{protocol} {first}-{last}"),
        (Some(IntOrString::Int(port)), None) => format!("{protocol} {port}"),
        (Some(IntOrString::String(name)), _) => format!("{protocol} {name}"),
    }
}

/// A selector as `kubectl -l` takes it; empty where it matches everything.
pub(super) fn selector(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| format!("{key}={value}"));
    let others = selector.match_expressions.iter().flatten().map(requirement);
    equal.chain(others).collect::<Vec<_>>().join(",")
}

/// A requirement as `kubectl -l` takes it.
pub(super) fn requirement(requirement: &LabelSelectorRequirement) -> String {
    let values: Vec<&str> = requirement
        .values
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let (key, values) = (&requirement.key, values.join(","));
    match requirement.operator.as_str() {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.clone(),
    }
}

/// Somebody who is no pod to a policy.
pub(super) fn not_a_pod(end: End<'_>, address: IpAddr) -> String {
    match end {
        End::Node(name) => format!("{address} (node {name})"),
        End::Pod(pod) => format!("{} on its node's network", pod.name),
        End::Outside => address.to_string(),
    }
}

/// Why one side allows or denies, in a sentence.
pub(super) fn because(
    scene: &Scene<'_>,
    direction: Way,
    own: &Spot,
    side: &Side,
    isolating: usize,
) -> String {
    let (who, way) = (own.name(scene.world), way(direction));
    match (&own.who, side.allowed) {
        (Who::Node(_), _) => format!("no policy applies to {who}, which is a node"),
        (Who::Outside, _) => format!("no policy applies to {who}, which is no pod"),
        (Who::Pod(_), true) if !side.isolated => {
            format!("no policy isolates {who} for {way}, so everything is allowed")
        }
        (Who::Pod(_), true) if !side.by.is_empty() => {
            let count = side.by.len();
            let rules = if count == 1 {
                "a rule allows"
            } else {
                "several rules allow"
            };
            format!("{who} is isolated for {way}, and {rules} it")
        }
        (Who::Pod(_), true) => match direction {
            Way::Ingress => {
                format!("no policy can keep {who} from being reached by itself or its own node")
            }
            Way::Egress if scene.reading.own_node_both_ways => {
                format!("no policy can keep {who} from reaching itself or its own node")
            }
            Way::Egress => format!("no policy can keep {who} from reaching itself"),
        },
        (Who::Pod(_), false) => {
            let policies = match isolating {
                1 => "a policy".to_owned(),
                count => format!("{count} policies"),
            };
            format!("{who} is isolated for {way} by {policies}, and no rule allows it")
        }
    }
}
