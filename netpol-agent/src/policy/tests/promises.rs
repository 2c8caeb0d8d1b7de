//! The promises that DESIGN.md makes about a generated set of policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::judge::{
    Allowed, Ends, Other, allowed, denies_any_of, expected, is_learned, other_pods, passes, pods,
};
use super::world::{Case, any_case};
use crate::identity::Peer;
use crate::policy::emit::kubernetes;
use crate::policy::evaluate::End;
use crate::policy::finding::Finding;
use crate::policy::validate::validate;
use crate::policy::{Basis, Direction, Policy, Proposal, Rule, synthesise};

fn proposal(case: &Case) -> Proposal {
    synthesise(&case.graph, &case.cluster, &case.options)
}

fn objects(proposal: &Proposal) -> Vec<NetworkPolicy> {
    proposal.policies.iter().map(kubernetes::object).collect()
}

/// Workloads that learned something and can be selected.
fn learners(case: &Case, proposal: &Proposal) -> BTreeSet<WorkloadName> {
    let mut learners = BTreeSet::new();
    for (edge, evidence) in &case.graph.edges {
        for (direction, end) in [
            (Direction::Ingress, &edge.server),
            (Direction::Egress, &edge.client),
        ] {
            if let Peer::Workload(name) = end
                && !case.cluster.workloads[name].host_network
                && is_learned(case, edge, evidence, direction)
            {
                learners.insert(name.clone());
            }
        }
    }
    let unselectable = unselectable(proposal);
    learners.retain(|name| !unselectable.contains(name));
    learners
}

/// Workloads that no selector matches alone, as far as that mattered.
fn unselectable(proposal: &Proposal) -> BTreeSet<WorkloadName> {
    let named = proposal
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Unselectable { workload, .. } => Some(workload.clone()),
            _ => None,
        });
    named.collect()
}

/// What all policies together allow a workload.
fn both_ways(
    case: &Case,
    policies: &[NetworkPolicy],
    name: &WorkloadName,
) -> Result<[Allowed; 2], TestCaseError> {
    let one = |direction| allowed(case, policies, name, direction).map_err(TestCaseError::fail);
    Ok([one(Direction::Ingress)?, one(Direction::Egress)?])
}

