//! Calico's NetworkPolicies: what Calico's reference says of the subset that is written.
//!
//! <https://docs.tigera.io/calico/latest/reference/resources/networkpolicy>, in short:
//! - Policies of a tier apply by their order, then by name; the first rule that matches decides. If policies of a
//!   direction apply to a pod and none of their rules matches, the connection is denied.
//! - A rule matches if its protocol, source and destination do; of each, all fields that are there must match.
//! - A selector matches pods, without a selector of namespaces those of the policy's own. Every pod bears its
//!   namespace and its orchestrator as labels, every namespace its name.
//! - Nets match any address, also pods' and nodes'.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::{Answer, Asked, Metadata, Other, Ports, ReadError, Subject, any_contains, documents};
use crate::identity::objects::Labels;
use crate::policy::model::Direction;

/// A policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CalicoNetworkPolicy {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    tier: Option<String>,
    order: Option<f64>,
    selector: Expression,
    types: Vec<Type>,
    #[serde(default)]
    ingress: Vec<Rule>,
    #[serde(default)]
    egress: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
enum Type {
    Ingress,
    Egress,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    action: Action,
    protocol: Option<String>,
    #[serde(default)]
    source: Entity,
    #[serde(default)]
    destination: Entity,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
enum Action {
    Allow,
    Deny,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Entity {
    selector: Option<Expression>,
    namespace_selector: Option<Expression>,
    nets: Option<Vec<IpNet>>,
    not_nets: Vec<IpNet>,
    ports: Option<Vec<PortOrRange>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Port")]
struct PortOrRange(Ports);

/// A port as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Range(String),
}

/// Terms of a selector that all have to hold. None: everything.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
struct Expression(Vec<Term>);

/// A label with one of some values.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Term {
    key: String,
    values: Vec<String>,
}

/// The policies of a YAML stream.
///
/// # Errors
///
/// Whatever is no NetworkPolicy of Calico, or holds what is not understood.
pub fn read(text: &str) -> Result<Vec<CalicoNetworkPolicy>, ReadError> {
    let policies: Vec<CalicoNetworkPolicy> = documents(text)?;
    for policy in &policies {
        policy.check()?;
    }
    Ok(policies)
}

/// What these policies, and no others, say at a pod.
#[must_use]
pub fn answer(policies: &[CalicoNetworkPolicy], subject: Subject<'_>, asked: &Asked<'_>) -> Answer {
    let mut applying: Vec<&CalicoNetworkPolicy> = (policies.iter())
        .filter(|policy| policy.applies(subject, asked.direction))
        .collect();
    applying.sort_by(|a, b| {
        let order = a.order().total_cmp(&b.order());
        order.then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
    let decisive = applying.iter().find_map(|policy| {
        let rules = policy.rules(asked.direction).iter();
        let namespace = &policy.metadata.namespace;
        rules
            .filter(|rule| rule.matches(namespace, asked))
            .map(|rule| rule.action)
            .next()
    });
    let own_node = asked.direction == Direction::Ingress && asked.other.is_own_node();
    Answer {
        isolated: !applying.is_empty(),
        allowed: own_node || decisive.map_or(applying.is_empty(), |action| action == Action::Allow),
    }
}

impl CalicoNetworkPolicy {
    fn check(&self) -> Result<(), ReadError> {
        let unsupported = |problem: &str| Err(self.metadata.unsupported(problem));
        if (&*self.api_version, &*self.kind) != ("projectcalico.org/v3", "NetworkPolicy") {
            return unsupported("is no NetworkPolicy of projectcalico.org/v3");
        }
        if self
            .spec
            .tier
            .as_deref()
            .is_some_and(|tier| tier != "default")
        {
            return unsupported("is in another tier than the default one");
        }
        for direction in Direction::ALL {
            for rule in self.rules(direction) {
                rule.check(direction)
                    .map_err(|problem| self.metadata.unsupported(problem))?;
            }
        }
        Ok(())
    }

    /// Without an order, a policy is the last.
    fn order(&self) -> f64 {
        self.spec.order.unwrap_or(f64::INFINITY)
    }

    fn applies(&self, subject: Subject<'_>, direction: Direction) -> bool {
        let wanted = match direction {
            Direction::Ingress => Type::Ingress,
            Direction::Egress => Type::Egress,
        };
        self.spec.types.contains(&wanted)
            && self.metadata.namespace == subject.namespace
            && self
                .spec
                .selector
                .matches_pod(subject.namespace, subject.labels)
    }

    fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.spec.ingress,
            Direction::Egress => &self.spec.egress,
        }
    }
}

impl Rule {
    /// Ports need a protocol and are the destination's; the subject's own side says nothing else.
    fn check(&self, direction: Direction) -> Result<(), &'static str> {
        let own = match direction {
            Direction::Ingress => &self.destination,
            Direction::Egress => &self.source,
        };
        if own.names_peers() {
            return Err("a rule names peers on the side of the policy's own pods");
        }
        if self.source.ports.is_some() {
            return Err("a rule is about the source's ports");
        }
        let with_ports = ["TCP", "UDP", "SCTP"];
        let has_protocol =
            (self.protocol.as_deref()).is_some_and(|name| with_ports.contains(&name));
        match self.destination.ports.is_none() || has_protocol {
            true => Ok(()),
            false => Err("a rule has ports without a protocol that has them"),
        }
    }

