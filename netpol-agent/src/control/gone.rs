//! Proposals whose workloads are gone: kept while somebody wants something of them, else forgotten after a while; and what
//! becomes of their NetworkPolicies meanwhile.

use std::collections::BTreeSet;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};

use super::answer;
use super::change::{Change, Event, Step};
use super::facts::{Facts, Live, Proposal, Settings};
use super::gates::Against;
use super::mode::Label;
use super::subject::Subject;
use crate::crd::Mode;
use crate::policy::Cluster;
use crate::policy::evaluate::selects;

/// What is to be done about proposals that no workload has. Of those that were never answered, ours are the ones without a
/// `spec`: the controller ended before it answered, and the workload meanwhile.
pub(super) fn changes(
    facts: &Facts<'_>,
    settings: &Settings,
    subjects: &[Subject<'_>],
    cluster: &Cluster,
) -> Vec<Change> {
    let taken: BTreeSet<&ObjectName> = subjects.iter().map(|subject| &subject.name).collect();
    let orphans = facts.proposals.iter().filter(|(name, known)| {
        let ours = known.status.workload_ref.is_some() || known.spec.is_none();
        // What is in a namespace that is not known goes with it.
        let namespace = facts.namespaces.get(&name.namespace);
        let stays = namespace.is_some_and(|namespace| !namespace.terminating);
        ours && stays && !taken.contains(name)
    });
    orphans
        .filter_map(|(name, known)| {
            let own = facts.policies.get(name);
            let own = own.filter(|live| live.is_of(&known.uid));
            let orphan = Orphan { name, known, own };
            let steps = orphan.steps(facts, settings, cluster);
            (!steps.is_empty()).then(|| Change {
                proposal: name.clone(),
                uid: known.uid.clone(),
                steps,
            })
        })
        .collect()
}

/// A proposal whose workload is gone.
struct Orphan<'a> {
    name: &'a ObjectName,
    known: &'a Proposal,
    /// Its NetworkPolicy, if it is in force.
    own: Option<&'a Live>,
}

impl Orphan<'_> {
    /// The NetworkPolicy goes once it is not wanted any more. Else it stays as it is: it selects nothing, and applies at once
    /// to a workload that comes back.
    fn steps(&self, facts: &Facts<'_>, settings: &Settings, cluster: &Cluster) -> Vec<Step> {
        match self.off(facts, cluster) {
            Some(why) => self.take_off(why, facts.now),
            None => self.keep(facts, settings).into_iter().collect(),
        }
    }

    /// Why the policy is not to be in force, if it is: a word and a sentence.
    fn off(&self, facts: &Facts<'_>, cluster: &Cluster) -> Option<(&'static str, String)> {
        let status = &self.known.status;
        if self.own.is_none() && status.applied.is_none() {
            return None;
        }
        // Its own label, if it had one, went with the workload: what the namespace asks for remains.
        let namespace = facts.namespace(&self.name.namespace);
        let last = facts.last_mode(&self.name.namespace);
        let mode = Label::of(namespace.mode.as_deref()).mode(last.or(status.namespace_mode));
        if mode != Mode::Enforce {
            let mode = mode.word();
            let why = format!("its workload is gone, and the mode of its namespace is {mode}");
            return Some(("NotEnforced", why));
        }
        let spec = self.known.spec.as_ref();
        if spec.is_some_and(|spec| spec.roll_back == Some(true)) {
            let against = Against::TakenOff;
            return Some((against.word(), against.to_string()));
        }
        let other = self.selected(self.own?, cluster)?;
        let (kind, name) = (&other.kind, &other.name);
        // It was learned from another one, and nobody would be told of what it denies.
        let why = format!("its workload is gone, and it selects pods of {kind}/{name} now");
        Some(("WorkloadGone", why))
    }

    /// A workload that the policy of the one that is gone applies to.
    fn selected<'c>(&self, own: &Live, cluster: &'c Cluster) -> Option<&'c WorkloadName> {
        let selector = own.policy.spec.as_ref()?.pod_selector.clone();
        let selector = selector.unwrap_or_default();
        let namespace = self.name.namespace.as_str();
        let all = cluster
            .workloads
            .range(WorkloadName::new(namespace, "", "")..);
        let mut all = all.take_while(|(name, _)| name.namespace == namespace);
        let found = all.find(|(_, workload)| {
            let mut sets = workload.label_sets.iter();
            !workload.host_network && sets.any(|labels| selects(&selector, labels))
        });
        found.map(|(name, _)| name)
    }

    fn take_off(&self, (word, why): (&'static str, String), now: Timestamp) -> Vec<Step> {
        let mut status = self.known.status.clone();
        status.gone_since.get_or_insert(now);
        answer::take_off(&mut status, word, why.clone(), now);
        let event = Event::normal("Removed", format!("The NetworkPolicy was deleted: {why}."));
        let mut steps: Vec<Step> = self.own.map(Live::removal).into_iter().collect();
        if status != self.known.status {
            steps.push(Step::Answer(Box::new(status)));
        }
        steps.extend(self.own.map(|_| Step::Tell(event)));
        steps
    }

    /// Says since when the workload is gone; in the end forgets it.
    fn keep(&self, facts: &Facts<'_>, settings: &Settings) -> Option<Step> {
        let known = self.known;
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
}
