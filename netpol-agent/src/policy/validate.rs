//! What the API server rejects in a NetworkPolicy, each with the field that is wrong.
//!
//! The rules are those of `networking.k8s.io/v1` as its reference states them, KEP-2079 for `endPort` among them, and as
//! the API server of Kubernetes 1.36 applies them. One is left out, since clusters hold policies from before it: blocks
//! with bits beyond their prefix are valid here.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How many bytes the keys and values of all annotations may have together.
const ANNOTATIONS: usize = 256 * 1024;

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
    found.metadata(&policy.metadata);
    if let Some(spec) = &policy.spec {
        found.spec(spec);
    }
    found.0
}

/// What was found so far.
struct Found(Vec<Invalid>);

impl Found {
    fn check(&mut self, field: &str, holds: bool, value: impl fmt::Debug, problem: &str) {
        if !holds {
            self.say(field, format!("{value:?} {problem}"));
        }
    }

    fn say(&mut self, field: &str, problem: String) {
        let field = field.to_owned();
        self.0.push(Invalid { field, problem });
    }

    fn metadata(&mut self, metadata: &ObjectMeta) {
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let (subdomain, label) = ("is no RFC 1123 subdomain", "is no RFC 1123 label");
        self.check("metadata.name", is_subdomain(name), name, subdomain);
        self.check("metadata.namespace", is_label(namespace), namespace, label);
        for (key, value) in metadata.labels.iter().flatten() {
            self.label("metadata.labels", key, value);
        }
        let mut size = 0;
        for (key, value) in metadata.annotations.iter().flatten() {
            let valid = is_label_key(&key.to_lowercase());
            self.check("metadata.annotations", valid, key, "is no annotation key");
            size += key.len() + value.len();
        }
        let problem = format!("are more than {ANNOTATIONS}");
        self.check("metadata.annotations", size <= ANNOTATIONS, size, &problem);
    }

    fn spec(&mut self, spec: &NetworkPolicySpec) {
        if let Some(selector) = &spec.pod_selector {
            self.selector("spec.podSelector", selector);
        }
        for (number, rule) in spec.ingress.iter().flatten().enumerate() {
            let path = format!("spec.ingress[{number}]");
            self.rule(&path, "from", rule.from.as_deref(), rule.ports.as_deref());
        }
        for (number, rule) in spec.egress.iter().flatten().enumerate() {
            let path = format!("spec.egress[{number}]");
            self.rule(&path, "to", rule.to.as_deref(), rule.ports.as_deref());
        }
        self.types(spec.policy_types.as_deref().unwrap_or_default());
    }

