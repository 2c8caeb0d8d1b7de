//! Which moments of a workload's life were seen: a start, a restart, a whole day, the run of a `CronJob`.
//!
//! An inventory holds the pods of one moment. Of pods that were gone by then only their traffic tells, so "not seen"
//! means: neither the pods that are known nor the records show it.

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::WorkloadName;

use crate::graph::Windows;
use crate::identity::Life;

/// Pods that start within this time of each other start together: replicas, not a restart.
const TOGETHER: SignedDuration = SignedDuration::from_mins(5);
/// Windows of a whole day.
const DAY: usize = 24;

/// Whether something was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sight {
    /// Yes.
    Seen,
    /// No.
    NotSeen,
    /// Nothing tells: no pod is known, or its times are not.
    Untold,
    /// It cannot happen to this kind of workload.
    NotApplicable,
}

/// The moments of a workload's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// A pod started while it was watched.
    pub start: Sight,
    /// A pod or a container took the place of an earlier one.
    pub restart: Sight,
    /// A day without a gap.
    pub full_day: Sight,
    /// A run of a `CronJob`: a pod from its start to its end, or traffic of one.
    pub cronjob_run: Sight,
}

/// When pods started, as far as they tell.
pub(super) fn starts(lives: &[Life]) -> impl Iterator<Item = Timestamp> {
    lives.iter().filter_map(Life::start)
}

impl Sight {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seen => "yes",
            Self::NotSeen => "no",
            Self::Untold => "unknown",
            Self::NotApplicable => "-",
        }
    }

    fn of(seen: bool, told: bool) -> Self {
        match (seen, told) {
            (true, _) => Self::Seen,
            (false, true) => Self::NotSeen,
            (false, false) => Self::Untold,
        }
    }
}

impl Seen {
    /// What was seen between the first and the last record. `first` is when its first learned edge was first seen,
    /// `traffic` whether it has any.
    pub(super) fn of(
        name: &WorkloadName,
        lives: &[Life],
        recorded: Option<(Timestamp, Timestamp)>,
        first: Option<Timestamp>,
        traffic: bool,
        watched: &Windows,
    ) -> Self {
        let within = |at: Timestamp| recorded.is_some_and(|(from, to)| from <= at && at <= to);
        let told = !lives.is_empty() && lives.iter().all(|life| life.start().is_some());
        let start = Sight::of(starts(lives).any(within), told);
        let again = Sight::of(restarted(lives, first, within), told);
        let whole = lives
            .iter()
            .any(|life| life.start().is_some_and(within) && life.ended.is_some_and(within));
        // Pods of runs come and go: if traffic began later than the records, a run has started since.
        let ran = recorded
            .zip(first)
            .is_some_and(|((from, _), first)| later(from) < first);
        let (start, restart, cronjob_run) = match name.kind.as_str() {
            "CronJob" => (
                if ran { Sight::Seen } else { start },
                Sight::NotApplicable,
                Sight::of(whole || traffic, told),
            ),
            _ => (start, again, Sight::NotApplicable),
        };
        Self {
            start,
            restart,
            full_day: Sight::of(has_day(watched), true),
            cronjob_run,
        }
    }
}

/// Whether a container started again, a pod started after another had ended, or traffic is older than every pod that is
/// known, so that an earlier one must have been replaced.
fn restarted(lives: &[Life], first: Option<Timestamp>, within: impl Fn(Timestamp) -> bool) -> bool {
    let container = lives.iter().filter_map(|life| life.restarted).any(&within);
    let newest = starts(lives).filter(|start| within(*start)).max();
    let replaced = newest.is_some_and(|newest| {
        let before = |life: &Life| life.start().is_some_and(|start| start < newest);
        let ended = |life: &Life| life.ended.is_some_and(|end| end <= later(newest));
        lives.iter().any(|life| before(life) && ended(life))
    });
    let oldest = starts(lives).min();
    let older = oldest
        .zip(first)
        .is_some_and(|(oldest, first)| within(oldest) && later(first) < oldest);
    container || replaced || older
}

fn later(time: Timestamp) -> Timestamp {
    time.saturating_add(TOGETHER).unwrap_or(Timestamp::MAX)
}

/// Whether windows hold as many in a row as a day has.
fn has_day(watched: &Windows) -> bool {
    let mut row = 0;
    let mut latest = None;
    watched.iter().any(|window| {
        let follows = latest.is_some_and(|latest: u32| latest + 1 == window);
        row = if follows { row + 1 } else { 1 };
        latest = Some(window);
        row >= DAY
    })
}
