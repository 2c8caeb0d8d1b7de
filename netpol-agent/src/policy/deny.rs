//! `--default-deny`: a policy for each namespace in which a workload has one. It selects every pod, so that those
//! without a policy are cut off, and allows nothing but DNS.
//!
//! Policies add up, so what the others allow stays allowed. A namespace is left out if that would deny what was
//! learned: where a workload has edges that its policy could not be written for, or where a resolver of the cluster has
//! no policy and would answer nobody.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::dns::{is_dns, unseen};
use super::finding::Finding;
use super::learn::Learned;
use super::model::{Basis, Direction, NAMESPACE, Policy, Selector, WrittenAs};
use super::ports::{self, Ports};
use super::rules::rules;
use super::widen::Wide;
use super::widening::Widening;
use super::writer::Writer;
use crate::identity::{EdgeId, Peer};

/// The name of the policy of a namespace, unless a workload's has it.
const NAME: &str = "default-deny";

/// A namespace, as the workload that its policy is for.
pub(super) fn subject(namespace: &str) -> WorkloadName {
    WorkloadName::new(namespace, NAMESPACE, namespace)
}

/// What a resolver has to let in so that the pods of these namespaces can ask it.
pub(super) fn asked<'a>(
    namespaces: impl IntoIterator<Item = &'a String>,
    resolver: &WorkloadName,
    port: u16,
) -> Vec<Learned> {
    let mut asked = Vec::new();
    for namespace in namespaces {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let edge = EdgeId {
                client: Peer::Workload(subject(namespace)),
                server: Peer::Workload(resolver.clone()),
                protocol,
                port,
            };
            let mut one = unseen(edge, Direction::Ingress, Basis::DnsAlways);
            one.stand_ins = Some([Wide::Namespace(namespace.clone())].into());
            one.support.written_as = Some(WrittenAs::Namespace.into());
            asked.push(one);
        }
    }
    asked
}

/// The policy of a namespace, and what it lets in: DNS with these resolvers, and with whom its workloads, at these places,
/// were seen to ask.
pub(super) fn policy(
    writer: &Writer<'_>,
    (namespace, places): (&str, &[usize]),
    resolvers: &[(Peer, u16)],
    name: String,
) -> (Policy, Vec<Finding>) {
    let workload = subject(namespace);
    let mut servers: BTreeSet<(Peer, u16)> = resolvers.iter().cloned().collect();
    for place in places {
        for learned in writer.taught.lessons(*place).learned(Direction::Egress) {
            let edge = &learned.support.edge;
            if is_dns(writer.cluster, edge) {
                servers.insert((edge.server.clone(), edge.port));
            }
        }
    }
    servers.retain(|(server, port)| *port > 0 && writer.atoms(server).is_ok());
    let mut learned = Vec::new();
    let mut allowed: BTreeMap<Peer, Ports> = BTreeMap::new();
    for (server, port) in servers {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let edge = EdgeId {
                client: Peer::Workload(workload.clone()),
                server: server.clone(),
                protocol,
                port,
            };
            learned.push(unseen(edge, Direction::Egress, Basis::DnsAlways));
            allowed
                .entry(server.clone())
                .or_default()
                .insert((protocol, port));
        }
    }
    learned.sort_by(|a, b| a.support.edge.cmp(&b.support.edge));
    let findings = allowed.into_iter().map(|(peer, ports)| Finding::Widening {
        workload: workload.clone(),
        direction: Direction::Egress,
        what: Widening::Dns {
            peer,
            ports: ports::specs(&ports),
        },
    });
    let findings = findings.collect();
    let entities = super::entities::rules(writer, &learned);
    let policy = Policy {
        name,
        subject: Selector::default(),
        ingress: Vec::new(),
        egress: rules(writer, namespace, learned).rules,
        entities,
        already: BTreeMap::new(),
        coverage: None,
        workload,
    };
    (policy, findings)
}

/// The name of a namespace's policy beside those of its workloads.
pub(super) fn name(taken: &BTreeSet<&str>) -> String {
    let longer = format!("{NAME}-{}", NAMESPACE.to_lowercase());
    let numbered = (2..).map(|number| format!("{longer}-{number}"));
    let mut names = [NAME.to_owned(), longer.clone()]
        .into_iter()
        .chain(numbered);
    let free = names.find(|name| !taken.contains(name.as_str()));
    free.unwrap_or(longer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespaces_policy_has_a_name_that_no_other_of_it_has() {
        let mut taken = BTreeSet::new();
        for expected in [
            "default-deny",
            "default-deny-namespace",
            "default-deny-namespace-2",
            "default-deny-namespace-3",
        ] {
            assert_eq!(name(&taken), expected);
            taken.insert(expected);
        }
    }
}
