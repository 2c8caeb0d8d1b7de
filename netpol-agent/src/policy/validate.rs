//! What the API server rejects in a NetworkPolicy, each with the field that is wrong.
//!
//! The rules are those of `networking.k8s.io/v1` as its reference states them, KEP-2079 for `endPort` among them.

use std::fmt;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Something that the API server would reject.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Where, as a path of fields from the object on.
    pub field: String,
    /// What is wrong there.
    pub problem: String,
}

/// Everything that is wrong with a policy.
#[must_use]
pub fn validate(policy: &NetworkPolicy) -> Vec<Invalid> {
    let mut found = Found(Vec::new());
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    found.check(
        "metadata.name",
        is_subdomain(name),
        "is no RFC 1123 subdomain",
        name,
    );
    found.check(
        "metadata.namespace",
        is_label(namespace),
        "is no RFC 1123 label",
        namespace,
    );
    let Some(spec) = &policy.spec else {
        return found.0;
    };
    if let Some(selector) = &spec.pod_selector {
        found.selector("spec.podSelector", selector);
    }
    for (number, word) in spec.policy_types.iter().flatten().enumerate() {
        let known = word == "Ingress" || word == "Egress";
        found.check(
            &format!("spec.policyTypes[{number}]"),
            known,
            "is neither Ingress nor Egress",
            word,
        );
    }
    for (number, rule) in spec.ingress.iter().flatten().enumerate() {
        let path = format!("spec.ingress[{number}]");
        found.rule(&path, "from", rule.from.as_deref(), rule.ports.as_deref());
    }
    for (number, rule) in spec.egress.iter().flatten().enumerate() {
        let path = format!("spec.egress[{number}]");
        found.rule(&path, "to", rule.to.as_deref(), rule.ports.as_deref());
    }
    found.0
}

/// What was found so far.
struct Found(Vec<Invalid>);

impl Found {
    fn check(&mut self, field: &str, holds: bool, problem: &str, value: impl fmt::Debug) {
        if !holds {
            self.0.push(Invalid {
                field: field.to_owned(),
                problem: format!("{value:?} {problem}"),
            });
        }
    }

    fn rule(
        &mut self,
        path: &str,
        peers_field: &str,
        peers: Option<&[NetworkPolicyPeer]>,
        ports: Option<&[NetworkPolicyPort]>,
    ) {
        for (number, peer) in peers.unwrap_or_default().iter().enumerate() {
            self.peer(&format!("{path}.{peers_field}[{number}]"), peer);
        }
        for (number, port) in ports.unwrap_or_default().iter().enumerate() {
            self.port(&format!("{path}.ports[{number}]"), port);
        }
    }

    fn peer(&mut self, path: &str, peer: &NetworkPolicyPeer) {
        let selectors = [
            ("podSelector", &peer.pod_selector),
            ("namespaceSelector", &peer.namespace_selector),
        ];
        let selecting = selectors.iter().any(|(_, selector)| selector.is_some());
        for (field, selector) in selectors {
            if let Some(selector) = selector {
                self.selector(&format!("{path}.{field}"), selector);
            }
        }
        if let Some(block) = &peer.ip_block {
            self.check(
                path,
                !selecting,
                "cannot stand beside a selector",
                "ipBlock",
            );
            self.block(&format!("{path}.ipBlock"), block);
        }
        let stated = selecting || peer.ip_block.is_some();
        self.check(
            path,
            stated,
            "is missing: podSelector, namespaceSelector or ipBlock",
            "a peer",
        );
    }

    fn block(&mut self, path: &str, block: &IPBlock) {
        let cidr: Option<IpNet> = block.cidr.parse().ok();
        self.check(
            &format!("{path}.cidr"),
            cidr.is_some(),
            "is no CIDR",
            &block.cidr,
        );
        for (number, except) in block.except.iter().flatten().enumerate() {
            let field = format!("{path}.except[{number}]");
            let inner: Option<IpNet> = except.parse().ok();
            self.check(&field, inner.is_some(), "is no CIDR", except);
            if let (Some(cidr), Some(inner)) = (cidr, inner) {
                let within = cidr.contains(&inner) && inner.prefix_len() > cidr.prefix_len();
                self.check(&field, within, "is not strictly within cidr", except);
            }
        }
    }

    fn port(&mut self, path: &str, port: &NetworkPolicyPort) {
        if let Some(protocol) = &port.protocol {
            let known = matches!(protocol.as_str(), "TCP" | "UDP" | "SCTP");
            self.check(
                &format!("{path}.protocol"),
                known,
                "is none of TCP, UDP, SCTP",
                protocol,
            );
        }
        let first = match &port.port {
            Some(IntOrString::Int(first)) => Some(*first),
            _ => None,
        };
        if let Some(first) = first {
            self.check(
                &format!("{path}.port"),
                is_port(first),
                "is not between 1 and 65535",
                first,
            );
        }
        if let Some(IntOrString::String(name)) = &port.port {
            self.check(
                &format!("{path}.port"),
                is_port_name(name),
                "is no name of a port",
                name,
            );
        }
        if let Some(last) = port.end_port {
            let field = format!("{path}.endPort");
            self.check(&field, first.is_some(), "needs a numeric port", last);
            let ordered = first.is_none_or(|first| last >= first) && is_port(last);
            self.check(&field, ordered, "is below port or above 65535", last);
        }
    }

    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        for (key, value) in selector.match_labels.iter().flatten() {
            let field = format!("{path}.matchLabels");
            self.check(&field, is_label_key(key), "is no label key", key);
            self.check(&field, is_label_value(value), "is no label value", value);
        }
        for (number, requirement) in selector.match_expressions.iter().flatten().enumerate() {
            self.requirement(&format!("{path}.matchExpressions[{number}]"), requirement);
        }
    }

    fn requirement(&mut self, path: &str, requirement: &LabelSelectorRequirement) {
        self.check(
            &format!("{path}.key"),
            is_label_key(&requirement.key),
            "is no label key",
            &requirement.key,
        );
        let values = requirement.values.as_deref().unwrap_or_default();
        let fitting = match requirement.operator.as_str() {
            "In" | "NotIn" => Some(!values.is_empty()),
            "Exists" | "DoesNotExist" => Some(values.is_empty()),
            _ => None,
        };
        let known = "is none of In, NotIn, Exists, DoesNotExist";
        self.check(
            &format!("{path}.operator"),
            fitting.is_some(),
            known,
            &requirement.operator,
        );
        self.check(
            &format!("{path}.values"),
            fitting != Some(false),
            "do not fit the operator",
            values,
        );
        for value in values {
            self.check(
                &format!("{path}.values"),
                is_label_value(value),
                "is no label value",
                value,
            );
        }
    }
}

