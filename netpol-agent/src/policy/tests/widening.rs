//! What options widen: sound stays, and what is let in beyond the edges is exactly what the findings list.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::judge::{Allowed, Other, allowed, denies_any_of, expected, is_learned, questions};
use super::promises::smaller;
use super::wide::any_wide;
use super::world::{Case, any_case};
use crate::identity::Peer;
use crate::policy::emit::kubernetes;
use crate::policy::finding::Finding;
use crate::policy::validate::validate;
use crate::policy::widening::Within;
use crate::policy::{Direction, NAMESPACE, PortSpec, Proposal, Widening, synthesise};

fn holds(specs: &[PortSpec], (protocol, port): (Protocol, u16)) -> bool {
    let mut specs = specs.iter();
    specs.any(|spec| spec.protocol == protocol && spec.port <= port && port <= spec.last())
}

/// Whether a listed widening is about some other end.
fn is_about(case: &Case, what: &Widening, other: &Other) -> bool {
    match (what, other) {
        (Widening::Addresses { addresses, .. }, Other::Address(address)) => {
            addresses.contains(address)
        }
        (Widening::Blocks { blocks, .. }, Other::Address(address)) => {
            blocks.iter().any(|block| block.contains(*address))
        }
        (Widening::Blocks { blocks, within, .. }, Other::Workload(name)) => {
            let mut pods = case.cluster.pod_addresses.iter();
            let lies_inside = pods.any(|(address, own)| {
                own == name && blocks.iter().any(|block| block.contains(*address))
            });
            let names = |within: &Within| {
                within.workloads.first.contains(name) || within.workloads.more > 0
            };
            lies_inside && within.as_deref().is_some_and(names)
        }
        (Widening::Service { address, .. }, Other::Address(other)) => address == other,
        (Widening::PortRange { peers, .. }, other) => peers
            .iter()
            .any(|peer| stands_as(case, peer).contains(other)),
        (Widening::Namespace { namespace, .. }, Other::Workload(name)) => {
            name.namespace == *namespace
        }
        (
            Widening::Dns {
                peer: Peer::Workload(peer),
                ..
            },
            Other::Workload(name),
        ) if peer.kind == NAMESPACE => peer.namespace == name.namespace,
        (Widening::Dns { peer, .. }, other) => stands_as(case, peer).contains(other),
        _ => false,
    }
}

fn stands_as(case: &Case, peer: &Peer) -> BTreeSet<Other> {
    let node = |name: &String| case.cluster.nodes[name].iter().copied().map(Other::Address);
    match peer {
        Peer::Workload(name) if name.kind == NAMESPACE => BTreeSet::new(),
        Peer::Workload(name) if case.cluster.workloads[name].host_network => {
            let nodes = case.cluster.workloads[name].nodes.iter();
            nodes.flat_map(node).collect()
        }
        Peer::Workload(name) => [Other::Workload(name.clone())].into(),
        Peer::Node(name) => node(name).collect(),
        Peer::ApiServer => case
            .cluster
            .api_server
            .iter()
            .copied()
            .map(Other::Address)
            .collect(),
        Peer::External(address) => [Other::Address(*address)].into(),
    }
}

/// What the findings say that is let in, of all that is asked about.
fn listed(
    case: &Case,
    proposal: &Proposal,
    of: &str,
    direction: Direction,
    asked: &Allowed,
) -> Allowed {
    let wider: Vec<&Widening> = proposal
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Widening {
                workload,
                direction: way,
                what,
            } if workload.to_string() == of && *way == direction => Some(what),
            _ => None,
        })
        .collect();
    let said = |(other, protocol, port): &&(Other, Protocol, u16)| {
        wider.iter().any(|what| {
            let is_on = match what {
                Widening::Addresses { ports, .. }
                | Widening::Blocks { ports, .. }
                | Widening::Namespace { ports, .. }
                | Widening::Service { ports, .. }
                | Widening::Dns { ports, .. } => holds(ports, (*protocol, *port)),
                Widening::PortRange {
                    protocol: own,
                    ranges,
                    ..
                } => {
                    let mut ranges = ranges.iter();
                    own == protocol && ranges.any(|(first, last)| (first..=last).contains(&port))
                }
            };
            is_on && is_about(case, what, other)
        })
    };
    asked.iter().filter(said).cloned().collect()
}

