//! Which moments of a workload's life were seen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use netpol_common::names::WorkloadName;

use super::workloads::{Seen as Record, at, graph};
use crate::graph::Windows;
use crate::identity::Life;
use crate::policy::coverage::{Options, Seen, Sight, coverage};

use Sight::{NotApplicable, NotSeen, Seen as Yes, Untold};

/// A pod that started and ended on those days of the month.
fn life(start: Option<&str>, end: Option<&str>) -> Life {
    let time = |text: Option<&str>| text.map(|text| text.parse::<Timestamp>().unwrap());
    Life {
        started: time(start),
        ended: time(end),
        ..Life::default()
    }
}

/// What was seen of a workload with these pods, whose traffic is told from the 2nd to the 9th.
fn seen(kind: &str, lives: Vec<Life>) -> Seen {
    let web = WorkloadName::new("shop", kind, "web");
    let mut graph = graph(&[Record::egress("api", 80, &[at(2, 0), at(9, 0)])]);
    graph.edges = graph
        .edges
        .into_iter()
        .map(|(id, evidence)| {
            let mut id = crate::identity::EdgeId::clone(&id);
            id.client = crate::identity::Peer::Workload(web.clone());
            (id.into(), evidence)
        })
        .collect();
    let lives = BTreeMap::from([(web.clone(), lives)]);
    coverage(&graph, &lives, &Options::default())[&web].seen
}

const BEFORE: Option<&str> = Some("2026-01-01T12:00:00Z");
const FIFTH: Option<&str> = Some("2026-01-05T12:00:00Z");
const SIXTH: Option<&str> = Some("2026-01-06T12:00:00Z");

#[test]
fn starts_and_restarts() {
    let again = Life {
        restarted: FIFTH.map(|time| time.parse().unwrap()),
        ..life(BEFORE, None)
    };
    let cases = [
        ("no pod is known", vec![], (Untold, Untold)),
        (
            "a pod without times",
            vec![life(None, None)],
            (Untold, Untold),
        ),
        (
            "older than the records",
            vec![life(BEFORE, None)],
            (NotSeen, NotSeen),
        ),
        (
            "traffic is older than the pod",
            vec![life(FIFTH, None)],
            (Yes, Yes),
        ),
        (
            "a second replica",
            vec![life(BEFORE, None), life(FIFTH, None)],
            (Yes, NotSeen),
        ),
        (
            "a replacement",
            vec![life(BEFORE, FIFTH), life(FIFTH, None)],
            (Yes, Yes),
        ),
        (
            "one that ended later",
            vec![life(BEFORE, SIXTH), life(FIFTH, None)],
            (Yes, NotSeen),
        ),
        (
            "a replica that ended at once",
            vec![life(BEFORE, None), life(FIFTH, FIFTH)],
            (Yes, NotSeen),
        ),
        ("a container started again", vec![again], (NotSeen, Yes)),
    ];
    for (what, lives, expected) in cases {
        let seen = seen("Deployment", lives);
        assert_eq!((seen.start, seen.restart), expected, "{what}");
        assert_eq!(seen.cronjob_run, NotApplicable);
        assert_eq!(seen.full_day, Yes, "{what}");
    }
}

#[test]
fn a_run_of_a_cronjob() {
    let run = seen("CronJob", vec![life(FIFTH, SIXTH)]);
    assert_eq!((run.cronjob_run, run.restart), (Yes, NotApplicable));
    let traffic = seen("CronJob", vec![]);
    assert_eq!(
        (traffic.cronjob_run, traffic.start),
        (Yes, Untold),
        "its first run may be older than the records"
    );
    let none = coverage(
        &graph(&[Record::egress("api", 80, &[at(2, 0), at(9, 0)])]),
        &BTreeMap::from([(
            WorkloadName::new("shop", "CronJob", "idle"),
            vec![life(BEFORE, None)],
        )]),
        &Options::default(),
    );
    let idle = none
        .values()
        .find(|each| each.all.edges == 0 && each.seen.restart == NotApplicable);
    assert_eq!(idle.unwrap().seen.cronjob_run, NotSeen);
}

/// A day is as many windows in a row as it has hours.
#[test]
fn a_whole_day_is_seen_if_no_hour_of_it_is_missing() {
    let full_day = |last: i64| {
        let graph = graph(&[Record::egress("api", 80, &[at(2, 0), at(2, last)])]);
        let web = WorkloadName::new("shop", "Deployment", "web");
        let lives = BTreeMap::from([(web.clone(), vec![life(BEFORE, None)])]);
        coverage(&graph, &lives, &Options::default())[&web]
            .seen
            .full_day
    };
    assert_eq!((full_day(22), full_day(23)), (NotSeen, Yes));
}

/// What was seen of a workload without other traffic than an edge that was first seen then.
fn first_seen(kind: &str, lives: &[Life], first: Option<&str>) -> Seen {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let recorded = (time("2026-01-02T00:10:00Z"), time("2026-01-09T00:10:00Z"));
    let name = WorkloadName::new("shop", kind, "web");
    let traffic = first.is_some();
    let first = first.map(time);
    Seen::of(
        &name,
        lives,
        Some(recorded),
        first,
        traffic,
        &Windows::default(),
    )
}

/// What begins within five minutes began at the same time: neither a restart, nor another run.
#[test]
fn what_begins_within_five_minutes_begins_together() {
    let begin = Some("2026-01-02T00:10:00Z");
    let restart = |start| first_seen("Deployment", &[life(Some(start), None)], begin).restart;
    assert_eq!(restart("2026-01-02T00:15:00Z"), NotSeen);
    assert_eq!(restart("2026-01-02T00:15:01Z"), Yes);
    let start = |first| first_seen("CronJob", &[life(BEFORE, None)], Some(first)).start;
    assert_eq!(start("2026-01-02T00:15:00Z"), NotSeen);
    assert_eq!(start("2026-01-02T00:15:01Z"), Yes);
}

#[test]
fn a_run_without_traffic_is_seen_from_its_start_to_its_end() {
    let run = |start, end| first_seen("CronJob", &[life(start, end)], None).cronjob_run;
    assert_eq!(run(FIFTH, SIXTH), Yes);
    assert_eq!(run(FIFTH, None), NotSeen);
    assert_eq!(run(BEFORE, FIFTH), NotSeen);
}
