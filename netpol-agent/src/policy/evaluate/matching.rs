//! Label selectors, address blocks and ports of NetworkPolicies.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_common::words::Protocol;

use crate::identity::objects::Labels;

/// Whether all requirements of a selector hold. An empty selector matches everything.
#[must_use]
pub fn selector(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|one| requirement(one, labels))
}

/// `NotIn` also holds where the label is absent.
fn requirement(requirement: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&requirement.key);
    let listed = |value| requirement.values.iter().flatten().any(|one| one == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// Whether an address is in a block and in none of its exceptions.
///
/// The unspecified address stands for an address that is not known: only a block that holds the whole family surely
/// holds it.
pub(super) fn block(block: &IPBlock, address: IpAddr) -> bool {
    if address.is_unspecified() {
        return whole_family(block, address);
    }
    let within = |cidr: &String| {
        cidr.parse::<IpNet>()
            .is_ok_and(|net| net.contains(&address))
    };
    within(&block.cidr) && !block.except.iter().flatten().any(within)
}

fn whole_family(block: &IPBlock, address: IpAddr) -> bool {
    let same = |cidr: &IpNet| cidr.addr().is_ipv4() == address.is_ipv4();
    let cidr = block.cidr.parse::<IpNet>();
    let whole = cidr.is_ok_and(|cidr| cidr.prefix_len() == 0 && same(&cidr));
    let mut except = block.except.iter().flatten();
    whole && !except.any(|cidr| cidr.parse::<IpNet>().is_ok_and(|cidr| same(&cidr)))
}

/// Whether an entry of a rule's ports matches a server's port. The protocol is TCP unless stated; without a port
/// the entry matches every port of its protocol.
pub(super) fn port(
    entry: &NetworkPolicyPort,
    protocol: Protocol,
    port: u16,
    named_ports: &[(String, Protocol, u16)],
) -> bool {
    if entry.protocol.as_deref().unwrap_or("TCP") != protocol.name() {
        return false;
    }
    match (&entry.port, entry.end_port) {
        (None, None) => true,
        (Some(IntOrString::Int(first)), last) => {
            (*first..=last.unwrap_or(*first)).contains(&i32::from(port))
        }
        (Some(IntOrString::String(name)), None) => named_ports
            .iter()
            .any(|(named, of, number)| named == name && *of == protocol && *number == port),
        (None | Some(IntOrString::String(_)), Some(_)) => false,
    }
}