    /// One may be stated twice, but three of two are too many.
    fn types(&mut self, types: &[String]) {
        if types.len() > 2 {
            self.check("spec.policyTypes", false, types, "are more than two types");
            return;
        }
        for (number, word) in types.iter().enumerate() {
            let field = format!("spec.policyTypes[{number}]");
            let known = word == "Ingress" || word == "Egress";
            self.check(&field, known, word, "is neither Ingress nor Egress");
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
        match &peer.ip_block {
            Some(block) => {
                self.block(&format!("{path}.ipBlock"), block);
                if selecting {
                    let apart = "ipBlock cannot stand beside a selector: make them two entries";
                    self.say(path, apart.to_owned());
                }
            }
            None if !selecting => {
                let empty = "is empty: state podSelector, namespaceSelector or ipBlock";
                self.say(path, empty.to_owned());
            }
            None => {}
        }
    }

    fn block(&mut self, path: &str, block: &IPBlock) {
        let cidr = self.cidr(&format!("{path}.cidr"), &block.cidr);
        for (number, text) in block.except.iter().flatten().enumerate() {
            let field = format!("{path}.except[{number}]");
            let except = self.cidr(&field, text);
            let (Some(cidr), Some(except)) = (cidr, except) else {
                continue;
            };
            let within = cidr.contains(&except.addr()) && except.prefix_len() > cidr.prefix_len();
            let problem = format!("is no part of {cidr} that leaves something of it");
            self.check(&field, within, text, &problem);
        }
    }

    /// A block of one family, written in the one way that all readers take alike.
    fn cidr(&mut self, field: &str, text: &str) -> Option<IpNet> {
        let parsed = cidr(text);
        let form = "is no CIDR such as 192.0.2.0/24 or 2001:db8::/64";
        self.check(field, parsed.is_some(), text, form);
        let mapped = |net: &IpNet| match net {
            IpNet::V6(net) => net.addr().to_ipv4_mapped().is_some(),
            IpNet::V4(_) => false,
        };
        let plain = !parsed.as_ref().is_some_and(mapped);
        let problem = "is an IPv4 block as an IPv6 one: write it as IPv4";
        self.check(field, plain, text, problem);
        parsed.filter(|_| plain)
    }

    fn port(&mut self, path: &str, port: &NetworkPolicyPort) {
        if let Some(protocol) = &port.protocol {
            let known = matches!(protocol.as_str(), "TCP" | "UDP" | "SCTP");
            let field = format!("{path}.protocol");
            self.check(&field, known, protocol, "is none of TCP, UDP, SCTP");
        }
        let field = format!("{path}.port");
        match &port.port {
            Some(IntOrString::Int(number)) => self.number(&field, *number),
            Some(IntOrString::String(name)) => {
                self.check(&field, is_port_name(name), name, PORT_NAME);
            }
            None => {}
        }
        if let Some(last) = port.end_port {
            self.end_port(&format!("{path}.endPort"), port.port.as_ref(), last);
        }
    }

    fn end_port(&mut self, field: &str, first: Option<&IntOrString>, last: i32) {
        match first {
            Some(IntOrString::Int(first)) => {
                let problem = format!("is below port, which is {first}");
                self.check(field, last >= *first, last, &problem);
                self.number(field, last);
            }
            Some(IntOrString::String(name)) => {
                let problem = format!("cannot stand beside the named port {name:?}");
                self.check(field, false, last, &problem);
            }
            None => self.check(field, false, last, "needs a port to begin with"),
        }
    }

    fn number(&mut self, field: &str, number: i32) {
        let fits = (1..=65535).contains(&number);
        self.check(field, fits, number, "is not between 1 and 65535");
    }

    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        for (key, value) in selector.match_labels.iter().flatten() {
            self.label(&format!("{path}.matchLabels"), key, value);
        }
        for (number, requirement) in selector.match_expressions.iter().flatten().enumerate() {
            self.requirement(&format!("{path}.matchExpressions[{number}]"), requirement);
        }
    }

    fn label(&mut self, field: &str, key: &str, value: &str) {
        self.check(field, is_label_key(key), key, "is no label key");
        self.check(field, is_label_value(value), value, "is no label value");
    }

    fn requirement(&mut self, path: &str, requirement: &LabelSelectorRequirement) {
        let key = &requirement.key;
        let operator = requirement.operator.as_str();
        let field = |name: &str| format!("{path}.{name}");
        self.check(&field("key"), is_label_key(key), key, "is no label key");
        let values = requirement.values.as_deref().unwrap_or_default();
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                self.say(
                    &field("values"),
                    format!("is empty, but {operator} needs values"),
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let problem = format!("cannot stand beside {operator}");
                self.check(&field("values"), false, values, &problem);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let known = "is none of In, NotIn, Exists, DoesNotExist";
                self.check(&field("operator"), false, operator, known);
            }
        }
        for (number, value) in values.iter().enumerate() {
            let field = format!("{path}.values[{number}]");
            self.check(&field, is_label_value(value), value, "is no label value");
        }
    }
}

const PORT_NAME: &str = "is no name of a port: at most 15 of a to z, 0 to 9 and single inner hyphens, a letter among them";

/// A block whose address and prefix length are written without leading zeros.
fn cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let canonical = length == "0" || !length.starts_with(['0', '+']);
    let address: IpAddr = address.parse().ok()?;
    let length = length.parse().ok().filter(|_| canonical)?;
    IpNet::new(address, length).ok()
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
mod tests;
