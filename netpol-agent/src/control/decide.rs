//! From what is known to what is to be written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use netpol_common::names::{ObjectName, WorkloadName};

use super::answer::Parts;
use super::change::{Change, Decision, Event, Step};
use super::complete;
use super::enforce::{Case, Outcome, Repairs};
use super::facts::{Facts, Settings};
use super::gates::{self, Against};
use super::propose;
use super::rollback::{self, Failures};
use super::rollout;
use super::subject::{self, Subject};
use super::violations::{self, Found};
use super::{gone, ours};
use crate::crd::{LearnedPolicyStatus, Observation, ProposedPolicy, limits};
use crate::policy::against::coverage::Coverage as Judge;
use crate::policy::evaluate::{Compiled, Reading, World};
use crate::policy::model::NAMESPACE;
use crate::policy::{Cluster, OptionsFor, Synthesis};

/// What is remembered from decision to decision. Losing it loses nothing but patience: failures are counted anew.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    began: Option<Timestamp>,
    failures: BTreeMap<WorkloadName, Failures>,
    pub(super) repairs: Repairs,
}

/// Decides what is to be written.
#[must_use]
pub fn decide(facts: &Facts<'_>, settings: &Settings, memory: &mut Memory) -> Decision {
    let cluster = Cluster::of(facts.index);
    let names = subject::names(facts, &cluster);
    let mut subjects = subjects(facts, settings, &cluster, &names);
    let began = *memory.began.get_or_insert(facts.now);
    learn(&mut subjects, facts, settings, &cluster, began);
    propose::propose(&mut subjects, &cluster, settings);
    let found = find_violations(&subjects, facts, &cluster, &names);
    let failing = failing(&subjects, facts, settings, memory);
    // A policy without a proposal is nobody's to repair.
    let is_there = |name: &ObjectName, _: &mut _| facts.proposals.contains_key(name);
    memory.repairs.retain(is_there);
    let mut decision = act(
        &subjects, found, &failing, facts, settings, memory, &cluster,
    );
    decision
        .changes
        .extend(gone::changes(facts, settings, &subjects, &cluster));
    decision.changes.sort_by_key(|change| !change.removes());
    decision
}

/// Every workload that gets a policy of its own, and every namespace that asks for one or has asked.
pub(super) fn subjects<'a>(
    facts: &Facts<'a>,
    settings: &Settings,
    cluster: &Cluster,
    names: &BTreeMap<WorkloadName, ObjectName>,
) -> Vec<Subject<'a>> {
    let is_there = |name: &WorkloadName| {
        let known = cluster.workloads.get(name);
        known.is_some_and(|known| !known.host_network) && !settings.uninstalls(name)
    };
    let writes = |name: &WorkloadName| !facts.namespace(&name.namespace).terminating;
    let own = names
        .iter()
        .filter(|(name, _)| is_there(name) && writes(name));
    let own = own.map(|(workload, name)| {
        let mut subject = Subject::new(workload.clone(), name.clone(), facts, settings);
        let label = facts.labels.get(workload);
        subject.choose(label);
        subject
    });
    let mut all: Vec<Subject<'_>> = own.collect();
    let asked = facts
        .namespaces
        .iter()
        .filter(|(_, namespace)| namespace.default_deny);
    let asked = asked.map(|(name, _)| WorkloadName::new(name, NAMESPACE, name));
    let known = names.keys().filter(|name| name.kind == NAMESPACE).cloned();
    let whole: BTreeSet<WorkloadName> = asked.chain(known).filter(writes).collect();
    for workload in whole {
        let plain = || ObjectName::new(&workload.namespace, propose::DEFAULT_DENY);
        let name = names.get(&workload).cloned().unwrap_or_else(plain);
        let mut subject = Subject::new(workload, name, facts, settings);
        subject.choose(None);
        all.push(subject);
    }
    all
}

