//! Calico's own NetworkPolicies (`projectcalico.org/v3`): the same as the Kubernetes form, in Calico's words.
//!
//! What differs, by Calico's reference of NetworkPolicy:
//! - A rule has one protocol and one peer, and ports belong to the destination.
//! - Policies have an order; these have the one that Calico gives to Kubernetes' policies, so that both kinds mix as
//!   they do in Kubernetes.
//! - A selector of peers also matches network sets; the label `projectcalico.org/orchestrator` is on pods only.
//! - Lists and selectors have a greatest length; what is longer is cut into several rules.

use std::collections::BTreeMap;

use netpol_common::words::Protocol;
use serde_json::{Map, Value, json};

use super::yaml::{self, Comments};
use super::{evidence, head};
use crate::policy::model::{Direction, Policy, PolicyPeer, PortSpec, Rule, Selector, Texts};
use crate::policy::text::list;

/// The order of the policies that Calico makes of Kubernetes' own.
const ORDER: u32 = 1000;

/// The label that Calico gives to every namespace, with its name.
const NAMESPACE: &str = "projectcalico.org/name";

/// What is true of pods only.
const IS_POD: &str = "projectcalico.org/orchestrator == 'k8s'";

/// The longest lists and selectors that Calico's definitions of its resources admit.
const MOST_PORTS: usize = 50;
const MOST_NETS: usize = 256;
const LONGEST_SELECTOR: usize = 1024;
/// The most rules of one direction that they admit; these cannot be cut without a second policy.
const MOST_RULES: usize = 1024;

/// Fields of a rule's source or destination.
type Entity = Map<String, Value>;

/// A policy as one YAML document that begins with [`HEADER`](super::HEADER).
#[must_use]
pub fn yaml(policy: &Policy, with_evidence: bool) -> String {
    let mut comments: Comments = evidence::of_policy(policy, "").into_iter().collect();
    let [ingress, egress] = Direction::ALL.map(|direction| rules(policy, direction, &mut comments));
    let value = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.workload.namespace},
        "spec": {
            "tier": "default",
            "order": ORDER,
            "selector": subject(&policy.subject),
            "types": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    });
    if !with_evidence {
        comments.clear();
    }
    format!("{}{}", head(policy), yaml::document(&value, &comments))
}

/// What Calico would reject of these policies in this form, in words.
#[must_use]
pub fn remarks(policies: &[Policy]) -> Vec<String> {
    let directions = policies
        .iter()
        .flat_map(|policy| Direction::ALL.map(|direction| (policy, direction)));
    let found = directions.flat_map(|(policy, direction)| {
        let rules = policy.rules(direction);
        let written: usize = rules.iter().map(|rule| translate(direction, rule).len()).sum();
        let left_out = rules.iter().flat_map(|rule| &rule.peers).map(left_out);
        let (workload, left_out) = (&policy.workload, left_out.max().unwrap_or(0));
        let rules = (written > MOST_RULES).then(|| {
            format!(
                "TooLong: {workload}: {direction} is {written} rules in Calico's form, which admits {MOST_RULES}: write \
                 wider peers (--external aggregate, --peers namespace), or apply Kubernetes' form"
            )
        });
        let nets = (left_out > MOST_NETS).then(|| {
            format!(
                "TooLong: {workload}: {direction} leaves {left_out} blocks out of one in Calico's form, which admits \
                 {MOST_NETS}: give the cluster's ranges as fewer blocks (--cluster-cidr), or apply Kubernetes' form"
            )
        });
        rules.into_iter().chain(nets)
    });
    found.collect()
}

/// How many blocks a peer leaves out.
fn left_out(peer: &PolicyPeer) -> usize {
    match peer {
        PolicyPeer::BlockExcept { except, .. } => except.len(),
        _ => 0,
    }
}

/// The rules of one direction, with the evidence of each above the first that it became.
fn rules(policy: &Policy, direction: Direction, comments: &mut Comments) -> Vec<Value> {
    let path = format!("/spec/{}", direction.name());
    let mut written = Vec::new();
    for rule in policy.rules(direction) {
        let lines = evidence::lines(direction, &rule.evidence);
        comments.insert(format!("{path}/{}", written.len()), lines);
        written.extend(translate(direction, rule));
    }
    if let Some(lines) = evidence::of_direction(policy, direction) {
        comments.insert(path, lines);
    }
    written
}

/// The rules that a rule becomes: one for each peer and protocol.
fn translate(direction: Direction, rule: &Rule) -> Vec<Value> {
    let ports = ports(&rule.ports);
    let of_peer = |peer: Entity| {
        let ports = ports.iter();
        ports.map(move |(protocol, ports)| one(direction, peer.clone(), *protocol, ports))
    };
    peers(&rule.peers).into_iter().flat_map(of_peer).collect()
}

