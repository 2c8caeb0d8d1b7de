//! What becomes of the NetworkPolicy of a workload: applied, changed, repaired, kept, taken away, or refused.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use netpol_common::names::ObjectName;
use netpol_common::names::cluster::FORCE_ANNOTATION;

use super::change::{Event, Step};
use super::facts::{Facts, Live};
use super::gates::{self, Against};
use super::ours;
use super::subject::Subject;
use crate::crd::{Applied, RolledBack};

/// What is changed so often within [`CONTESTED`] is left to whoever changes it.
const REPAIRS: usize = 3;
/// See [`REPAIRS`].
const CONTESTED: SignedDuration = SignedDuration::from_mins(10);

/// When which policies were repaired lately.
pub(super) type Repairs = BTreeMap<ObjectName, VecDeque<Timestamp>>;

/// What was decided about a workload's NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) steps: Vec<Step>,
    pub(super) applied: Option<Applied>,
    pub(super) rollback: Option<RolledBack>,
    /// Why it is not in force, or not as it should be: a word and a sentence.
    pub(super) why_not: Option<(&'static str, String)>,
    pub(super) conflict: bool,
    pub(super) events: Vec<Event>,
}

/// What is known when it is decided.
pub(super) struct Case<'a> {
    pub(super) subject: &'a Subject<'a>,
    /// What is proposed, if an object can hold it.
    pub(super) wanted: Option<&'a NetworkPolicySpec>,
    /// What stands against putting it into force.
    pub(super) against: Vec<Against>,
    /// How often good edges failed, where that is too often.
    pub(super) failing: Option<u64>,
    /// Why it has to wait for others.
    pub(super) waits: Option<String>,
    pub(super) now: Timestamp,
}