    fn matches(&self, namespace: &str, asked: &Asked<'_>) -> bool {
        let peer = match asked.direction {
            Direction::Ingress => &self.source,
            Direction::Egress => &self.destination,
        };
        let protocol = self.protocol.as_deref();
        let ports = self.destination.ports.as_deref();
        protocol.is_none_or(|name| name == asked.protocol.name())
            && ports.is_none_or(|ports| ports.iter().any(|port| port.0.contains(asked.port)))
            && peer.matches(namespace, &asked.other)
    }
}

impl Entity {
    fn names_peers(&self) -> bool {
        self.selector.is_some()
            || self.namespace_selector.is_some()
            || self.nets.is_some()
            || !self.not_nets.is_empty()
    }

    fn matches(&self, namespace: &str, other: &Other<'_>) -> bool {
        let address: IpAddr = other.address();
        let nets = self.nets.as_deref();
        let by_address = nets.is_none_or(|nets| any_contains(nets, address))
            && !any_contains(&self.not_nets, address);
        by_address && self.matches_endpoint(namespace, other)
    }

    fn matches_endpoint(&self, namespace: &str, other: &Other<'_>) -> bool {
        if self.selector.is_none() && self.namespace_selector.is_none() {
            return true;
        }
        let Other::Pod {
            namespace: of_pod,
            labels,
            ..
        } = *other
        else {
            return false;
        };
        let in_namespace = match &self.namespace_selector {
            Some(selector) => selector.matches_namespace(of_pod),
            None => of_pod == namespace,
        };
        let selector = self.selector.as_ref();
        in_namespace && selector.is_none_or(|selector| selector.matches_pod(of_pod, labels))
    }
}

impl Expression {
    fn matches_pod(&self, namespace: &str, labels: &Labels) -> bool {
        self.0.iter().all(|term| match &*term.key {
            "projectcalico.org/orchestrator" => term.has("k8s"),
            "projectcalico.org/namespace" => term.has(namespace),
            key => labels.get(key).is_some_and(|value| term.has(value)),
        })
    }

    fn matches_namespace(&self, name: &str) -> bool {
        self.0.iter().all(|term| {
            ["projectcalico.org/name", "kubernetes.io/metadata.name"].contains(&&*term.key)
                && term.has(name)
        })
    }
}

impl Term {
    fn has(&self, value: &str) -> bool {
        self.values.iter().any(|listed| listed == value)
    }
}

impl TryFrom<Port> for PortOrRange {
    type Error = String;

    fn try_from(port: Port) -> Result<Self, String> {
        let range = match &port {
            Port::Number(number) => Some((*number, *number)),
            Port::Range(text) => text
                .split_once(':')
                .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?))),
        };
        match (range, port) {
            (Some((first, last)), _) if first <= last => Ok(Self(Ports { first, last })),
            (_, Port::Range(text)) => Err(format!("{text:?} is neither a port nor a range")),
            (_, Port::Number(number)) => Err(format!("{number} is no port")),
        }
    }
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim() == "all()" {
            return Ok(Self(Vec::new()));
        }
        let mut rest = &*text;
        let mut terms = Vec::new();
        loop {
            let (term, after) = term(rest)
                .ok_or_else(|| format!("the selector {text:?} is not understood at {rest:?}"))?;
            terms.push(term);
            match after.strip_prefix("&&") {
                Some(after) => rest = after,
                None if after.is_empty() => return Ok(Self(terms)),
                None => {
                    return Err(format!(
                        "the selector {text:?} is not understood at {after:?}"
                    ));
                }
            }
        }
    }
}

/// `key == 'value'` or `key in {'value', …}`, and what comes behind it.
fn term(text: &str) -> Option<(Term, &str)> {
    let text = text.trim_start();
    let is_key = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let (key, rest) = text.split_at(text.find(|c| !is_key(c))?);
    let key = Some(key).filter(|key| !key.is_empty())?.to_owned();
    let rest = rest.trim_start();
    if let Some(rest) = rest.strip_prefix("==") {
        let (value, rest) = literal(rest)?;
        return Some((
            Term {
                key,
                values: vec![value],
            },
            rest,
        ));
    }
    let mut rest = rest.strip_prefix("in")?.trim_start().strip_prefix('{')?;
    let mut values = Vec::new();
    loop {
        let (value, after) = literal(rest)?;
        values.push(value);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Some((Term { key, values }, after.strip_prefix('}')?.trim_start())),
        }
    }
}

/// Text in quotes of either kind, and what comes behind it and behind blanks.
fn literal(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| "'\"".contains(*c))?;
    let (value, rest) = text[1..].split_once(quote)?;
    Some((value.to_owned(), rest.trim_start()))
}
