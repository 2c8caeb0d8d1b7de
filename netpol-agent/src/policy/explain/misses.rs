//! Which parts of a rule do not match a connection. A rule of which no part misses allows it.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_common::words::Protocol;
use serde::Serialize;
use std::net::IpAddr;

use super::{Scene, words};
use crate::identity::objects::Labels;
use crate::policy::emit::kubernetes::NAMESPACE_NAME;
use crate::policy::evaluate::{Connection, End, Pod, Way};

/// A part of a rule that does not match.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Miss {
    /// Which part.
    pub part: Part,
    /// Why, in words.
    pub why: String,
}

/// A part of a rule.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The port of an entry.
    Port,
    /// The transport protocol of an entry.
    Protocol,
    /// The labels of pods.
    Labels,
    /// The namespace of pods.
    Namespace,
    /// The kind of peer: pods or addresses.
    Peer,
    /// The addresses of a block.
    Address,
}

/// A rule of either direction; an empty list means all.
pub(super) struct Rule<'a> {
    pub(super) peers: &'a [NetworkPolicyPeer],
    pub(super) ports: &'a [NetworkPolicyPort],
}

/// The rules of a policy in one direction.
pub(super) fn rules(policy: &NetworkPolicy, way: Way) -> Vec<Rule<'_>> {
    let Some(spec) = &policy.spec else {
        return Vec::new();
    };
    match way {
        Way::Ingress => {
            let rules = spec.ingress.iter().flatten();
            let rule = rules.map(|rule| Rule {
                peers: rule.from.as_deref().unwrap_or_default(),
                ports: rule.ports.as_deref().unwrap_or_default(),
            });
            rule.collect()
        }
        Way::Egress => {
            let rules = spec.egress.iter().flatten();
            let rule = rules.map(|rule| Rule {
                peers: rule.to.as_deref().unwrap_or_default(),
                ports: rule.ports.as_deref().unwrap_or_default(),
            });
            rule.collect()
        }
    }
}

/// How far a rule is from matching: fewer parts first, a port before a peer.
pub(super) fn distance(misses: &[Miss]) -> (bool, usize, Vec<Part>) {
    let parts: Vec<Part> = misses.iter().map(|miss| miss.part).collect();
    let foreign = parts.contains(&Part::Peer);
    (foreign, parts.len(), parts)
}

/// The parts of a rule that do not match: those of the nearest peer, and those of the nearest port.
pub(super) fn of_rule(
    scene: &Scene<'_>,
    policy: &NetworkPolicy,
    rule: &Rule<'_>,
    connection: &Connection<'_>,
    way: Way,
) -> Vec<Miss> {
    let peers = rule
        .peers
        .iter()
        .map(|peer| of_peer(scene, policy, peer, connection, way));
    let ports = rule
        .ports
        .iter()
        .map(|port| of_port(scene, port, connection).into_iter().collect());
    let mut misses = nearest(ports.collect());
    misses.extend(nearest(peers.collect()));
    misses
}

/// The misses of the nearest alternative; none if there is no alternative, since an empty list means all.
fn nearest(alternatives: Vec<Vec<Miss>>) -> Vec<Miss> {
    let nearest = alternatives
        .into_iter()
        .min_by_key(|misses| distance(misses));
    nearest.unwrap_or_default()
}

/// The parts of a peer that do not match the other end.
pub(super) fn of_peer(
    scene: &Scene<'_>,
    policy: &NetworkPolicy,
    peer: &NetworkPolicyPeer,
    connection: &Connection<'_>,
    way: Way,
) -> Vec<Miss> {
    let (other, address) = match way {
        Way::Ingress => (connection.client, connection.client_address),
        Way::Egress => (connection.server, connection.server_address),
    };
    let pod = as_pod(scene, other);
    match (&peer.ip_block, pod) {
        (Some(_), Some(_)) if !scene.reading.blocks_match_pods => {
            let why = "blocks do not match pods, as it was asked for".to_owned();
            vec![miss(Part::Peer, why)]
        }
        (Some(block), _) => of_block(block, address).into_iter().collect(),
        (None, Some(pod)) => of_selectors(scene, policy, peer, pod),
        (None, None) => {
            let who = words::not_a_pod(other, address);
            vec![miss(
                Part::Peer,
                format!("it selects pods, and {who} is none"),
            )]
        }
    }
}

/// The pod at an end, unless policies see only its node.
fn as_pod<'e>(scene: &Scene<'_>, end: End<'e>) -> Option<&'e Pod> {
    match end {
        End::Pod(pod) if !(pod.host_network && scene.reading.host_network_is_node) => Some(pod),
        _ => None,
    }
}

fn miss(part: Part, why: String) -> Miss {
    Miss { part, why }
}