fn one(direction: Direction, mut peer: Entity, protocol: Protocol, ports: &[Value]) -> Value {
    let mut rule = json!({"action": "Allow", "protocol": protocol.name()});
    match direction {
        Direction::Ingress => {
            rule["source"] = peer.into();
            rule["destination"] = json!({"ports": ports});
        }
        Direction::Egress => {
            peer.insert("ports".to_owned(), ports.into());
            rule["destination"] = peer.into();
        }
    }
    rule
}

/// The ports of each protocol, in lists that are short enough.
fn ports(specs: &[PortSpec]) -> Vec<(Protocol, Vec<Value>)> {
    let mut by_protocol: BTreeMap<Protocol, Vec<Value>> = BTreeMap::new();
    for spec in specs {
        let port = match spec.end_port {
            None => json!(spec.port),
            Some(last) => json!(format!("{}:{last}", spec.port)),
        };
        by_protocol.entry(spec.protocol).or_default().push(port);
    }
    let lists = by_protocol.iter().flat_map(|(protocol, ports)| {
        ports
            .chunks(MOST_PORTS)
            .map(|ports| (*protocol, ports.to_vec()))
    });
    lists.collect()
}

/// Peers as what a rule's source or destination may say: pods one by one, blocks together.
fn peers(peers: &[PolicyPeer]) -> Vec<Entity> {
    let mut entities = Vec::new();
    let mut nets = Vec::new();
    for peer in peers {
        match peer {
            PolicyPeer::Pods { namespaces, pods } => {
                entities.extend(of_pods(namespaces.as_ref(), pods));
            }
            PolicyPeer::Block(block) => nets.push(json!(block)),
            PolicyPeer::Namespaces(names) => {
                entities.extend(of_pods(Some(names), &Selector::default()));
            }
            PolicyPeer::BlockExcept { block, except } => {
                let fields = [("nets", json!([block])), ("notNets", json!(except))];
                let fields = fields.map(|(name, value)| (name.to_owned(), value));
                entities.push(fields.into_iter().collect());
            }
        }
    }
    let nets = nets.chunks(MOST_NETS);
    entities.extend(nets.map(|nets| [("nets".to_owned(), nets.into())].into_iter().collect()));
    entities
}

/// Pods by namespace and labels; without namespaces, of the policy's own.
fn of_pods(namespaces: Option<&Texts>, pods: &Selector) -> Vec<Entity> {
    let room = LONGEST_SELECTOR - IS_POD.len() - " && ".len();
    let selectors = expressions(pods, room).into_iter().map(|expression| {
        let parts = [IS_POD.to_owned(), expression].into_iter();
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        parts.join(" && ")
    });
    let namespaces = match namespaces {
        None => vec![None],
        Some(names) => {
            let by_name = Selector::default().with(NAMESPACE, names.clone());
            let expressions = expressions(&by_name, LONGEST_SELECTOR).into_iter();
            expressions.map(Some).collect()
        }
    };
    let entity = |selector: String, namespaces: &Option<String>| {
        let mut entity = Entity::new();
        entity.insert("selector".to_owned(), selector.into());
        if let Some(namespaces) = namespaces {
            entity.insert("namespaceSelector".to_owned(), namespaces.clone().into());
        }
        entity
    };
    selectors
        .flat_map(|selector| {
            namespaces
                .iter()
                .map(move |namespaces| entity(selector.clone(), namespaces))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn subject(subject: &Selector) -> String {
    match subject.is_empty() {
        true => "all()".to_owned(),
        false => expression(subject),
    }
}

/// Expressions that together match what a selector does, each of at most `longest` bytes if that can be.
fn expressions(selector: &Selector, longest: usize) -> Vec<String> {
    let whole = expression(selector);
    let widest = selector.iter().max_by_key(|(_, values)| values.len());
    match widest {
        Some((key, values)) if whole.len() > longest && values.len() > 1 => {
            let values: Vec<&str> = values.iter().collect();
            let halves = values.chunks(values.len().div_ceil(2));
            let halves = halves.map(|half| selector.with(key, half.iter().copied().collect()));
            halves
                .flat_map(|part| expressions(&part, longest))
                .collect()
        }
        _ => vec![whole],
    }
}

fn expression(selector: &Selector) -> String {
    let terms: Vec<String> = (selector.iter())
        .map(|(key, values)| match (values.len(), values.first()) {
            (1, Some(value)) => format!("{key} == {}", quoted(value)),
            _ => format!("{key} in {{{}}}", list(values.iter().map(quoted))),
        })
        .collect();
    terms.join(" && ")
}

/// A text in quotes. There is no escaping: only names that the API server would reject hold quotes at all, and one
/// with both kinds loses one, so that it matches nothing.
fn quoted(text: &str) -> String {
    match text.contains('\'') {
        false => format!("'{text}'"),
        true => format!("\"{}\"", text.replace('"', "")),
    }
}