/// A policy with one rule, peer or port less, for each that it has.
pub(super) fn smaller(policy: &Policy) -> Vec<Policy> {
    let mut all = Vec::new();
    for direction in Direction::ALL {
        for (number, rule) in policy.rules(direction).iter().enumerate() {
            let mut change = |edit: &dyn Fn(&mut Vec<Rule>)| {
                let mut policy = policy.clone();
                edit(match direction {
                    Direction::Ingress => &mut policy.ingress,
                    Direction::Egress => &mut policy.egress,
                });
                all.push(policy);
            };
            change(&|rules| drop(rules.remove(number)));
            for peer in (0..rule.peers.len()).filter(|_| rule.peers.len() > 1) {
                change(&|rules| drop(rules[number].peers.remove(peer)));
            }
            for port in (0..rule.ports.len()).filter(|_| rule.ports.len() > 1) {
                change(&|rules| {
                    rules[number].ports.remove(port);
                });
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Whatever either end saw established is allowed at both, but for an end that was watched and saw nothing of it,
    /// whichever pods take part.
    #[test]
    fn sound(case in any_case()) {
        let policies = objects(&proposal(&case));
        for (edge, evidence) in &case.graph.edges {
            for (direction, end, other) in [
                (Direction::Ingress, &edge.server, &edge.client),
                (Direction::Egress, &edge.client, &edge.server),
            ] {
                let Peer::Workload(name) = end else { continue };
                if case.cluster.workloads[name].host_network || !is_learned(&case, edge, evidence, direction) {
                    continue;
                }
                for own in pods(&case, name) {
                    for (other_pod, address) in ends(&case, other) {
                        let other = other_pod.as_ref().map_or(End::Outside, End::Pod);
                        let to = (edge.protocol, edge.port);
                        prop_assert!(
                            passes(&policies, &own, (other, address), direction, to),
                            "{direction} {edge:?} of {} is denied", own.name
                        );
                    }
                }
            }
        }
    }

    /// A workload with a policy may do what it was seen to do and what is listed as a widening, and nothing else.
    #[test]
    fn exact(case in any_case()) {
        let proposal = proposal(&case);
        let policies = objects(&proposal);
        let (learners, unselectable) = (learners(&case, &proposal), unselectable(&proposal));
        for policy in &proposal.policies {
            let name = &policy.workload;
            for (direction, allowed) in Direction::ALL.into_iter().zip(both_ways(&case, &policies, name)?) {
                prop_assert_eq!(&allowed, &expected(&case, name, direction, (&learners, &unselectable)), "{} of {}", direction, name);
            }
        }
    }

    /// Nothing can go from a policy without denying something.
    #[test]
    fn needed(case in any_case()) {
        for policy in &proposal(&case).policies {
            let name = &policy.workload;
            let whole = both_ways(&case, &[kubernetes::object(policy)], name)?;
            for (direction, whole) in Direction::ALL.into_iter().zip(&whole) {
                let smaller = smaller(policy).into_iter();
                for less in smaller.filter(|less| less.rules(direction) != policy.rules(direction)) {
                    // Rules only add, so that less of them can only deny.
                    let denies = denies_any_of(whole, &case, &[kubernetes::object(&less)], name, direction);
                    prop_assert!(denies, "something of {:?} can go", policy);
                }
            }
        }
    }

    /// A policy selects the pods of its workload and no others, running or not.
    #[test]
    fn selective(case in any_case()) {
        for policy in &proposal(&case).policies {
            let mut closed = policy.clone();
            (closed.ingress, closed.egress) = (Vec::new(), Vec::new());
            let object = [kubernetes::object(&closed)];
            for name in case.cluster.workloads.keys().filter(|name| !case.cluster.workloads[*name].host_network) {
                for pod in pods(&case, name) {
                    let anybody = (End::Outside, [198, 51, 100, 1].into());
                    let isolated = !passes(&object, &pod, anybody, Direction::Ingress, (Protocol::Tcp, 1));
                    prop_assert_eq!(isolated, *name == policy.workload, "{} and {}", policy.workload, pod.name);
                }
            }
        }
    }

    /// Every workload has a policy or a finding that says why not, and no workload that learned nothing has one.
    #[test]
    fn honest(case in any_case()) {
        let proposal = proposal(&case);
        let learners = learners(&case, &proposal);
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
            prop_assert!(!has_policy || learners.contains(name));
        }
        for policy in &proposal.policies {
            for direction in Direction::ALL {
                let workload = policy.workload.clone();
                let listed = proposal.findings.contains(&Finding::NoTraffic { workload, direction });
                let seen = policy.rules(direction).iter().flat_map(|rule| &rule.evidence).any(|support| support.basis != Basis::DnsAlways);
                prop_assert_eq!(listed, !seen);
            }
        }
    }

    /// A workload is called unselectable only if all its lasting labels together match another one too.
    #[test]
    fn selectable_if_at_all(case in any_case()) {
        for finding in proposal(&case).findings {
            let Finding::Unselectable { workload: name, .. } = finding else { continue };
            let workload = &case.cluster.workloads[&name];
            let mut common = workload.label_sets.iter().next().cloned().unwrap_or_default();
            for labels in &workload.label_sets {
                common.retain(|key, value| labels.get(key) == Some(value));
            }
            common.retain(|key, _| key != "pod-template-hash" && (key != "version" || workload.selector.contains_key(key)));
            let clash = case.cluster.workloads.iter().any(|(other, rival)| {
                let matched = rival.label_sets.iter().any(|labels| common.iter().all(|(key, value)| labels.get(key) == Some(value)));
                other.namespace == name.namespace && *other != name && matched
            });
            prop_assert!(common.is_empty() || clash, "{} could be selected by {:?}", name, common);
        }
    }

    /// What is written is valid, reads back the same, and is never open by an empty list.
    #[test]
    fn well_formed(case in any_case()) {
        let proposal = proposal(&case);
        let mut names = BTreeSet::new();
        for policy in &proposal.policies {
            let object = kubernetes::object(policy);
            prop_assert_eq!(validate(&object), vec![]);
            prop_assert!(names.insert((policy.workload.namespace.clone(), policy.name.clone())));
            let read: NetworkPolicy = serde_saphyr::from_str(&kubernetes::yaml(policy, true)).unwrap();
            prop_assert_eq!(&read, &object);
            for rule in policy.ingress.iter().chain(&policy.egress) {
                prop_assert!(!rule.peers.is_empty() && !rule.ports.is_empty() && !rule.evidence.is_empty());
                prop_assert!(rule.ports.iter().all(|spec| spec.end_port.is_none_or(|last| last > spec.port)));
                prop_assert!(rule.evidence.is_sorted_by(|a, b| a.edge < b.edge), "{:?}", rule.evidence);
            }
        }
        let list: serde_json::Value = serde_json::from_str(&kubernetes::json(&proposal.policies)).unwrap();
        let items: Vec<NetworkPolicy> = serde_json::from_value(list["items"].clone()).unwrap();
        prop_assert_eq!(items, objects(&proposal));
    }

    /// Workloads of another namespace, whatever their labels, change nothing.
    #[test]
    fn unrelated_namespaces_change_nothing(case in any_case()) {
        let before = proposal(&case).policies;
        let mut grown = case.clone();
        for (name, workload) in &case.cluster.workloads {
            let name = WorkloadName::new("elsewhere", &name.kind, &name.name);
            grown.cluster.workloads.insert(name, workload.clone());
        }
        prop_assert_eq!(proposal(&grown).policies, before.clone());
        let policies: Vec<NetworkPolicy> = before.iter().map(kubernetes::object).collect();
        for policy in &before {
            let [ingress, egress] = both_ways(&grown, &policies, &policy.workload)?;
            let strangers = ingress.iter().chain(&egress).filter(|(other, ..)| {
                matches!(other, Other::Workload(name) if name.namespace == "elsewhere")
            });
            prop_assert_eq!(strangers.count(), 0);
        }
    }
}

/// The ends that a peer stands for: its pods, or its addresses.
pub(super) fn ends(case: &Case, peer: &Peer) -> Ends {
    let outside =
        |addresses: &BTreeSet<IpAddr>| addresses.iter().map(|address| (None, *address)).collect();
    match peer {
        Peer::Workload(name) if case.cluster.workloads[name].host_network => {
            outside(&case.cluster.nodes["one"])
        }
        Peer::Workload(name) => {
            let pods = other_pods(case, name).into_iter();
            pods.map(|pod| (Some(pod), [10, 0, 0, 9].into())).collect()
        }
        Peer::Node(name) => outside(&case.cluster.nodes[name]),
        Peer::ApiServer => outside(&case.cluster.api_server),
        Peer::External(address) => vec![(None, *address)],
    }
}