/// How each policy is written, of what was learned.
pub(super) fn written(subjects: &[Subject<'_>], settings: &Settings) -> OptionsFor {
    let all = subjects
        .iter()
        .map(|subject| (subject.workload.clone(), subject.written()));
    OptionsFor {
        cluster: settings.options.clone(),
        // Mostly nobody asks for anything else.
        workloads: all
            .filter(|(_, written)| *written != settings.options)
            .collect(),
        ..OptionsFor::default()
    }
}

/// Takes in what was learned of each workload, chooses its mode, and settles what its proposal rests on.
fn learn(
    subjects: &mut [Subject<'_>],
    facts: &Facts<'_>,
    settings: &Settings,
    cluster: &Cluster,
    began: Timestamp,
) {
    let earlier = subjects.iter().filter_map(|subject| {
        let known = subject.before().observation?;
        Some((subject.workload.clone(), known))
    });
    let earlier: BTreeMap<WorkloadName, Observation> = earlier.collect();
    let options = written(subjects, settings);
    let mut known = complete::knowledge(facts, settings, &options, &earlier, began);
    let synthesis = Synthesis::of(facts.graph, cluster, &options).without_evidence();
    for subject in subjects.iter_mut() {
        subject.knowledge = known.remove(&subject.workload).unwrap_or_default();
        subject.choose(facts.labels.get(&subject.workload));
    }
    propose::from_learned(subjects, synthesis.proposal());
    for subject in subjects {
        match (subject.is_plain(), subject.way.proposes) {
            (true, false) => {}
            (true, true) => subject.edges = synthesis.learned_edges_of(&subject.workload),
            (false, _) => {
                let edges = synthesis.edges_of(&subject.workload);
                subject.settle((edges.learned, edges.rejected), facts, cluster);
            }
        }
    }
}

/// The violations of every workload whose edges are frozen, by place.
fn find_violations(
    subjects: &[Subject<'_>],
    facts: &Facts<'_>,
    cluster: &Cluster,
    names: &BTreeMap<WorkloadName, ObjectName>,
) -> BTreeMap<usize, Found> {
    let audited = |subject: &&Subject<'_>| subject.frozen.is_some() && !subject.is_namespace();
    if !subjects.iter().any(|subject| audited(&subject)) {
        return BTreeMap::new();
    }
    let world = World::of(facts.index);
    let live: Vec<NetworkPolicy> = (facts.policies.values())
        .map(|live| live.policy.clone())
        .collect();
    let others = facts.policies.values().filter(|live| !live.is_ours());
    let mut frozen: Vec<NetworkPolicy> = others.map(|live| live.policy.clone()).collect();
    frozen.extend(subjects.iter().filter(audited).filter_map(propose::object));
    let tables = [&live, &frozen].map(|all| Compiled::new(&world, all, Reading::default()));
    let [live, frozen] = &tables;
    let [live, frozen] = [live, frozen].map(|table| Judge::new(cluster, &world, table));
    let since: BTreeMap<&WorkloadName, Timestamp> = subjects
        .iter()
        .filter_map(|subject| Some((&subject.workload, in_force(subject)?)))
        .collect();
    let mut tried = violations::attempted(facts.graph, |name| since.get(name).copied());
    let proposal_of = |name: &WorkloadName| names.get(name).cloned();
    let numbered = subjects.iter().enumerate();
    numbered
        .filter(|(_, subject)| audited(subject))
        .map(|(place, subject)| {
            let before = subject.before();
            let applied = since.contains_key(&subject.workload);
            let judge = if applied { &live } else { &frozen };
            let tried = tried.remove(&subject.workload).unwrap_or_default();
            // What was learned before the policy was in force, and nobody decided on, stays a violation: an agent may
            // tell of it late, and who needs it may not try again before long.
            let mut candidates = subject.learned.clone();
            for (candidates, tried) in candidates.iter_mut().zip(&tried) {
                candidates.extend(tried.iter().cloned());
            }
            let wanted = violations::Subject {
                name: &subject.workload,
                allowed: &subject.rests_on,
                rejected: &subject.rejected,
                candidates,
                tried,
                known: &before.violations,
            };
            let found = violations::find(&wanted, facts.graph, judge, &proposal_of, facts.now);
            (place, found)
        })
        .collect()
}

/// Since when a workload's policy is in force, if it is to stay so.
fn in_force(subject: &Subject<'_>) -> Option<Timestamp> {
    let applied = subject.before().applied?;
    subject.way.applies.then_some(applied.at)
}

/// The workloads of which good edges fail too often since their policies were applied, by place.
fn failing(
    subjects: &[Subject<'_>],
    facts: &Facts<'_>,
    settings: &Settings,
    memory: &mut Memory,
) -> BTreeMap<usize, u64> {
    let since = facts.ago(settings.armed);
    let armed = |subject: &Subject<'_>| {
        let applied = subject.before().applied.filter(|_| subject.way.applies)?;
        let trigger = subject.trigger?;
        (applied.changed > since).then_some((applied.changed, trigger))
    };
    let all: BTreeMap<WorkloadName, Timestamp> = subjects
        .iter()
        .filter_map(|subject| Some((subject.workload.clone(), armed(subject)?.0)))
        .collect();
    memory.failures.retain(|name, _| all.contains_key(name));
    let all_rejected = subjects
        .iter()
        .map(|subject| (&subject.workload, &subject.rejected));
    let rejected = rollback::rejected(all_rejected);
    let failed = rollback::failures(facts.graph, facts.index, &all, &rejected);
    let numbered = subjects.iter().enumerate();
    numbered
        .filter_map(|(place, subject)| {
            let (changed, trigger) = armed(subject)?;
            let count = failed.get(&subject.workload).copied().unwrap_or(0);
            let known = memory.failures.entry(subject.workload.clone()).or_default();
            let rejected = rejected.get(&subject.workload).cloned();
            let since = (changed, rejected.unwrap_or_default());
            let number = known.look(since, count, trigger.within, facts.now);
            (number >= trigger.failures).then_some((place, number))
        })
        .collect()
}

fn act(
    subjects: &[Subject<'_>],
    mut found: BTreeMap<usize, Found>,
    failing: &BTreeMap<usize, u64>,
    facts: &Facts<'_>,
    settings: &Settings,
    memory: &mut Memory,
    cluster: &Cluster,
) -> Decision {
    let mut decision = Decision::default();
    let called = gates::called(facts, cluster);
    let seen = gates::seen_called(facts.graph, cluster);
    let mut rollout = rollout::Rollout::new(subjects, &found, failing, facts, settings);
    for (place, subject) in subjects.iter().enumerate() {
        let found = found.remove(&place).unwrap_or_default();
        if subject.known.is_none() {
            decision.changes.extend(first(subject));
            continue;
        }
        let proposed = proposed(subject);
        let too_large = subject.too_many || proposed.as_ref().is_some_and(is_too_large);
        let proposed = proposed.filter(|_| !too_large);
        let protected = gates::protected(&subject.workload, settings, &called, &seen);
        let against = against(subject, protected, too_large);
        let may_go = gates::standing(against.clone(), subject.namespace.force).is_empty();
        let case = Case {
            subject,
            wanted: proposed.as_ref().map(|proposed| &proposed.spec),
            waits: (may_go && proposed.is_some())
                .then(|| rollout.turn(subject))
                .flatten(),
            against,
            failing: failing.get(&place).copied(),
            now: facts.now,
        };
        let outcome = case.decide(facts, &mut memory.repairs);
        let parts = Parts {
            subject,
            proposal: proposed.clone(),
            too_large,
            found: &found,
            outcome: &outcome,
            now: facts.now,
        };
        let status = parts.status();
        note(&mut decision, subject, &outcome, &found);
        decision
            .changes
            .extend(change(subject, outcome, status, &found));
    }
    decision
}

/// A proposal is made before anything else is said of it.
fn first(subject: &Subject<'_>) -> Option<Change> {
    let wanted = subject.way.proposes && !(subject.is_namespace() && subject.policy.is_none());
    wanted.then(|| Change {
        proposal: subject.name.clone(),
        uid: String::new(),
        steps: vec![Step::Propose],
    })
}

fn proposed(subject: &Subject<'_>) -> Option<ProposedPolicy> {
    let spec: NetworkPolicySpec = propose::object(subject)?.spec?;
    Some(ProposedPolicy {
        hash: ours::hash(&spec),
        spec,
    })
}

fn is_too_large(proposed: &ProposedPolicy) -> bool {
    let written = serde_json::to_string(&proposed.spec);
    written.map_or(true, |text| text.len() > limits::BYTES)
}

/// What stands against putting a proposal into force.
fn against(
    subject: &Subject<'_>,
    protected: Option<gates::Protected>,
    too_large: bool,
) -> Vec<Against> {
    let missing = &subject.knowledge.coverage.missing;
    let incomplete = (!missing.is_empty()).then(|| Against::Incomplete(missing.clone()));
    let wide = subject
        .needs_widening
        .as_ref()
        .map(|_| Against::NeedsWidening);
    let withheld = subject.withheld.as_ref().map(|_| Against::Unselectable);
    let unreadable = !subject.wrong.is_empty();
    [
        withheld,
        too_large.then_some(Against::TooLarge),
        unreadable.then_some(Against::Unreadable),
        subject.namespace.pause.then_some(Against::Paused),
        protected.map(Against::Protected),
        wide,
        incomplete,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is to be done about a proposal that is there; nothing, if nothing that a reader cares about has changed.
fn change(
    subject: &Subject<'_>,
    outcome: Outcome,
    status: LearnedPolicyStatus,
    found: &Found,
) -> Option<Change> {
    let before = subject.before();
    let mut steps = outcome.steps;
    if status != before {
        steps.push(Step::Answer(Box::new(status)));
    }
    steps.extend(outcome.events.into_iter().map(Step::Tell));
    let told = found.told.iter();
    steps.extend(told.map(|one| Step::Tell(violation(one))));
    (!steps.is_empty()).then(|| Change {
        proposal: subject.name.clone(),
        uid: subject.uid().to_owned(),
        steps,
    })
}

fn violation(one: &crate::crd::Violation) -> Event {
    let (direction, edge, id) = (&one.direction, &one.edge, &one.id);
    let places = one.approve_in.join(" and ");
    let note = format!(
        "{direction} {edge} is not allowed (violation {id}). To allow it, write {edge:?} into spec.approved of \
         LearnedPolicy {places}."
    );
    Event::warning("Violation", note)
}

fn note(decision: &mut Decision, subject: &Subject<'_>, outcome: &Outcome, found: &Found) {
    let figures = &mut decision.figures;
    *figures.modes.entry(subject.chosen.mode).or_default() += 1;
    figures.applied += usize::from(outcome.applied.is_some());
    figures.told += found.told.len();
    if found.open > 0 {
        let open = figures
            .open_violations
            .entry(subject.name.namespace.clone())
            .or_default();
        *open += u64::from(found.open);
    }
}