fn of_block(block: &IPBlock, address: IpAddr) -> Option<Miss> {
    let within = |cidr: &String| {
        cidr.parse::<IpNet>()
            .is_ok_and(|net| net.contains(&address))
    };
    let except = block.except.iter().flatten();
    if address.is_unspecified() {
        let all = block.cidr.ends_with("/0") && within(&block.cidr);
        let same = |cidr: &&String| {
            cidr.parse::<IpNet>()
                .is_ok_and(|net| net.addr().is_ipv4() == address.is_ipv4())
        };
        let holds = all && !block.except.iter().flatten().any(|cidr| same(&cidr));
        let why = format!(
            "the address is not known, so that {} cannot be said to hold it",
            block.cidr
        );
        return (!holds).then(|| miss(Part::Address, why));
    }
    if !within(&block.cidr) {
        let why = format!("{address} is not in {}", block.cidr);
        return Some(miss(Part::Address, why));
    }
    let excluding = except.into_iter().find(|cidr| within(cidr))?;
    let why = format!(
        "{address} is in {excluding}, which is excepted from {}",
        block.cidr
    );
    Some(miss(Part::Address, why))
}

fn of_selectors(
    scene: &Scene<'_>,
    policy: &NetworkPolicy,
    peer: &NetworkPolicyPeer,
    pod: &Pod,
) -> Vec<Miss> {
    let namespace = &pod.name.namespace;
    let own = policy.metadata.namespace.as_deref().unwrap_or_default();
    let mut misses = Vec::new();
    match &peer.namespace_selector {
        Some(selector) => {
            let mut labels = scene
                .world
                .namespaces()
                .get(namespace)
                .cloned()
                .unwrap_or_default();
            labels.insert(NAMESPACE_NAME.to_owned(), namespace.clone());
            let whose = format!("namespace {namespace}");
            let why = of_labels(selector, &labels, &whose);
            misses.extend(why.into_iter().map(|why| miss(Part::Namespace, why)));
        }
        None if own != namespace => {
            let why = format!(
                "it selects pods of namespace {own} only, and {} is in {namespace}",
                pod.name
            );
            misses.push(miss(Part::Namespace, why));
        }
        None => {}
    }
    if let Some(selector) = &peer.pod_selector {
        let why = of_labels(selector, &pod.labels, &format!("pod {}", pod.name));
        misses.extend(why.into_iter().map(|why| miss(Part::Labels, why)));
    }
    misses
}

/// The requirements of a selector that do not hold, in words.
fn of_labels(selector: &LabelSelector, labels: &Labels, whose: &str) -> Vec<String> {
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.filter(|(key, value)| labels.get(*key) != Some(*value));
    let equal = equal
        .map(|(key, value)| format!("{key}={value} is asked for, {}", has(labels, key, whose)));
    let others = selector.match_expressions.iter().flatten();
    let others = others.filter(|requirement| !holds(requirement, labels));
    let others = others.map(|requirement| {
        let asked = words::requirement(requirement);
        format!(
            "{asked} is asked for, {}",
            has(labels, &requirement.key, whose)
        )
    });
    equal.chain(others).collect()
}

fn has(labels: &Labels, key: &str, whose: &str) -> String {
    match labels.get(key) {
        Some(value) => format!("{whose} has {key}={value}"),
        None => format!("{whose} has no label {key}"),
    }
}

fn holds(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed =
        value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Why an entry of a rule's ports does not match.
pub(super) fn of_port(
    scene: &Scene<'_>,
    entry: &NetworkPolicyPort,
    connection: &Connection<'_>,
) -> Option<Miss> {
    let (protocol, port) = (connection.protocol, connection.port);
    let of_entry = entry.protocol.as_deref().unwrap_or("TCP");
    if of_entry != protocol.name() {
        return Some(miss(Part::Protocol, format!("it is for {of_entry}")));
    }
    let first = match &entry.port {
        None => return None,
        Some(IntOrString::String(name)) => {
            let pod = as_pod(scene, connection.server);
            return of_named_port(name, protocol, port, pod);
        }
        Some(IntOrString::Int(first)) => *first,
    };
    let last = entry.end_port.unwrap_or(first);
    let why = match first == last {
        true => format!("{port} is not {first}"),
        false => format!("{port} is not in {first}-{last}"),
    };
    (!(first..=last).contains(&i32::from(port))).then(|| miss(Part::Port, why))
}

fn of_named_port(name: &str, protocol: Protocol, port: u16, pod: Option<&Pod>) -> Option<Miss> {
    let Some(pod) = pod else {
        let why = format!("only pods have ports with names such as {name}");
        return Some(miss(Part::Port, why));
    };
    let same = |named: &&(String, Protocol, u16)| named.0 == name && named.1 == protocol;
    let numbers: Vec<u16> = pod
        .named_ports
        .iter()
        .filter(same)
        .map(|named| named.2)
        .collect();
    if numbers.contains(&port) {
        return None;
    }
    let why = match numbers.first() {
        Some(number) => format!("{} of {} is {number}, not {port}", name, pod.name),
        None => format!("{} has no {protocol} port called {name}", pod.name),
    };
    Some(miss(Part::Port, why))
}