fn is_port(number: i32) -> bool {
    (1..=65535).contains(&number)
}

/// An IANA service name (RFC 6335): at most 15 characters, a letter among them, hyphens single and inside.
fn is_port_name(name: &str) -> bool {
    let characters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=15).contains(&name.len())
        && name.chars().all(characters)
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// An RFC 1123 label.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 labels joined by dots; only the whole is bounded in length.
fn is_subdomain(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// `[prefix/]name`, the prefix a subdomain, the name as a value that is not empty.
pub(super) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// At most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends; or empty.
pub(super) fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let outer = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63
            && value.chars().all(inner)
            && value.starts_with(outer)
            && value.ends_with(outer))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(spec: Value) -> Vec<String> {
        let object = json!({"metadata": {"namespace": "shop", "name": "p"}, "spec": spec});
        let policy: NetworkPolicy = serde_json::from_value(object).unwrap();
        validate(&policy)
            .into_iter()
            .map(|invalid| invalid.field)
            .collect()
    }

    fn of_port(port: Value) -> Vec<String> {
        fields(json!({"podSelector": {}, "egress": [{"ports": [port]}]}))
    }

    fn of_peer(peer: Value) -> Vec<String> {
        fields(json!({"podSelector": {}, "ingress": [{"from": [peer]}]}))
    }

    #[test]
    fn what_is_right_passes() {
        assert_eq!(
            of_port(json!({"port": 80, "endPort": 80, "protocol": "SCTP"})),
            [""; 0]
        );
        assert_eq!(of_port(json!({"port": "http-1"})), [""; 0]);
        assert_eq!(
            of_peer(json!({"podSelector": {}, "namespaceSelector": {}})),
            [""; 0]
        );
        assert_eq!(
            of_peer(json!({"ipBlock": {"cidr": "fd00::/8", "except": ["fd00::/9"]}})),
            [""; 0]
        );
    }

    #[test]
    fn ports_are_checked() {
        let cases = [
            (json!({"port": 0}), "port"),
            (json!({"port": 65536}), "port"),
            (json!({"port": "UPPER"}), "port"),
            (json!({"port": "1234"}), "port"),
            (json!({"port": 80, "endPort": 79}), "endPort"),
            (json!({"port": "web", "endPort": 80}), "endPort"),
            (json!({"endPort": 80}), "endPort"),
            (json!({"port": 80, "protocol": "ICMP"}), "protocol"),
        ];
        for (port, field) in cases {
            assert_eq!(
                of_port(port.clone()),
                [format!("spec.egress[0].ports[0].{field}")],
                "{port}"
            );
        }
    }

    #[test]
    fn peers_are_checked() {
        let block = |block: Value| json!({"ipBlock": block});
        let expression = |operator: &str, values: Value| json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}});
        let cases = [
            (json!({}), ""),
            (
                json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
                "",
            ),
            (block(json!({"cidr": "10.0.0.0"})), ".ipBlock.cidr"),
            (
                block(json!({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]})),
                ".ipBlock.except[0]",
            ),
            (
                block(json!({"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]})),
                ".ipBlock.except[0]",
            ),
            (
                block(json!({"cidr": "10.0.0.0/8", "except": ["fd00::/9"]})),
                ".ipBlock.except[0]",
            ),
            (
                json!({"podSelector": {"matchLabels": {"a b": ""}}}),
                ".podSelector.matchLabels",
            ),
            (
                json!({"podSelector": {"matchLabels": {"a": "-"}}}),
                ".podSelector.matchLabels",
            ),
            (
                expression("In", json!([])),
                ".podSelector.matchExpressions[0].values",
            ),
            (
                expression("Exists", json!(["x"])),
                ".podSelector.matchExpressions[0].values",
            ),
            (
                expression("Like", json!(["x"])),
                ".podSelector.matchExpressions[0].operator",
            ),
        ];
        for (peer, field) in cases {
            assert_eq!(
                of_peer(peer.clone()),
                [format!("spec.ingress[0].from[0]{field}")],
                "{peer}"
            );
        }
    }

    #[test]
    fn names_and_types_are_checked() {
        assert_eq!(
            fields(json!({"policyTypes": ["Both"]})),
            ["spec.policyTypes[0]"]
        );
        let object = json!({"metadata": {"namespace": "a.b", "name": "A"}, "spec": {}});
        let policy: NetworkPolicy = serde_json::from_value(object).unwrap();
        assert_eq!(validate(&policy).len(), 2);
    }
}
