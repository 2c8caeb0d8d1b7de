//! Waiting until a namespace's workloads are in the mode that it asks for.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::cli::learned::{self, workload_of};
use crate::cli::output::{note, print, warn};
use crate::cli::parties;
use crate::cli::progress::Waiting;
use crate::cluster::Session;
use crate::crd::{ConditionStatus, ConditionType, LearnedPolicy, LearnedPolicyStatus, Mode};

/// How often the API server is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// How many obstacles are named one by one.
const SHOWN: usize = 20;

/// Conditions that stand against enforcing while they hold.
const AGAINST: [ConditionType; 7] = [
    ConditionType::LostEvents,
    ConditionType::ObservationGap,
    ConditionType::Unobserved,
    ConditionType::NeedsWidening,
    ConditionType::Unselectable,
    ConditionType::TooLarge,
    ConditionType::NameConflict,
];

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
    /// It will not be until somebody does something.
    Refused(String),
}

/// Says what stands against enforcing as things are.
pub(super) fn foretell(learned: &[LearnedPolicy], mode: Mode) {
    if mode != Mode::Enforce {
        return;
    }
    let told = learned.iter().filter_map(|learned| {
        let obstacles = obstacles(learned.status.as_ref()?);
        (!obstacles.is_empty()).then(|| (workload_of(learned), obstacles.join("; ")))
    });
    let told: Vec<_> = told.collect();
    for (workload, obstacles) in told.iter().take(SHOWN) {
        note(
            "finding",
            format_args!("{workload} is not enforced as it is: {obstacles}"),
        );
    }
    if let Some(more @ 1..) = told.len().checked_sub(SHOWN) {
        note(
            "finding",
            format_args!("{more} more workloads are not enforced as they are"),
        );
    }
}

/// What stands against enforcing, each in a sentence.
fn obstacles(status: &LearnedPolicyStatus) -> Vec<String> {
    let complete = status.condition(ConditionType::Complete);
    let incomplete = complete.filter(|known| known.status != ConditionStatus::True);
    let held = AGAINST.into_iter().filter(|kind| status.holds(*kind));
    let held = held.filter_map(|kind| status.condition(kind));
    let words = incomplete.into_iter().chain(held).map(|condition| {
        let name = format!("{:?}", condition.kind);
        match (condition.kind, condition.message.as_str()) {
            (ConditionType::Complete, "") => "not complete".to_owned(),
            (ConditionType::Complete, message) => format!("not complete ({message})"),
            (_, "") => name,
            (_, message) => format!("{name} ({message})"),
        }
    });
    words.collect()
}

/// Waits, and says what became of each workload.
pub(super) fn wait(
    session: &Session,
    namespace: &str,
    mode: Mode,
    patience: Duration,
) -> anyhow::Result<ExitCode> {
    let shown = Waiting::new("waiting for the controller");
    let until = Instant::now() + patience;
    loop {
        let learned = session.wait(learned::list(session.cluster(), Some(namespace)))?;
        let progress = learned
            .iter()
            .map(|each| (workload_of(each), judge(each, mode)));
        let progress: BTreeMap<String, Progress> = progress.collect();
        let is_pending = |progress: &&Progress| **progress == Progress::Pending;
        let pending = progress.values().filter(is_pending).count();
        if pending == 0 || Instant::now() >= until {
            drop(shown);
            return report(&progress, mode, pending);
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
fn judge(learned: &LearnedPolicy, mode: Mode) -> Progress {
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
        _ if mode == Mode::Enforce => applied(status),
        _ if status.holds(ConditionType::Applied) => Progress::Pending,
        _ => Progress::Done,
    }
}

/// Whether the policy is in force, will be, or is refused.
fn applied(status: &LearnedPolicyStatus) -> Progress {
    if status.holds(ConditionType::Applied) {
        return Progress::Done;
    }
    if status.holds(ConditionType::RolledBack) {
        let reason = status
            .rollback
            .as_ref()
            .map(|rollback| rollback.reason.clone());
        return Progress::Refused(format!("rolled back: {}", reason.unwrap_or_default()));
    }
    let known = status.condition(ConditionType::Applied);
    let refused = known.filter(|known| known.status == ConditionStatus::False);
    match refused.map(|refused| (refused.reason.as_str(), refused.message.as_str())) {
        None => Progress::Pending,
        Some((reason, _)) if UNDER_WAY.contains(&reason) => Progress::Pending,
        Some(("NoEdges", message)) => Progress::DoneBut(message.to_owned()),
        Some((reason, "")) => Progress::Refused(reason.to_owned()),
        Some((_, message)) => Progress::Refused(message.to_owned()),
    }
}

fn report(
    progress: &BTreeMap<String, Progress>,
    mode: Mode,
    pending: usize,
) -> anyhow::Result<ExitCode> {
    let rows = progress.iter().map(|(workload, progress)| {
        let (word, why) = match progress {
            Progress::Done => (mode.word(), String::new()),
            Progress::DoneBut(why) => ("-", why.clone()),
            Progress::Pending => ("pending", String::new()),
            Progress::Refused(why) => ("refused", why.clone()),
        };
        [workload.clone(), word.to_owned(), why]
    });
    print(parties::table(["WORKLOAD", "STATE", "WHY"], rows).as_bytes())?;
    let is_refused = |progress: &&Progress| matches!(progress, Progress::Refused(_));
    let refused = progress.values().filter(is_refused).count();
    let all = progress.len();
    if pending > 0 {
        bail!(
            "{pending} of {all} workloads are not through yet: wait longer with --timeout, or look again with \
             `kubectl netpol status`"
        );
    }
    if refused > 0 {
        warn(
            "the annotation netpol.io/force on the namespace overrides that a workload is incomplete, and nothing else",
        );
        bail!("{refused} of {all} workloads are refused");
    }
    Ok(ExitCode::SUCCESS)
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

    #[test]
    fn progress_is_what_the_status_says() {
        let refused = |why: &str| Progress::Refused(why.to_owned());
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
                refused("it is not complete"),
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
                refused("rolled back: 5 violations"),
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
                judge(&learned(status.clone()), Mode::Enforce),
                expected,
                "{status}"
            );
        }
        let own = json!({"namespaceMode": "learn", "mode": "audit"});
        assert_eq!(
            judge(&learned(own), Mode::Learn),
            but("its own label says audit")
        );
        let leaving = json!({"namespaceMode": "learn", "mode": "learn",
            "conditions": [condition("Applied", "True", "Applied", "")]});
        assert_eq!(judge(&learned(leaving), Mode::Learn), Progress::Pending);
        let audit = json!({"namespaceMode": "audit", "mode": "audit"});
        assert_eq!(judge(&learned(audit), Mode::Audit), Progress::Done);
    }
}
