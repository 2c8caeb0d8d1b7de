//! CiliumNetworkPolicies: what Cilium's documentation of its policy language says of the subset that is written.
//!
//! <https://docs.cilium.io/en/stable/security/policy/language/>, in short:
//! - A policy applies to the endpoints of its namespace that its selector matches, and isolates them in a direction
//!   if it has rules of that direction.
//! - A rule without any field of peers matches everybody, if it has ports; one without either matches nobody. A field
//!   that is there and empty matches nobody.
//! - Selectors of endpoints match pods; those without a namespace match in the policy's own only.
//! - Blocks match what is outside the cluster, neither pods nor nodes.
//! - `host` is the endpoint's own node, `remote-node` every other one, `kube-apiserver` wherever the API server is.

use std::collections::BTreeMap;

use ipnet::IpNet;
use netpol_common::words::Protocol;
use serde::Deserialize;

use super::{Answer, Asked, Metadata, Other, Ports, ReadError, Subject, any_contains, documents};
use crate::identity::objects::Labels;
use crate::policy::model::Direction;

/// The label that holds an endpoint's namespace.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// The most ports that one list may hold.
const MOST_PORTS: usize = 40;

/// A policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CiliumNetworkPolicy {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    endpoint_selector: Selector,
    #[serde(default)]
    ingress: Vec<IngressRule>,
    #[serde(default)]
    egress: Vec<EgressRule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IngressRule {
    from_endpoints: Option<Vec<Selector>>,
    #[serde(rename = "fromCIDR")]
    from_cidr: Option<Vec<IpNet>>,
    #[serde(rename = "fromCIDRSet")]
    from_cidr_set: Option<Vec<Block>>,
    from_entities: Option<Vec<Entity>>,
    to_ports: Option<Vec<PortRule>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct EgressRule {
    to_endpoints: Option<Vec<Selector>>,
    #[serde(rename = "toCIDR")]
    to_cidr: Option<Vec<IpNet>>,
    #[serde(rename = "toCIDRSet")]
    to_cidr_set: Option<Vec<Block>>,
    to_entities: Option<Vec<Entity>>,
    to_ports: Option<Vec<PortRule>>,
}

/// A rule of either direction.
#[derive(Clone, Copy)]
struct Rule<'a> {
    endpoints: Option<&'a [Selector]>,
    cidr: Option<&'a [IpNet]>,
    cidr_set: Option<&'a [Block]>,
    entities: Option<&'a [Entity]>,
    ports: Option<&'a [PortRule]>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    cidr: IpNet,
    #[serde(default)]
    except: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Entity {
    Host,
    RemoteNode,
    #[serde(rename = "kube-apiserver")]
    KubeApiServer,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortRule {
    ports: Vec<PortProtocol>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PortProtocol {
    port: String,
    end_port: Option<u16>,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// The policies of a YAML stream.
///
/// # Errors
///
/// Whatever is no CiliumNetworkPolicy, or holds what is not understood.
pub fn read(text: &str) -> Result<Vec<CiliumNetworkPolicy>, ReadError> {
    let policies: Vec<CiliumNetworkPolicy> = documents(text)?;
    for policy in &policies {
        policy.check()?;
    }
    Ok(policies)
}

/// What these policies, and no others, say at a pod.
#[must_use]
pub fn answer(policies: &[CiliumNetworkPolicy], subject: Subject<'_>, asked: &Asked<'_>) -> Answer {
    let mut isolated = false;
    let mut allowed = false;
    for policy in policies.iter().filter(|policy| policy.selects(subject)) {
        let rules = policy.rules(asked.direction);
        isolated |= !rules.is_empty();
        let namespace = &policy.metadata.namespace;
        allowed |= rules.iter().any(|rule| rule.matches(namespace, asked));
    }
    let own_node = asked.direction == Direction::Ingress && asked.other.is_own_node();
    Answer {
        isolated,
        allowed: allowed || !isolated || own_node,
    }
}

impl CiliumNetworkPolicy {
    fn check(&self) -> Result<(), ReadError> {
        let unsupported = |problem: &str| Err(self.metadata.unsupported(problem));
        if (&*self.api_version, &*self.kind) != ("cilium.io/v2", "CiliumNetworkPolicy") {
            return unsupported("is no CiliumNetworkPolicy of cilium.io/v2");
        }
        for rule in Direction::ALL
            .into_iter()
            .flat_map(|direction| self.rules(direction))
        {
            if rule.kinds().into_iter().filter(|given| *given).count() > 1 {
                return unsupported("a rule has peers of more than one kind, which Cilium rejects");
            }
            for ports in rule.ports.into_iter().flatten() {
                if ports.ports.is_empty() || ports.ports.len() > MOST_PORTS {
                    return unsupported("a list of ports is empty or longer than Cilium takes");
                }
                if !ports.ports.iter().all(PortProtocol::is_known) {
                    return unsupported(
                        "a port has no number or another protocol than TCP, UDP or SCTP",
                    );
                }
            }
        }
        Ok(())
    }

    fn selects(&self, subject: Subject<'_>) -> bool {
        self.metadata.namespace == subject.namespace
            && (self.spec.endpoint_selector).matches(subject.namespace, subject.labels)
    }

    fn rules(&self, direction: Direction) -> Vec<Rule<'_>> {
        match direction {
            Direction::Ingress => self.spec.ingress.iter().map(Rule::from).collect(),
            Direction::Egress => self.spec.egress.iter().map(Rule::from).collect(),
        }
    }
}

impl<'a> From<&'a IngressRule> for Rule<'a> {
    fn from(rule: &'a IngressRule) -> Self {
        Self {
            endpoints: rule.from_endpoints.as_deref(),
            cidr: rule.from_cidr.as_deref(),
            cidr_set: rule.from_cidr_set.as_deref(),
            entities: rule.from_entities.as_deref(),
            ports: rule.to_ports.as_deref(),
        }
    }
}

impl<'a> From<&'a EgressRule> for Rule<'a> {
    fn from(rule: &'a EgressRule) -> Self {
        Self {
            endpoints: rule.to_endpoints.as_deref(),
            cidr: rule.to_cidr.as_deref(),
            cidr_set: rule.to_cidr_set.as_deref(),
            entities: rule.to_entities.as_deref(),
            ports: rule.to_ports.as_deref(),
        }
    }
}

impl Rule<'_> {
    /// Which fields of peers there are.
    fn kinds(&self) -> [bool; 4] {
        [
            self.endpoints.is_some(),
            self.cidr.is_some(),
            self.cidr_set.is_some(),
            self.entities.is_some(),
        ]
    }

    fn matches(&self, namespace: &str, asked: &Asked<'_>) -> bool {
        let everybody = !self.kinds().contains(&true);
        if everybody && self.ports.is_none() {
            return false;
        }
        (everybody || self.matches_peer(namespace, &asked.other)) && self.matches_port(asked)
    }

    fn matches_peer(&self, namespace: &str, other: &Other<'_>) -> bool {
        let entity = |entity: &Entity| entity.is(other);
        let by_entity = self.entities.into_iter().flatten().any(entity);
        let by_kind = match *other {
            Other::Pod {
                namespace: of_pod,
                labels,
                ..
            } => {
                let endpoints = self.endpoints.into_iter().flatten();
                endpoints
                    .filter(|selector| selector.names_namespace() || namespace == of_pod)
                    .any(|selector| selector.matches(of_pod, labels))
            }
            Other::Outside { address, .. } => {
                any_contains(self.cidr.unwrap_or_default(), address)
                    || self.cidr_set.into_iter().flatten().any(|block| {
                        block.cidr.contains(&address) && !any_contains(&block.except, address)
                    })
            }
            Other::Node { .. } => false,
        };
        by_entity || by_kind
    }

    fn matches_port(&self, asked: &Asked<'_>) -> bool {
        let Some(rules) = self.ports else { return true };
        rules
            .iter()
            .flat_map(|rule| &rule.ports)
            .any(|port| port.matches(asked.protocol, asked.port))
    }
}

