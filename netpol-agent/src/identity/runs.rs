//! Owners that exist for one run each, and the stable name under which their runs are grouped.
//!
//! A Job, a pipeline run or a workflow lives for one run and bears a name of its own; one workload per run would make
//! policies that are stale the next day. So runs are grouped under their names less what is generated in them:
//!
//! 1. An object that says from which `generateName` its name was made belongs to the group of that prefix.
//! 2. Else the segments between `-` and `.` that look generated are dropped, wherever they stand after the first
//!    (`build-x7k2p-compile` is `build-compile`): random suffixes as the API server draws them, hexadecimal digests,
//!    numbers of six digits or more (dates, Unix times, build numbers). Of kinds that are runs by their names (Job,
//!    Workflow, …Run, …Job) shorter numbers and `v1`, `r1` go too.
//! 3. A name that consists of nothing else is kept as it is.

/// Letters and digits that the API server draws suffixes from: `k8s.io/apimachinery/pkg/util/rand`.
const DRAWN: &str = "bcdfghjklmnpqrstvwxz2456789";
/// How many of them it draws.
const DRAWN_LENGTH: usize = 5;
/// Ends of the names of kinds whose objects stand for one run.
const RUN_KINDS: [&str; 8] = [
    "Run",
    "Job",
    "Workflow",
    "Task",
    "Build",
    "Execution",
    "Application",
    "Test",
];

/// The stable name of a run of some kind.
pub(super) fn group(kind: &str, name: &str, generate_name: Option<&str>) -> String {
    let prefix = generate_name.map(|prefix| prefix.trim_end_matches(['-', '.']));
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        return prefix.to_owned();
    }
    let bare_kind = kind.split_once('.').map_or(kind, |(kind, _)| kind);
    let run_kind = RUN_KINDS.iter().any(|end| bare_kind.ends_with(end));
    let generated = |segment: &&str| is_generated(trimmed(segment), run_kind);
    let mut segments = name.split_inclusive(['-', '.']);
    if segments.clone().all(|segment| generated(&segment)) {
        return name.to_owned();
    }
    let first = segments.next();
    let rest = segments.filter(|segment| !generated(segment));
    let joined: String = first.into_iter().chain(rest).collect();
    trimmed(&joined).to_owned()
}

/// The stable name of a `CronJob` whose Job has this name, if the name is one that its controller gives: the minute
/// of the run, since 1970, at the end.
///
/// Source: `getJobName` in Kubernetes' `pkg/controller/cronjob/utils.go`.
pub(super) fn cron_job(job: &str) -> Option<(&str, i64)> {
    let (name, minute) = job.rsplit_once('-')?;
    let minute = minute.parse::<u32>().ok()?;
    (!name.is_empty()).then_some((name, i64::from(minute)))
}

fn trimmed(segment: &str) -> &str {
    segment.trim_end_matches(['-', '.'])
}

fn is_generated(segment: &str, run_kind: bool) -> bool {
    let digits = segment.bytes().all(|byte| byte.is_ascii_digit());
    let drawn = segment.len() == DRAWN_LENGTH && segment.chars().all(|each| DRAWN.contains(each));
    if digits && !segment.is_empty() {
        return run_kind || segment.len() >= 6 || drawn;
    }
    drawn || is_digest(segment) || (run_kind && is_numbered(segment))
}

/// At least eight hexadecimal digits, letters and figures both.
fn is_digest(segment: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let figures = segment.bytes().filter(u8::is_ascii_digit).count();
    segment.len() >= 8 && segment.bytes().all(hex) && figures > 0 && figures < segment.len()
}

/// `v12`, `r3`, `run7`: a number behind a word that announces one.
fn is_numbered(segment: &str) -> bool {
    let number = segment.trim_start_matches(|each: char| each.is_ascii_lowercase());
    let word = segment.strip_suffix(number).unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && matches!(word, "v" | "r" | "run" | "rev" | "attempt")
}