impl Case<'_> {
    /// Decides.
    pub(super) fn decide(&self, facts: &Facts<'_>, repairs: &mut Repairs) -> Outcome {
        let live = facts.policies.get(&self.subject.name);
        let own = live.filter(|live| live.is_of(self.subject.uid()));
        let mut outcome = Outcome {
            conflict: live.is_some() && own.is_none(),
            rollback: self.latch(),
            ..Outcome::default()
        };
        if let Some(failures) = self.failing.filter(|_| own.is_some()) {
            self.roll_back(failures, &mut outcome);
        }
        if let Some(off) = self.off(&outcome) {
            outcome.why_not = Some(off);
            if let Some(own) = own {
                self.remove(own, &mut outcome);
            }
            return outcome;
        }
        let before = self.subject.before().applied;
        match (before, own) {
            (None, None) => self.begin(outcome.conflict, &mut outcome),
            (before, own) => {
                let adopted = || Applied {
                    hash: own.and_then(Live::hash).unwrap_or_default(),
                    at: self.now,
                    changed: self.now,
                };
                let before = before.unwrap_or_else(adopted);
                self.go_on(before, own, repairs, &mut outcome);
            }
        }
        outcome
    }

    /// The rollback that still holds.
    fn latch(&self) -> Option<RolledBack> {
        let acknowledged = self.subject.spec.acknowledged_rollback.as_deref();
        let latched = self.subject.before().rollback?;
        let holds = !self.subject.way.unlatches && acknowledged != Some(latched.id.as_str());
        holds.then_some(latched)
    }

    /// Why no policy of ours is to be there, if none is.
    fn off(&self, outcome: &Outcome) -> Option<(&'static str, String)> {
        let tell = |against: Against| (against.word(), against.to_string());
        if !self.subject.way.applies {
            return Some(("NotEnforced", self.not_asked_for()));
        }
        if self.subject.spec.roll_back == Some(true) {
            return Some(tell(Against::TakenOff));
        }
        (outcome.rollback.is_some()).then(|| tell(Against::RolledBack))
    }

    /// Why nobody wants a policy of ours to be there; also that it would take more than asking for one.
    fn not_asked_for(&self) -> String {
        let mode = self.subject.chosen.mode.word();
        let is_protected = |against: &&Against| matches!(against, Against::Protected(_));
        let protected = self.against.iter().find(is_protected);
        match protected.filter(|_| self.subject.way.proposes) {
            Some(why) => {
                format!("the mode is {mode}; enforcing takes {FORCE_ANNOTATION}=true: {why}")
            }
            None => format!("the mode is {mode}"),
        }
    }

    fn roll_back(&self, failures: u64, outcome: &mut Outcome) {
        let reason = format!(
            "{failures} attempts failed on edges that worked before the policy was applied, and whose servers have ready \
             endpoints"
        );
        outcome.events.push(Event::warning(
            "RolledBack",
            format!("The policy was taken off: {reason}."),
        ));
        outcome.rollback = Some(RolledBack {
            id: format!("rollback-{}", self.now.as_second()),
            at: self.now,
            reason,
        });
    }

    fn remove(&self, own: &Live, outcome: &mut Outcome) {
        outcome.steps.push(own.removal());
        if outcome.events.is_empty() {
            let why = outcome.why_not.as_ref().map_or("", |(_, why)| why.as_str());
            let note = format!("The NetworkPolicy was deleted: {why}.");
            outcome.events.push(Event::normal("Removed", note));
        }
    }

    /// Puts it into force, unless something stands against that.
    fn begin(&self, conflict: bool, outcome: &mut Outcome) {
        let mut against = self.against.clone();
        if conflict {
            against.insert(0, Against::NameConflict);
        }
        let standing = gates::standing(against, self.subject.namespace.force);
        if let Some(first) = standing.first() {
            let all: Vec<String> = standing.iter().map(ToString::to_string).collect();
            outcome.why_not = Some((first.word(), all.join("; ")));
            return;
        }
        let Some(wanted) = self.wanted else {
            let none = "there is nothing to allow, and so no policy".to_owned();
            outcome.why_not = Some(("NoEdges", none));
            return;
        };
        if let Some(waits) = &self.waits {
            outcome.why_not = Some(("Waiting", waits.clone()));
            return;
        }
        self.create(wanted, outcome);
        outcome.applied = Some(Applied {
            hash: ours::hash(wanted),
            at: self.now,
            changed: self.now,
        });
        let note = "The NetworkPolicy was applied.";
        outcome.events.push(Event::normal("Applied", note));
    }

    fn create(&self, wanted: &NetworkPolicySpec, outcome: &mut Outcome) {
        let object = ours::object(&self.subject.name, self.subject.uid(), wanted);
        outcome.steps.push(Step::Create(Box::new(object)));
    }

    /// Keeps it in force: changes it where the proposal changed, repairs it where somebody else changed it.
    fn go_on(
        &self,
        mut before: Applied,
        own: Option<&Live>,
        repairs: &mut Repairs,
        outcome: &mut Outcome,
    ) {
        if outcome.conflict {
            let against = Against::NameConflict;
            outcome.why_not = Some((against.word(), against.to_string()));
            return;
        }
        let held = self.held();
        let (Some(wanted), None) = (self.wanted, &held) else {
            outcome.applied = own.map(|_| before);
            outcome.why_not = own.is_none().then(|| held.unwrap_or_else(nothing));
            return;
        };
        let hash = ours::hash(wanted);
        let changed = own
            .and_then(Live::hash)
            .is_none_or(|live| live != before.hash);
        let differs = own.is_none_or(|own| !ours::same(own.policy.spec.as_ref(), Some(wanted)));
        if !differs {
            before.hash = hash;
            outcome.applied = Some(before);
            return;
        }
        if changed && !self.may_repair(repairs, outcome) {
            outcome.applied = own.map(|_| before);
            return;
        }
        match own {
            None => self.create(wanted, outcome),
            Some(own) => {
                let mut object = ours::object(&self.subject.name, self.subject.uid(), wanted);
                object.metadata.uid.clone_from(&own.policy.metadata.uid);
                let version = &own.policy.metadata.resource_version;
                object.metadata.resource_version.clone_from(version);
                outcome.steps.push(Step::Apply(Box::new(object)));
            }
        }
        if before.hash != hash {
            (before.hash, before.changed) = (hash, self.now);
        }
        outcome.applied = Some(before);
    }

    /// Why what is in force is left as it is.
    fn held(&self) -> Option<(&'static str, String)> {
        let holding = self.against.iter().find(|against| {
            matches!(
                against,
                Against::Paused | Against::TooLarge | Against::Unselectable
            )
        });
        holding.map(|against| (against.word(), against.to_string()))
    }

    /// Whether what somebody else changed is changed back, which is told; not where that goes on and on.
    fn may_repair(&self, repairs: &mut Repairs, outcome: &mut Outcome) -> bool {
        let times = repairs.entry(self.subject.name.clone()).or_default();
        let since = self.now.saturating_sub(CONTESTED).unwrap_or(Timestamp::MIN);
        while times.front().is_some_and(|at| *at <= since) {
            times.pop_front();
        }
        if times.len() >= REPAIRS {
            let note = "somebody changes the NetworkPolicy again and again: it is left as it is for some minutes";
            outcome.why_not = Some(("Contested", note.to_owned()));
            return false;
        }
        times.push_back(self.now);
        let note = "The NetworkPolicy was changed or deleted by somebody else, and was put right.";
        outcome.events.push(Event::warning("DriftRepaired", note));
        true
    }
}

impl Live {
    /// The hash of what it says.
    pub(super) fn hash(&self) -> Option<String> {
        self.policy.spec.as_ref().map(ours::hash)
    }

    /// Deleting it as it is now.
    pub(super) fn removal(&self) -> Step {
        let metadata = &self.policy.metadata;
        Step::Remove {
            uid: metadata.uid.clone().unwrap_or_default(),
            version: metadata.resource_version.clone().unwrap_or_default(),
        }
    }
}

fn nothing() -> (&'static str, String) {
    (
        "NoEdges",
        "there is nothing to allow, and so no policy".to_owned(),
    )
}