/// Everything that can be asked.
fn everything(case: &Case) -> Allowed {
    let workloads = case
        .cluster
        .workloads
        .iter()
        .filter(|(_, workload)| !workload.host_network);
    let others = workloads.map(|(name, _)| Other::Workload(name.clone()));
    let addresses = super::judge::addresses(case)
        .into_iter()
        .map(Other::Address);
    let others: Vec<Other> = others.chain(addresses).collect();
    others
        .into_iter()
        .flat_map(|other| {
            let questions = questions(case).into_iter();
            questions.map(move |(protocol, port)| (other.clone(), protocol, port))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// What a policy allows is its edges, less those rejected, and what the findings list; nothing else.
    #[test]
    fn widened_exactly_as_listed(case in any_wide()) {
        let proposal = synthesise(&case.graph, &case.cluster, &case.options);
        let objects: Vec<NetworkPolicy> = proposal.policies.iter().map(kubernetes::object).collect();
        for object in &objects {
            prop_assert_eq!(validate(object), vec![]);
        }
        let with_policy: BTreeSet<_> = (proposal.policies.iter())
            .filter(|policy| !policy.is_of_namespace())
            .map(|policy| policy.workload.clone())
            .collect();
        let unselectable = proposal.findings.iter().filter_map(|finding| match finding {
            Finding::Unselectable { workload, .. } => Some(workload.clone()),
            _ => None,
        }).collect();
        let mut plain = case.clone();
        plain.options.dns = crate::policy::Dns::Seen;
        for rejected in &case.options.reject {
            plain.graph.edges.remove(&rejected.0);
        }
        let all = everything(&case);
        for name in &with_policy {
            for direction in Direction::ALL {
                let found = allowed(&case, &objects, name, direction).map_err(TestCaseError::fail)?;
                let edges = expected(&plain, name, direction, (&with_policy, &unselectable));
                prop_assert!(edges.is_subset(&found), "{} of {}: {:?} is denied", direction, name, edges.difference(&found));
                let mut right = listed(&case, &proposal, &name.to_string(), direction, &all);
                if case.options.default_deny {
                    let namespace = format!("{0}/{NAMESPACE}/{0}", name.namespace);
                    right.extend(listed(&case, &proposal, &namespace, direction, &all));
                }
                right.extend(edges);
                prop_assert_eq!(&found, &right, "{} of {}: {:?}", direction, name, proposal.findings);
            }
        }
    }

    /// Nothing can go from a widened policy without denying something.
    #[test]
    fn needed_when_widened(mut case in any_wide()) {
        let proposal = synthesise(&case.graph, &case.cluster, &case.options);
        // Pods may have other addresses tomorrow, where no block holds them.
        case.cluster.pod_addresses.clear();
        for policy in &proposal.policies {
            if policy.is_of_namespace() {
                continue;
            }
            let object = [kubernetes::object(policy)];
            for direction in Direction::ALL {
                let whole = allowed(&case, &object, &policy.workload, direction).map_err(TestCaseError::fail)?;
                let smaller = smaller(policy).into_iter();
                for less in smaller.filter(|less| less.rules(direction) != policy.rules(direction)) {
                    // Rules only add, so that less of them can only deny.
                    let denies = denies_any_of(&whole, &case, &[kubernetes::object(&less)], &policy.workload, direction);
                    prop_assert!(denies, "something of {:?} can go", policy);
                }
            }
        }
    }

    /// Every workload has a policy or a finding that says why not, whatever is widened, denied or rejected.
    #[test]
    fn honest_when_widened(case in any_wide()) {
        let proposal = synthesise(&case.graph, &case.cluster, &case.options);
        for name in case.cluster.workloads.keys() {
            let has_policy = proposal.policies.iter().any(|policy| policy.workload == *name);
            let excused = proposal.findings.iter().any(|finding| match finding {
                Finding::Unselectable { workload, .. }
                | Finding::Withheld { workload, .. }
                | Finding::NoPolicy { workload }
                | Finding::HostNetwork { workload } => workload == name,
                _ => false,
            });
            prop_assert!(has_policy != excused, "{}: {:?}", name, proposal.findings);
        }
        for rejected in &case.options.reject {
            let (edge, evidence) = (&rejected.0, &case.graph.edges[&rejected.0]);
            for (direction, end) in [(Direction::Ingress, &edge.server), (Direction::Egress, &edge.client)] {
                let Peer::Workload(workload) = end else { continue };
                let without = Finding::NoPolicy { workload: workload.clone() };
                let learned = is_learned(&case, edge, evidence, direction);
                prop_assert!(!(learned && proposal.findings.contains(&without)), "{}: {}", workload, rejected);
            }
        }
    }

    /// Every rejection is answered: it took an edge away, or nothing like it was learned.
    #[test]
    fn every_rejection_is_answered(case in any_wide()) {
        let proposal = synthesise(&case.graph, &case.cluster, &case.options);
        for rejected in &case.options.reject {
            let edge = rejected.0.clone();
            let took = proposal.findings.contains(&Finding::Rejected { edge: edge.clone() });
            let nothing = proposal.findings.contains(&Finding::RejectMatchesNothing { edge });
            prop_assert!(took != nothing, "{}", rejected);
            let evidence = &case.graph.edges[&rejected.0];
            let is_policys = |end: &Peer| matches!(end, Peer::Workload(name) if !case.cluster.workloads[name].host_network);
            let ends = [(Direction::Ingress, &rejected.0.server, &rejected.0.client), (Direction::Egress, &rejected.0.client, &rejected.0.server)];
            let gone = Peer::Node("lost".to_owned());
            if ends.iter().all(|(_, _, other)| **other != gone) {
                let learned = ends.iter().any(|(direction, own, _)| is_policys(own) && is_learned(&case, &rejected.0, evidence, *direction));
                let by_dns = case.options.dns != crate::policy::Dns::Seen && [53, 5353, 8053].contains(&rejected.0.port);
                prop_assert!(took == learned || (took && by_dns), "{}", rejected);
            }
            let rests = proposal.policies.iter().flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
            let mut rests = rests.flat_map(|rule| &rule.evidence);
            prop_assert!(!rests.any(|support| *support.edge == rejected.0));
        }
    }

    /// Without a flag no policy is another: the defaults change nothing, whatever the cluster's ranges.
    #[test]
    fn off_by_default(case in any_case()) {
        let plain = synthesise(&case.graph, &case.cluster, &case.options);
        let is_wide = |finding: &Finding| matches!(finding, Finding::Widening { what, .. } if !matches!(what, Widening::Addresses { .. } | Widening::Dns { .. }));
        prop_assert!(!plain.findings.iter().any(is_wide));
        prop_assert!(plain.policies.iter().all(|policy| !policy.is_of_namespace()));
    }
}
