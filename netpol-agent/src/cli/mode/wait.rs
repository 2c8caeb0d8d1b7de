//! Waiting until a namespace's workloads are in the mode that it asks for.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::force;
use crate::cli::learned::{self, workload_of};
use crate::cli::output::print;
use crate::cli::parties;
use crate::cli::progress::Waiting;
use crate::cluster::Session;
use crate::control::{Against, yields_to_force};
use crate::crd::{ConditionStatus, ConditionType, LearnedPolicy, LearnedPolicyStatus, Mode};

/// How often the API server is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Reasons of `Applied` that pass by themselves.
const UNDER_WAY: [&str; 3] = ["Contested", "NotEnforced", "Waiting"];

/// How far a workload is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Progress {
    /// It is there.
    Done,
    /// It is there in a way that is worth a word.
    DoneBut(String),
    /// It will be.
    Pending,
    /// It will not be until somebody does something: why, in a word and in a sentence.
    Refused(String, String),
}

/// What is waited for.
pub(super) struct Asked<'a> {
    /// Of which namespace.
    pub(super) namespace: &'a str,
    /// What its label asks for.
    pub(super) mode: Mode,
    /// Whether it is annotated `netpol.io/force=true`.
    pub(super) force: bool,
}

/// Waits, and says what became of each workload.
pub(super) fn wait(
    session: &Session,
    asked: &Asked<'_>,
    patience: Duration,
) -> anyhow::Result<ExitCode> {
    let shown = Waiting::new("waiting for the controller");
    let until = Instant::now() + patience;
    loop {
        let learned = session.wait(learned::list(session.cluster(), Some(asked.namespace)))?;
        let progress = learned
            .iter()
            .map(|each| (workload_of(each), judge(each, asked)));
        let progress: BTreeMap<String, Progress> = progress.collect();
        let is_pending = |progress: &&Progress| **progress == Progress::Pending;
        let pending = progress.values().filter(is_pending).count();
        if pending == 0 || Instant::now() >= until {
            drop(shown);
            return report(&progress, asked, pending);
        }
        let done = progress.len() - pending;
        shown.now(format!(
            "{done} of {} workloads are through",
            progress.len()
        ));
        session.sleep(PAUSE);
    }
}

/// How far a workload is on its way to what its namespace asks for.
fn judge(learned: &LearnedPolicy, asked: &Asked<'_>) -> Progress {
    let mode = asked.mode;
    let Some(status) = &learned.status else {
        return Progress::Pending;
    };
    if status.gone_since.is_some() {
        return Progress::DoneBut("the workload is gone".to_owned());
    }
    if status.namespace_mode != Some(mode) {
        return Progress::Pending;
    }
    if status.learning_alone {
        return Progress::DoneBut("new here: it learns by itself first".to_owned());
    }
    match status.mode {
        Some(known) if known > mode => {
            Progress::DoneBut(format!("its own label says {}", known.word()))
        }
        Some(known) if known < mode => Progress::Pending,
        _ if mode == Mode::Enforce => applied(status, asked.force),
        _ if status.holds(ConditionType::Applied) => Progress::Pending,
        _ => Progress::Done,
    }
}

/// Whether the policy is in force, will be, or is refused. What force overrides was said before it was looked at.
fn applied(status: &LearnedPolicyStatus, force: bool) -> Progress {
    if status.holds(ConditionType::Applied) {
        return Progress::Done;
    }
    if status.holds(ConditionType::RolledBack) {
        let reason = status
            .rollback
            .as_ref()
            .map(|rollback| rollback.reason.clone());
        let why = format!("rolled back: {}", reason.unwrap_or_default());
        return Progress::Refused(Against::RolledBack.word().to_owned(), why);
    }
    let known = status.condition(ConditionType::Applied);
    let refused = known.filter(|known| known.status == ConditionStatus::False);
    match refused.map(|refused| (refused.reason.as_str(), refused.message.as_str())) {
        None => Progress::Pending,
        Some((reason, _)) if UNDER_WAY.contains(&reason) => Progress::Pending,
        Some(("NoEdges", message)) => Progress::DoneBut(message.to_owned()),
        Some((reason, _)) if force && yields_to_force(reason) => Progress::Pending,
        Some((reason, "")) => Progress::Refused(reason.to_owned(), reason.to_owned()),
        Some((reason, message)) => Progress::Refused(reason.to_owned(), message.to_owned()),
    }
}

