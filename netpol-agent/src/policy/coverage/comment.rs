//! The coverage of a workload in one line of its policy.
//!
//! As of the last midnight (UTC) before the last record, so that a policy changes once a day at most. A figure stands
//! there only with the interval around it: a policy outlives the day on which somebody read what the figure is worth.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit, ZonedRound};
use netpol_common::names::WorkloadName;

use super::{Coverage, INTERVAL_DAYS, Intervals, Options, coverage_for};
use crate::graph::FlowGraph;
use crate::identity::Life;
use crate::policy::{OptionsFor, Policy};

/// Writes down in each policy what its workload's edges cover, or why nothing can be said of that yet.
pub fn annotate(
    policies: &mut [Policy],
    graph: &FlowGraph,
    lives: &BTreeMap<WorkloadName, Vec<Life>>,
    options: &OptionsFor,
) {
    let until = graph.recorded.and_then(|(_, last)| midnight(last));
    let wanted = Options {
        until,
        intervals: Intervals::Together,
        ..Options::default()
    };
    let known = coverage_for(graph, lives, &wanted, options);
    for policy in policies {
        let known = known.get(&policy.workload);
        policy.coverage = known.map(|coverage| line(coverage, until));
    }
}

/// The beginning of the day.
fn midnight(time: Timestamp) -> Option<Timestamp> {
    let day = ZonedRound::new()
        .smallest(Unit::Day)
        .mode(jiff::RoundMode::Trunc);
    let begin = time.to_zoned(TimeZone::UTC).round(day).ok()?;
    Some(begin.timestamp())
}

fn line(coverage: &Coverage, until: Option<Timestamp>) -> String {
    let last = until.and_then(|until| until.to_zoned(TimeZone::UTC).yesterday().ok());
    let Some(last) = last.map(|last| last.date()) else {
        return "Coverage: not estimated, since no record tells a time.".to_owned();
    };
    let days = coverage.watched.days;
    if f64::from(days) < INTERVAL_DAYS {
        let watched = match days {
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        return format!(
            "Coverage: not estimated yet, watched for {watched} of the {INTERVAL_DAYS} that an interval needs."
        );
    }
    match coverage.all.numbers {
        Some(numbers) => format!(
            "Coverage at the end of {last}: {numbers}, unseen edges: {}; estimated from {days} days.",
            numbers.unseen_text()
        ),
        None => format!(
            "Coverage: not estimated yet, no edge has a known time up to the end of {last}."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Estimate, Interval, Numbers, Seen, Sight, Watched};
    use super::*;

    /// What is said at midnight of a workload that was watched for so many days.
    fn said(days: u32, numbers: Option<Numbers>) -> String {
        let all = Estimate {
            numbers,
            ..Estimate::default()
        };
        let coverage = Coverage {
            watched: Watched {
                days,
                ..Watched::default()
            },
            all,
            ingress: Estimate::default(),
            egress: Estimate::default(),
            rejected: 0,
            seen: Seen {
                start: Sight::Seen,
                restart: Sight::Seen,
                full_day: Sight::Seen,
                cronjob_run: Sight::NotApplicable,
            },
        };
        line(&coverage, Some("2026-01-20T00:00:00Z".parse().unwrap()))
    }

    fn numbers(interval: Option<Interval>) -> Option<Numbers> {
        Some(Numbers {
            coverage: 0.987,
            unseen: 3.25,
            interval,
        })
    }

    #[test]
    fn there_is_no_figure_before_there_is_an_interval() {
        let expected = [
            (0, "watched for less than a day of the 7"),
            (1, "watched for 1 day of the 7"),
            (6, "watched for 6 days of the 7"),
        ];
        for (days, watched) in expected {
            let line = said(days, numbers(None));
            let text = format!("Coverage: not estimated yet, {watched} that an interval needs.");
            assert_eq!(line, text);
        }
    }

    #[test]
    fn a_figure_stands_with_its_limits() {
        let interval = Interval {
            low: 0.912,
            high: 1.0,
            unseen_at_least: 1.9,
        };
        assert_eq!(
            said(7, numbers(Some(interval))),
            "Coverage at the end of 2026-01-19: 0.98 (0.91 to 1.00), unseen edges: 3.2 (>= 1); estimated from 7 days."
        );
    }

    #[test]
    fn edges_without_a_time_are_in_no_figure() {
        assert_eq!(
            said(9, None),
            "Coverage: not estimated yet, no edge has a known time up to the end of 2026-01-19."
        );
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let begin = |time: &str| midnight(time.parse().unwrap()).unwrap().to_string();
        assert_eq!(begin("2026-01-02T23:59:59.9Z"), "2026-01-02T00:00:00Z");
        assert_eq!(begin("2026-01-02T00:00:00Z"), "2026-01-02T00:00:00Z");
    }
}