impl Entity {
    fn is(self, other: &Other<'_>) -> bool {
        match (self, other) {
            (Self::Host, Other::Node { own, .. }) => *own,
            (Self::RemoteNode, Other::Node { own, .. }) => !own,
            (
                Self::KubeApiServer,
                Other::Node { api_server, .. } | Other::Outside { api_server, .. },
            ) => *api_server,
            _ => false,
        }
    }
}

impl PortProtocol {
    fn range(&self) -> Option<Ports> {
        let first = self.port.parse().ok().filter(|port| *port > 0)?;
        let last = self.end_port.unwrap_or(first);
        Some(Ports { first, last })
    }

    fn is_known(&self) -> bool {
        let protocol = self.protocol.as_deref();
        self.range().is_some() && protocol.is_some_and(|name| name.parse::<Protocol>().is_ok())
    }

    fn matches(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol.as_deref() == Some(protocol.name())
            && self.range().is_some_and(|range| range.contains(port))
    }
}

impl Selector {
    fn names_namespace(&self) -> bool {
        let keys = self.match_labels.keys();
        keys.chain(self.match_expressions.iter().map(|one| &one.key))
            .any(|key| plain(key) == NAMESPACE)
    }

    fn matches(&self, namespace: &str, labels: &Labels) -> bool {
        let value = |key: &str| match plain(key) {
            NAMESPACE => Some(namespace),
            key => labels.get(key).map(String::as_str),
        };
        let equal = self
            .match_labels
            .iter()
            .all(|(key, wanted)| value(key) == Some(wanted));
        let holds = |requirement: &Requirement| {
            let value = value(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.iter().any(|v| v == value));
            match requirement.operator {
                Operator::In => listed,
                Operator::NotIn => !listed,
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        };
        equal && self.match_expressions.iter().all(holds)
    }
}

/// A label's key without its source. Pods have labels of the source `k8s` only.
fn plain(key: &str) -> &str {
    key.strip_prefix("k8s:")
        .or_else(|| key.strip_prefix("any:"))
        .unwrap_or(key)
}