fn report(
    progress: &BTreeMap<String, Progress>,
    asked: &Asked<'_>,
    pending: usize,
) -> anyhow::Result<ExitCode> {
    let rows = progress.iter().map(|(workload, progress)| {
        let (word, why) = match progress {
            Progress::Done => (asked.mode.word(), String::new()),
            Progress::DoneBut(why) => ("-", why.clone()),
            Progress::Pending => ("pending", String::new()),
            Progress::Refused(_, why) => ("refused", why.clone()),
        };
        [workload.clone(), word.to_owned(), why]
    });
    print(parties::table(["WORKLOAD", "STATE", "WHY"], rows).as_bytes())?;
    let refused = progress
        .iter()
        .filter_map(|(workload, progress)| match progress {
            Progress::Refused(word, _) => Some((workload.as_str(), word.as_str())),
            _ => None,
        });
    let refused: Vec<(&str, &str)> = refused.collect();
    let all = progress.len();
    if pending > 0 {
        bail!(
            "{pending} of {all} workloads are not through yet: wait longer with --timeout, or look again with \
             `kubectl netpol status`"
        );
    }
    if refused.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let never = refused.iter().filter(|(_, word)| !yields_to_force(word));
    let never: Vec<(&str, &str)> = never.copied().collect();
    force::tell(asked.namespace, refused.len() - never.len(), &never);
    bail!("{} of {all} workloads are refused", refused.len());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn learned(status: Value) -> LearnedPolicy {
        let mut learned = LearnedPolicy::named("shop", "web-deployment");
        learned.status = Some(serde_json::from_value(status).unwrap());
        learned
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        })
    }

    fn asked(mode: Mode) -> Asked<'static> {
        Asked {
            namespace: "shop",
            mode,
            force: false,
        }
    }

    #[test]
    fn what_force_overrides_is_waited_for() {
        let forced = Asked {
            force: true,
            ..asked(Mode::Enforce)
        };
        let cases = [
            ("Incomplete", true),
            ("NeedsWidening", true),
            ("Protected", true),
            ("NameConflict", false),
            ("Unselectable", false),
            ("TooLarge", false),
            ("Paused", false),
        ];
        for (reason, yields) in cases {
            let refused = json!({"namespaceMode": "enforce", "mode": "enforce",
                "conditions": [condition("Applied", "False", reason, "so it is")]});
            let expected = Progress::Refused(reason.to_owned(), "so it is".to_owned());
            let refused = learned(refused);
            assert_eq!(judge(&refused, &asked(Mode::Enforce)), expected);
            let expected = if yields { Progress::Pending } else { expected };
            assert_eq!(judge(&refused, &forced), expected, "{reason}");
        }
    }

    #[test]
    fn progress_is_what_the_status_says() {
        let refused = |word: &str, why: &str| Progress::Refused(word.to_owned(), why.to_owned());
        let but = |why: &str| Progress::DoneBut(why.to_owned());
        let incomplete = condition("Complete", "False", "TooShort", "3 of 24 h");
        let cases = [
            (json!({}), Progress::Pending),
            (
                json!({"namespaceMode": "learn", "mode": "enforce"}),
                Progress::Pending,
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "learn"}),
                Progress::Pending,
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "enforce"}),
                Progress::Pending,
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "enforce",
                    "conditions": [condition("Applied", "True", "Applied", "")]}),
                Progress::Done,
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "enforce",
                    "conditions": [incomplete, condition("Applied", "False", "Incomplete", "it is not complete")]}),
                refused("Incomplete", "it is not complete"),
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "enforce",
                    "conditions": [condition("Applied", "False", "Waiting", "its turn comes")]}),
                Progress::Pending,
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "enforce",
                    "rollback": {"id": "1", "at": "2026-01-02T03:04:05Z", "reason": "5 violations"},
                    "conditions": [condition("RolledBack", "True", "Violations", "")]}),
                refused("RolledBack", "rolled back: 5 violations"),
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "enforce",
                    "conditions": [condition("Applied", "False", "NoEdges", "nothing to allow")]}),
                but("nothing to allow"),
            ),
            (
                json!({"namespaceMode": "enforce", "mode": "learn", "learningAlone": true}),
                but("new here: it learns by itself first"),
            ),
            (
                json!({"goneSince": "2026-01-02T03:04:05Z"}),
                but("the workload is gone"),
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(
                judge(&learned(status.clone()), &asked(Mode::Enforce)),
                expected,
                "{status}"
            );
        }
        let own = json!({"namespaceMode": "learn", "mode": "audit"});
        assert_eq!(
            judge(&learned(own), &asked(Mode::Learn)),
            but("its own label says audit")
        );
        let leaving = json!({"namespaceMode": "learn", "mode": "learn",
            "conditions": [condition("Applied", "True", "Applied", "")]});
        assert_eq!(
            judge(&learned(leaving), &asked(Mode::Learn)),
            Progress::Pending
        );
        let audit = json!({"namespaceMode": "audit", "mode": "audit"});
        assert_eq!(judge(&learned(audit), &asked(Mode::Audit)), Progress::Done);
    }
}
