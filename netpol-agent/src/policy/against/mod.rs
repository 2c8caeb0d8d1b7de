//! What is missing beside policies that are there already.
//!
//! An edge is *covered* at one of its ends if the policies that are there isolate every pod of the workload in that
//! direction, and a rule of theirs allows the edge for each. What is covered makes no rule. A workload gets a policy
//! only if an edge is missing, or if a direction is not isolated yet: without that, what is there would not be what
//! was learned and nothing else. The policy of a whole namespace is missing unless policies that select every pod of
//! it do what it would. Policies add up, so that nothing that is there needs to change.

pub(crate) mod coverage;
mod namespace;
mod remark;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};

use super::diff::diff;
use super::emit::kubernetes;
use super::evaluate::{Compiled, Reading, RuleId, Way, World};
use super::finding::Finding;
use super::model::{Direction, Policy, Proposal};
use super::names::other_name;
use super::options::OptionsFor;
use super::proposer::LeftOutEdges;
use super::synthesiser::taught;
use super::{Cluster, explain};
use crate::graph::FlowGraph;
use crate::identity::Peer;
use coverage::Coverage;

pub use remark::Remark;

/// How much that is allowed beyond what was learned is listed.
const LISTED: usize = 20;

/// The policies that are there already, and the cluster that they are in.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'a> {
    /// Who is there.
    pub world: &'a World,
    /// The policies.
    pub policies: &'a [NetworkPolicy],
    /// How to read what Kubernetes leaves open.
    pub reading: Reading,
}

/// What completes the policies that are there.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The policies to add, and the findings about all that was learned.
    pub proposal: Proposal,
    /// What is to be said of the policies that are there.
    pub remarks: Vec<Remark>,
}

/// A rule, with its direction.
type Rules = BTreeSet<(Direction, RuleId)>;

/// What has to be added to the policies that are there, so that everything that was learned is allowed.
#[must_use]
pub fn missing(
    graph: &FlowGraph,
    cluster: &Cluster,
    options: &OptionsFor,
    existing: &Existing<'_>,
) -> Missing {
    let compiled = Compiled::new(existing.world, existing.policies, existing.reading);
    let coverage = Coverage::new(cluster, existing.world, &compiled);
    let mut synthesiser = taught(graph, cluster, options);
    let whole = synthesiser.proposal_of(graph);
    let mut used = probes(graph, &coverage);
    let mut already = Already::new();
    let mut left_out = LeftOutEdges::new();
    for (name, learned) in synthesiser.everything_learned() {
        for one in learned {
            let (direction, edge) = (one.direction, &one.support.edge);
            let of_any = namespace::judge(name, edge, existing);
            let judged = of_any.unwrap_or_else(|| coverage.judge(name, direction, edge));
            used.extend(judged.by.iter().map(|rule| (direction, rule.clone())));
            if judged.covered {
                let entry = left_out.entry(name.clone()).or_default();
                entry.insert((direction, Arc::clone(edge)));
                let entry = already.entry((name.clone(), direction)).or_default();
                entry.0 += 1;
                entry.1.extend(judged.by);
            }
        }
    }
    synthesiser.leave_out(left_out);
    let mut proposal = synthesiser.proposal_of(graph);
    proposal.policies.retain(|policy| {
        if policy.is_of_namespace() {
            return !namespace::is_there(policy, cluster, existing);
        }
        let isolated = |way| coverage.isolated(&policy.workload, way);
        let adds = |direction| !policy.rules(direction).is_empty();
        let complete = Way::ALL.into_iter().all(isolated);
        !complete || Direction::ALL.into_iter().any(adds)
    });
    let mut remarks = annotate(&mut proposal.policies, already);
    remarks.extend(rename(&mut proposal.policies, existing.policies));
    remarks.extend(unused(existing, &used));
    remarks.extend(beyond(existing, &whole, &proposal));
    proposal.findings = findings(&whole, &proposal);
    Missing { proposal, remarks }
}

/// How many edges of a workload's direction are covered, and by which rules.
type Already = BTreeMap<(WorkloadName, Direction), (usize, BTreeSet<RuleId>)>;

/// Rules that let in what no policy can deny: probes from the pods' own nodes. They are not called unused.
fn probes(graph: &FlowGraph, coverage: &Coverage<'_>) -> Rules {
    let own = graph.edges.iter().filter(|(_, evidence)| evidence.own_node);
    let rules = own.filter_map(|(edge, _)| match &edge.server {
        Peer::Workload(name) => Some(coverage.judge(name, Direction::Ingress, edge).by),
        _ => None,
    });
    rules
        .flatten()
        .map(|rule| (Direction::Ingress, rule))
        .collect()
}

/// Marks in the policies what others already allow.
fn annotate(policies: &mut [Policy], already: Already) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for ((workload, direction), (edges, by)) in already {
        let remark = Remark::AlreadyAllowed {
            workload,
            direction,
            edges,
            by,
        };
        if let Remark::AlreadyAllowed { workload, .. } = &remark {
            let mut own = policies
                .iter_mut()
                .filter(|policy| policy.workload == *workload);
            if let Some(policy) = own.next() {
                policy.already.insert(direction, remark.sentence());
            }
        }
        remarks.push(remark);
    }
    remarks
}

