//! The evaluator that reads like the specification.
//!
//! A connection is allowed if the client's egress and the server's ingress allow it. A pod is isolated in a
//! direction if a policy of that type selects it; then only what some rule of such a policy matches is allowed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use netpol_common::names::ObjectName;

use super::{Connection, End, Pod, Reading, RuleId, Side, Verdict, Way, matching};
use crate::identity::objects::Labels;

/// The policies of a cluster, and the labels of its namespaces.
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    /// Namespaces by name. Their label `kubernetes.io/metadata.name` need not be among the labels.
    pub namespaces: &'a BTreeMap<String, Labels>,
    /// All policies that are in force.
    pub policies: &'a [NetworkPolicy],
    /// How to read what is left open.
    pub reading: Reading,
}

/// A rule of either direction: whom and which ports it allows; an empty or absent list means all.
pub(super) struct Rule<'a> {
    pub(super) peers: &'a [NetworkPolicyPeer],
    pub(super) ports: &'a [NetworkPolicyPort],
}

impl Evaluator<'_> {
    /// What the policies say of a connection.
    #[must_use]
    pub fn verdict(&self, connection: &Connection<'_>) -> Verdict {
        Verdict {
            egress: self.side(Way::Egress, connection),
            ingress: self.side(Way::Ingress, connection),
        }
    }

    fn side(&self, way: Way, connection: &Connection<'_>) -> Side {
        let (own, other) = match way {
            Way::Ingress => (connection.server, connection.client),
            Way::Egress => (connection.client, connection.server),
        };
        let Some(pod) = self.as_pod(own) else {
            return Side {
                allowed: true,
                ..Side::default()
            };
        };
        let mut side = Side::default();
        for policy in self.policies.iter().filter(|policy| selects(policy, pod)) {
            let Some(rules) = policy.spec.as_ref().and_then(|spec| rules(spec, way)) else {
                continue;
            };
            side.isolated = true;
            let matching = rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| self.matches(policy, way, rule, connection));
            side.by.extend(matching.map(|(rule, _)| RuleId {
                policy: name_of(policy),
                rule,
            }));
        }
        let exempt = way == Way::Ingress || self.reading.own_node_both_ways;
        let always = self.is_itself(pod, other) || (exempt && self.is_own_node(pod, other));
        side.allowed = always || !side.isolated || !side.by.is_empty();
        side
    }

    /// The pod at an end, unless policies see only its node.
    fn as_pod<'e>(&self, end: End<'e>) -> Option<&'e Pod> {
        match end {
            End::Pod(pod) if !(pod.host_network && self.reading.host_network_is_node) => Some(pod),
            _ => None,
        }
    }

    /// A pod cannot be kept from reaching itself.
    fn is_itself(&self, pod: &Pod, other: End<'_>) -> bool {
        self.as_pod(other)
            .is_some_and(|other| other.name == pod.name)
    }

    /// What comes from a pod's own node is always allowed, and what goes there as the reading has it.
    fn is_own_node(&self, pod: &Pod, other: End<'_>) -> bool {
        match other {
            End::Node(node) => pod.node.as_deref() == Some(node),
            End::Pod(other) => {
                self.as_pod(End::Pod(other)).is_none()
                    && other.node.is_some()
                    && other.node == pod.node
            }
            End::Outside => false,
        }
    }

    fn matches(
        &self,
        policy: &NetworkPolicy,
        way: Way,
        rule: &Rule<'_>,
        connection: &Connection<'_>,
    ) -> bool {
        let (other, address) = match way {
            Way::Ingress => (connection.client, connection.client_address),
            Way::Egress => (connection.server, connection.server_address),
        };
        let peer = rule.peers.is_empty()
            || rule
                .peers
                .iter()
                .any(|peer| self.matches_peer(policy, peer, other, address));
        let port = rule.ports.is_empty()
            || rule
                .ports
                .iter()
                .any(|port| self.matches_port(port, connection));
        peer && port
    }

    fn matches_peer(
        &self,
        policy: &NetworkPolicy,
        peer: &NetworkPolicyPeer,
        other: End<'_>,
        address: IpAddr,
    ) -> bool {
        let pod = self.as_pod(other);
        if let Some(block) = &peer.ip_block {
            return matching::block(block, address)
                && (pod.is_none() || self.reading.blocks_match_pods);
        }
        let Some(pod) = pod else {
            return false;
        };
        let namespace = match &peer.namespace_selector {
            Some(selector) => {
                matching::selector(selector, &labels_of(self.namespaces, &pod.name.namespace))
            }
            None => name_of(policy).namespace == pod.name.namespace,
        };
        let selected = match &peer.pod_selector {
            Some(selector) => matching::selector(selector, &pod.labels),
            None => peer.namespace_selector.is_some(),
        };
        namespace && selected
    }

    /// A named port is looked up at the server's pod, whatever the direction of the rule. A node has none.
    fn matches_port(&self, port: &NetworkPolicyPort, connection: &Connection<'_>) -> bool {
        let named_ports = self
            .as_pod(connection.server)
            .map_or(&[][..], |pod| &pod.named_ports);
        matching::port(port, connection.protocol, connection.port, named_ports)
    }
}

pub(super) fn name_of(policy: &NetworkPolicy) -> ObjectName {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    ObjectName::new(
        text(&policy.metadata.namespace),
        text(&policy.metadata.name),
    )
}

/// Whether a policy applies to a pod. An absent selector is an empty one.
fn selects(policy: &NetworkPolicy, pod: &Pod) -> bool {
    let selector = policy
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_selector.as_ref());
    policy.metadata.namespace.as_deref() == Some(pod.name.namespace.as_str())
        && selector.is_none_or(|selector| matching::selector(selector, &pod.labels))
}

/// The rules of a direction, if the policy is about that direction at all. Without `policyTypes` it is about
/// ingress, and about egress if it has egress rules.
pub(super) fn rules(spec: &NetworkPolicySpec, way: Way) -> Option<Vec<Rule<'_>>> {
    let ingress = spec.ingress.as_deref().unwrap_or_default();
    let egress = spec.egress.as_deref().unwrap_or_default();
    let word = match way {
        Way::Ingress => "Ingress",
        Way::Egress => "Egress",
    };
    let concerned = match spec.policy_types.as_deref().unwrap_or_default() {
        [] => way == Way::Ingress || !egress.is_empty(),
        types => types.iter().any(|stated| stated == word),
    };
    let rules = match way {
        Way::Ingress => ingress
            .iter()
            .map(|rule| Rule {
                peers: list(&rule.from),
                ports: list(&rule.ports),
            })
            .collect(),
        Way::Egress => egress
            .iter()
            .map(|rule| Rule {
                peers: list(&rule.to),
                ports: list(&rule.ports),
            })
            .collect(),
    };
    concerned.then_some(rules)
}

/// The labels of a namespace, with the one that the API server always sets.
pub(super) fn labels_of(namespaces: &BTreeMap<String, Labels>, namespace: &str) -> Labels {
    let mut labels = namespaces.get(namespace).cloned().unwrap_or_default();
    labels.insert(
        "kubernetes.io/metadata.name".to_owned(),
        namespace.to_owned(),
    );
    labels
}

fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}
