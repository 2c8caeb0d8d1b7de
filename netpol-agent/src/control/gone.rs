//! Proposals whose workloads are gone: kept while somebody wants something of them, else forgotten after a while.

use std::collections::BTreeSet;

use netpol_common::names::ObjectName;

use super::change::{Change, Step};
use super::facts::{Facts, Proposal, Settings};
use super::subject::Subject;

/// What is to be done about proposals that no workload has. Of those that were never answered, ours are the ones without a
/// `spec`: the controller ended before it answered, and the workload meanwhile.
pub(super) fn changes(
    facts: &Facts<'_>,
    settings: &Settings,
    subjects: &[Subject<'_>],
) -> Vec<Change> {
    let taken: BTreeSet<&ObjectName> = subjects.iter().map(|subject| &subject.name).collect();
    let orphans = facts.proposals.iter().filter(|(name, known)| {
        let ours = known.status.workload_ref.is_some() || known.spec.is_none();
        ours && !taken.contains(name) && !facts.namespace(&name.namespace).terminating
    });
    orphans
        .filter_map(|(name, known)| {
            Some(Change {
                proposal: name.clone(),
                uid: known.uid.clone(),
                steps: vec![step(known, facts, settings)?],
            })
        })
        .collect()
}

/// The NetworkPolicy stays as it is meanwhile: it selects nothing, and applies at once to a workload that comes back.
fn step(known: &Proposal, facts: &Facts<'_>, settings: &Settings) -> Option<Step> {
    let Some(since) = known.status.gone_since else {
        let mut status = known.status.clone();
        status.gone_since = Some(facts.now);
        return Some(Step::Answer(Box::new(status)));
    };
    let wanted = known
        .spec
        .as_ref()
        .is_some_and(|spec| *spec != Default::default());
    let kind = known.status.workload_ref.as_ref();
    let linger = match kind.is_none_or(|workload| workload.kind == "Pod") {
        true => settings.linger_of_pods,
        false => settings.linger,
    };
    let long = since < facts.ago(linger);
    (long && !wanted).then(|| Step::Forget {
        version: known.version.clone(),
    })
}
