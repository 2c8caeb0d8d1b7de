//! Putting the workloads of a namespace into force in steps: a few, watch them, go on.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::facts::{Facts, Settings};
use super::subject::Subject;
use super::violations::Found;

/// How far each namespace is.
pub(super) struct Rollout {
    step: usize,
    namespaces: BTreeMap<String, Namespace>,
}

#[derive(Default)]
struct Namespace {
    /// Workloads that were put into force lately, and until when the last of them is watched.
    watched: usize,
    until: Option<Timestamp>,
    /// Why nothing goes on.
    halted: Option<String>,
    /// Workloads that policies are not in force of, though they are to be.
    outstanding: Vec<String>,
}

impl Rollout {
    pub(super) fn new(
        subjects: &[Subject<'_>],
        found: &BTreeMap<usize, Found>,
        failing: &BTreeMap<usize, u64>,
        facts: &Facts<'_>,
        settings: &Settings,
    ) -> Self {
        let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
        let since = facts.ago(settings.watch);
        for (place, subject) in subjects.iter().enumerate() {
            let name = &subject.name.name;
            let known = namespaces
                .entry(subject.name.namespace.clone())
                .or_default();
            let before = subject.before();
            if failing.contains_key(&place)
                || before.rollback.is_some_and(|rollback| rollback.at > since)
            {
                known.halted = Some(format!("{name} was rolled back"));
            }
            let Some(applied) = before.applied.filter(|_| subject.way.applies) else {
                if !subject.is_namespace() {
                    known.outstanding.extend(outstanding(subject));
                }
                continue;
            };
            if applied.at > since {
                known.watched += 1;
                let until = applied.at.saturating_add(settings.watch).ok();
                known.until = known.until.max(until);
                let open = found.get(&place).map_or(0, |found| found.open_since);
                if open > 0 {
                    known.halted = Some(format!("{name} has open violations: {open}"));
                }
            }
        }
        Self {
            step: settings.step.max(1),
            namespaces,
        }
    }

    /// Why a workload that is not in force yet has to wait; nothing, if it is its turn, which it takes then.
    pub(super) fn turn(&mut self, subject: &Subject<'_>) -> Option<String> {
        if !subject.way.applies || subject.before().applied.is_some() {
            return None;
        }
        let known = self
            .namespaces
            .entry(subject.name.namespace.clone())
            .or_default();
        if subject.is_namespace() {
            let first = known
                .outstanding
                .first()
                .filter(|_| !subject.namespace.force)?;
            return Some(format!("{first} is not in force yet and would be cut off"));
        }
        if let Some(why) = &known.halted {
            return Some(format!("the roll-out in this namespace halts: {why}"));
        }
        if known.watched < self.step {
            known.watched += 1;
            return None;
        }
        let until = known
            .until
            .map_or(String::new(), |until| format!(" until {until}"));
        Some(format!("{} others are watched first{until}", known.watched))
    }
}

/// A workload that a policy which denies all else would cut off: it has edges, or may have.
fn outstanding(subject: &Subject<'_>) -> Option<String> {
    let quiet = subject.policy.is_none() && subject.knowledge.complete();
    (!quiet).then(|| subject.name.name.clone())
}
