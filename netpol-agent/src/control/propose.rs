//! The policies that are proposed, from what each proposal rests on.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;

use super::edges;
use super::facts::Settings;
use super::subject::Subject;
use crate::crd::Mode;
use crate::policy::emit::kubernetes;
use crate::policy::{Cluster, Dns, Finding, Options, OptionsFor, Policy, Proposal, synthesise_for};

/// The name of the proposal of a whole namespace, unless a workload's has it.
pub(super) const DEFAULT_DENY: &str = "default-deny";

/// Takes over the policies that the engine makes of what was learned.
pub(super) fn from_learned(subjects: &mut [Subject<'_>], proposal: Proposal) {
    let all = subjects
        .iter_mut()
        .filter(|subject| !subject.is_namespace());
    take_over(all, proposal);
}

/// Proposes the policies that rest on something else than what was learned.
pub(super) fn propose(subjects: &mut [Subject<'_>], cluster: &Cluster, settings: &Settings) {
    if subjects.iter().all(Subject::is_plain) {
        return;
    }
    // What is denied is rejected by the options, and makes no rule: it only makes a policy where nothing else does.
    let all = subjects.iter();
    let graph = edges::graph(all.flat_map(|subject| [&subject.rests_on, &subject.denied]));
    let options = options(subjects, settings);
    let proposal = synthesise_for(&graph, cluster, &options);
    let others = subjects.iter_mut().filter(|subject| !subject.is_plain());
    take_over(others, proposal);
}

fn take_over<'a: 'b, 'b>(subjects: impl Iterator<Item = &'b mut Subject<'a>>, proposal: Proposal) {
    let mut policies: BTreeMap<WorkloadName, Policy> = BTreeMap::new();
    for policy in proposal.policies {
        policies.insert(policy.workload.clone(), policy);
    }
    let mut remarks = remarks(&proposal.findings);
    for subject in subjects {
        let (withheld, wide) = remarks.remove(&subject.workload).unwrap_or_default();
        subject.needs_widening = wide.filter(|_| subject.way.proposes);
        subject.policy = policies.remove(&subject.workload);
        subject.withheld = withheld.filter(|_| subject.policy.is_none() && subject.way.proposes);
        if !subject.way.proposes {
            subject.policy = None;
        }
    }
}

/// How each policy is written. A namespace asks for DNS and for denying all else where it is enforced.
pub(super) fn options(subjects: &[Subject<'_>], settings: &Settings) -> OptionsFor {
    let mut options = OptionsFor {
        cluster: settings.options.clone(),
        ..OptionsFor::default()
    };
    for subject in subjects {
        if !subject.is_namespace() {
            let written = subject.written();
            options.workloads.insert(subject.workload.clone(), written);
            continue;
        }
        let written = Options {
            default_deny: subject.chosen.mode == Mode::Enforce,
            dns: Dns::Always,
            ..subject.written()
        };
        let namespace = subject.workload.namespace.clone();
        options.namespaces.insert(namespace, written);
    }
    options
}

/// Why a workload has no policy, and that it needs widening.
type Remarks = (Option<String>, Option<String>);

fn remarks(findings: &[Finding]) -> BTreeMap<WorkloadName, Remarks> {
    let mut all: BTreeMap<WorkloadName, Remarks> = BTreeMap::new();
    for finding in findings {
        match finding {
            Finding::Unselectable { workload, .. } | Finding::Withheld { workload, .. } => {
                let (withheld, _) = all.entry(workload.clone()).or_default();
                withheld.get_or_insert_with(|| finding.to_string());
            }
            Finding::NeedsWidening { workload, .. } => {
                let (_, wide) = all.entry(workload.clone()).or_default();
                wide.get_or_insert_with(|| finding.to_string());
            }
            _ => {}
        }
    }
    all
}

/// The NetworkPolicy that a workload's proposal says, under the proposal's name.
pub(super) fn object(subject: &Subject<'_>) -> Option<NetworkPolicy> {
    let policy = subject.policy.as_ref()?;
    let mut object = kubernetes::object(policy);
    object.metadata.name = Some(subject.name.name.clone());
    Some(object)
}
