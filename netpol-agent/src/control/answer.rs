//! The status of a proposal.

use jiff::Timestamp;

use super::enforce::Outcome;
use super::subject::Subject;
use super::violations::Found;
use crate::crd::{
    Condition, ConditionStatus, ConditionType, Counts, LearnedPolicyStatus, ProposedPolicy,
    WorkloadRef, limits,
};

/// What a status is made of, besides the workload itself.
pub(super) struct Parts<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) proposal: Option<ProposedPolicy>,
    /// Whether an object cannot hold the proposal.
    pub(super) too_large: bool,
    pub(super) found: &'a Found,
    pub(super) outcome: &'a Outcome,
    pub(super) now: Timestamp,
}

impl Parts<'_> {
    /// The status.
    pub(super) fn status(&self) -> LearnedPolicyStatus {
        let subject = self.subject;
        let (kind, name) = (&subject.workload.kind, &subject.workload.name);
        let knowledge = &subject.knowledge;
        let nothing = crate::crd::Observation::default();
        LearnedPolicyStatus {
            observed_generation: subject.known.and_then(|known| known.generation),
            workload: Some(format!("{kind}/{name}")),
            workload_ref: Some(WorkloadRef {
                kind: kind.clone(),
                name: name.clone(),
            }),
            mode: Some(subject.chosen.mode),
            namespace_mode: Some(subject.namespace_mode),
            learning_alone: subject.chosen.alone,
            frozen: subject.frozen.clone(),
            proposal: self.proposal.clone(),
            coverage: (!subject.is_namespace()).then(|| knowledge.coverage.clone()),
            counts: self.counts(),
            violations: self.found.listed.clone(),
            applied: self.outcome.applied.clone(),
            rollback: self.outcome.rollback.clone(),
            observation: (knowledge.observation != nothing).then(|| knowledge.observation.clone()),
            gone_since: None,
            conditions: self.conditions(),
        }
    }

    fn counts(&self) -> Counts {
        let subject = self.subject;
        let rules = subject.policy.as_ref();
        let rules = rules.map_or(0, |policy| policy.ingress.len() + policy.egress.len());
        let absent = subject.absent;
        Counts {
            rules: figure(rules),
            edges: figure(subject.edges),
            absent_edges: figure(absent),
            open_violations: self.found.open,
            violations: self.found.all,
        }
    }

    fn conditions(&self) -> Vec<Condition> {
        let before = self.subject.before();
        let now = whole_second(self.now);
        let condition = |kind: ConditionType| {
            let (holds, reason, message) = self.judge(kind);
            let status = match holds {
                true => ConditionStatus::True,
                false => ConditionStatus::False,
            };
            let known = before.condition(kind);
            let since = known.filter(|known| known.status == status);
            Condition {
                kind,
                status,
                reason: reason.to_owned(),
                message: short(message),
                last_transition_time: since.map_or(now, |known| known.last_transition_time),
            }
        };
        ConditionType::ALL.map(condition).into()
    }

    /// Whether a condition holds, why in a word, and why in a sentence.
    fn judge(&self, kind: ConditionType) -> (bool, &'static str, String) {
        use ConditionType as Type;
        let (subject, outcome) = (self.subject, self.outcome);
        let knowledge = &subject.knowledge;
        let since = |what: &str, time: Option<Timestamp>| match time {
            Some(time) => format!("last {what} within the hour from {time}"),
            None => String::new(),
        };
        let seen = &knowledge.observation;
        match kind {
            Type::Complete => match knowledge.complete() {
                true => (true, "Complete", String::new()),
                false => (false, "Incomplete", knowledge.coverage.missing.join("; ")),
            },
            Type::LostEvents => holds(knowledge.lost, "Lost", since("edge lost", seen.last_loss)),
            Type::ObservationGap => holds(
                knowledge.gap,
                "Unwatched",
                since("gap found", seen.last_gap),
            ),
            Type::Unobserved => {
                let last = since("found unobserved", seen.last_unobserved);
                holds(knowledge.unobserved, "NoAgent", last)
            }
            Type::NeedsWidening => told(subject.needs_widening.as_ref(), "ManyAddresses"),
            Type::Unselectable => told(subject.withheld.as_ref(), "Withheld"),
            Type::TooLarge => holds(self.too_large, "TooLarge", self.sizes()),
            Type::NameConflict => {
                let whose = "a NetworkPolicy of this name is there, and is not ours".to_owned();
                holds(outcome.conflict, "NotOurs", whose)
            }
            Type::Frozen => {
                let frozen = subject.frozen.as_ref();
                let since = frozen.map(|frozen| format!("since {}", frozen.at));
                told(since.as_ref(), "Frozen")
            }
            Type::Applied => self.applied(),
            Type::RolledBack => {
                let why = outcome.rollback.as_ref().map(|back| back.reason.clone());
                let asked = subject.spec.roll_back == Some(true) && subject.way.applies;
                let asked = asked.then(|| "spec.rollBack asks for it".to_owned());
                told(why.or(asked).as_ref(), "RolledBack")
            }
            Type::Violations => {
                let open = self.found.open;
                let message = match open {
                    0 => String::new(),
                    open => format!("open: {open}, of {} in all", self.found.all),
                };
                holds(open > 0, "Open", message)
            }
        }
    }

    fn applied(&self) -> (bool, &'static str, String) {
        let outcome = self.outcome;
        if !self.subject.wrong.is_empty() && outcome.applied.is_none() {
            return (false, "Unreadable", self.subject.wrong.join("; "));
        }
        match (&outcome.applied, &outcome.why_not) {
            (Some(_), None) => (true, "Applied", self.subject.wrong.join("; ")),
            (Some(_), Some((word, why))) => (true, word, why.clone()),
            (None, Some((word, why))) => (false, word, why.clone()),
            (None, None) => (false, "NotEnforced", String::new()),
        }
    }

    fn sizes(&self) -> String {
        match self.too_large {
            true => format!(
                "an object holds at most {} frozen edges a direction, and {} bytes",
                limits::FROZEN,
                limits::BYTES
            ),
            false => String::new(),
        }
    }
}

/// Says in a status that its policy is not in force, and why; what else it says stays.
pub(super) fn take_off(
    status: &mut LearnedPolicyStatus,
    word: &'static str,
    why: String,
    now: Timestamp,
) {
    status.applied = None;
    let mut conditions = status.conditions.iter_mut();
    let Some(applied) = conditions.find(|known| known.kind == ConditionType::Applied) else {
        return;
    };
    if applied.status != ConditionStatus::False {
        applied.status = ConditionStatus::False;
        applied.last_transition_time = whole_second(now);
    }
    applied.reason = word.to_owned();
    applied.message = short(why);
}

/// As every time of conditions is in the API.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn holds(holds: bool, word: &'static str, message: String) -> (bool, &'static str, String) {
    match holds {
        true => (true, word, message),
        false => (false, "AsExpected", String::new()),
    }
}

fn told(message: Option<&String>, word: &'static str) -> (bool, &'static str, String) {
    holds(
        message.is_some(),
        word,
        message.cloned().unwrap_or_default(),
    )
}

/// As much of a text as a message holds.
pub(super) fn short(text: String) -> String {
    let most = usize::try_from(limits::MESSAGE).unwrap_or(usize::MAX);
    if text.len() <= most {
        return text;
    }
    let end = text.floor_char_boundary(most - 3);
    format!("{}...", &text[..end])
}

fn figure(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