/// Gives other names to policies that would take the place of one that is there.
fn rename(policies: &mut [Policy], existing: &[NetworkPolicy]) -> Vec<Remark> {
    let mut taken: BTreeSet<ObjectName> = existing.iter().map(name_of).collect();
    taken.extend(policies.iter().map(named));
    let there: BTreeSet<ObjectName> = existing.iter().map(name_of).collect();
    let mut remarks = Vec::new();
    for policy in policies
        .iter_mut()
        .filter(|policy| there.contains(&named(policy)))
    {
        let before = named(policy);
        policy.name = other_name(&policy.workload);
        let plain = policy.name.clone();
        let mut number = 2;
        while taken.contains(&named(policy)) {
            policy.name = format!("{plain}-{number}");
            number += 1;
        }
        taken.insert(named(policy));
        remarks.push(Remark::NameTaken {
            name: before,
            instead: policy.name.clone(),
        });
    }
    remarks
}

fn named(policy: &Policy) -> ObjectName {
    ObjectName::new(&policy.workload.namespace, &policy.name)
}

fn name_of(policy: &NetworkPolicy) -> ObjectName {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let metadata = &policy.metadata;
    ObjectName::new(text(&metadata.namespace), text(&metadata.name))
}

/// The rules of the policies that are there which nothing that was learned uses.
fn unused(existing: &Existing<'_>, used: &Rules) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for policy in existing.policies {
        for (direction, way) in [
            (Direction::Ingress, Way::Ingress),
            (Direction::Egress, Way::Egress),
        ] {
            for (rule, allows) in explain::rules_in_words(policy, way).into_iter().enumerate() {
                let policy = name_of(policy);
                let id = RuleId { policy, rule };
                if !used.contains(&(direction, id.clone())) {
                    remarks.push(Remark::Unused {
                        direction,
                        rule: id,
                        allows,
                    });
                }
            }
        }
    }
    remarks
}

/// What all policies together allow that the whole proposal, alone, would not.
fn beyond(existing: &Existing<'_>, whole: &Proposal, missing: &Proposal) -> Vec<Remark> {
    let objects = |policies: &[Policy]| policies.iter().map(kubernetes::object).collect::<Vec<_>>();
    let before = objects(&whole.policies);
    let mut after = existing.policies.to_vec();
    after.extend(objects(&missing.policies));
    let difference = diff(existing.world, &before, &after, existing.reading);
    let changes = difference
        .allowed
        .iter()
        .take(LISTED)
        .map(|change| Remark::Beyond {
            from: change.from.to_string(),
            to: change.to.to_string(),
            ports: change.ports.clone(),
        });
    let more = difference.allowed.len().saturating_sub(LISTED);
    let more = (more > 0).then_some(Remark::MoreBeyond { count: more });
    changes.chain(more).collect()
}

/// The findings about all that was learned, less those that are not true of what is added.
fn findings(whole: &Proposal, missing: &Proposal) -> Vec<Finding> {
    let written: BTreeSet<&WorkloadName> = missing
        .policies
        .iter()
        .map(|policy| &policy.workload)
        .collect();
    let stays = |finding: &&Finding| match finding {
        Finding::Withheld { workload, .. } => !written.contains(workload),
        Finding::NoTraffic { workload, .. } => written.contains(workload),
        _ => true,
    };
    whole.findings.iter().filter(stays).cloned().collect()
}

#[cfg(test)]
mod tests {
    use netpol_common::words::Protocol;

    use super::*;
    use crate::identity::EdgeId;
    use crate::policy::finding::Inexpressible;
    use crate::policy::model::Selector;

    fn workload(name: &str) -> WorkloadName {
        WorkloadName::new("shop", "Deployment", name)
    }

    fn policy(name: &str) -> Policy {
        Policy {
            workload: workload(name),
            name: format!("{name}-deployment"),
            subject: Selector::default(),
            ingress: Vec::new(),
            egress: Vec::new(),
            entities: Vec::new(),
            already: BTreeMap::new(),
            coverage: None,
        }
    }

    #[test]
    fn a_policy_takes_no_name_that_another_has() {
        let renamed = |taken: &[&str]| {
            let there = taken.iter().map(|name| {
                let mut policy = NetworkPolicy::default();
                policy.metadata.namespace = Some("shop".to_owned());
                policy.metadata.name = Some((*name).to_owned());
                policy
            });
            let there: Vec<NetworkPolicy> = there.collect();
            let mut policies = [policy("web"), policy("api")];
            let remarks = rename(&mut policies, &there);
            assert_eq!(policies[1].name, "api-deployment");
            let [web, _] = policies;
            (web.name, remarks.len())
        };
        let own = "web-deployment";
        let hashed = other_name(&workload("web"));
        let second = format!("{hashed}-2");
        assert_eq!(renamed(&["other"]), (own.to_owned(), 0));
        assert_eq!(renamed(&[own]), (hashed.clone(), 1));
        assert_eq!(renamed(&[own, &hashed]), (second.clone(), 1));
        let third = format!("{hashed}-3");
        assert_eq!(renamed(&[own, &hashed, &second]), (third, 1));
    }

    #[test]
    fn findings_are_about_what_is_added() {
        let edge = EdgeId {
            client: Peer::ApiServer,
            server: Peer::Workload(workload("web")),
            protocol: Protocol::Tcp,
            port: 0,
        };
        let withheld = |name| Finding::Withheld {
            workload: workload(name),
            direction: Direction::Ingress,
            edge: edge.clone(),
            reason: Inexpressible::PortZero,
        };
        let quiet = |name| Finding::NoTraffic {
            workload: workload(name),
            direction: Direction::Egress,
        };
        let both = |of: &dyn Fn(&'static str) -> Finding| [of("api"), of("web")];
        let whole = Proposal {
            policies: Vec::new(),
            findings: [&both(&withheld)[..], &both(&quiet), &[Finding::NoResolver]].concat(),
        };
        let missing = Proposal {
            policies: vec![policy("web")],
            findings: Vec::new(),
        };
        let expected = [withheld("api"), quiet("web"), Finding::NoResolver];
        assert_eq!(findings(&whole, &missing), expected);
    }
}
