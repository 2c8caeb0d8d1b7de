//! From a graph to the coverage and the completeness of its workloads.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol, View};

use crate::graph::{Builder, FlowGraph, Resolve, Windows};
use crate::identity::{EdgeId, Life, Mark, Peer, Resolution, Sighting, Unresolved};
use crate::policy;
use crate::policy::coverage::complete::{Reason, Untold, Verdict, completeness};
use crate::policy::coverage::{
    Coverage, Estimate, FEWEST_WINDOWS, Intervals, Options, Requirements, Sight, coverage,
    coverage_for,
};
use crate::policy::model::Direction;
use crate::policy::options::OptionsFor;

/// What was seen of an edge between the workload `web` and another end, at some times.
pub(super) struct Seen {
    record: FlowRecord,
    times: Vec<Timestamp>,
}

/// An hour of a day of January.
pub(super) fn at(day: i64, hour: i64) -> Timestamp {
    let begin: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    begin + SignedDuration::from_hours((day - 1) * 24 + hour)
}

/// The graph of some edges.
pub(super) fn graph(all: &[Seen]) -> FlowGraph {
    let mut builder = Builder::default();
    for seen in all {
        for time in &seen.times {
            builder.add(
                &World,
                &FlowRecord {
                    time: Some(*time),
                    ..seen.record.clone()
                },
            );
        }
        if seen.times.is_empty() {
            builder.add(&World, &seen.record);
        }
    }
    builder.finish(&World)
}

impl Seen {
    /// An edge to another end.
    pub(super) fn egress(server: &str, port: u16, times: &[Timestamp]) -> Self {
        Self::between("web", server, port, times)
    }

    fn between(client: &str, server: &str, port: u16, times: &[Timestamp]) -> Self {
        let record = FlowRecord {
            time: None,
            client: end(client),
            server: end(server),
            protocol: Protocol::Tcp,
            port,
            outcome: Outcome::Established,
            count: 1,
            last_seen: None,
            view: None,
            by_service: None,
            observer: None,
            remote_node: None,
        };
        Self {
            record,
            times: times.to_vec(),
        }
    }

    fn outcome(mut self, outcome: Outcome) -> Self {
        self.record.outcome = outcome;
        self
    }

    fn view(mut self, view: View) -> Self {
        self.record.view = Some(view);
        self
    }
}

/// Pods are workloads; addresses of one network are outside, others unknown.
struct World;

impl Resolve for World {
    fn resolve(&self, sighting: &Sighting) -> Resolution {
        let peer = |end: &Endpoint| peer(end, None);
        match (peer(&sighting.client), peer(&sighting.server)) {
            (Some(client), Some(server)) => {
                let id = EdgeId {
                    client,
                    server,
                    protocol: sighting.protocol,
                    port: sighting.port,
                };
                Resolution::Edges(vec![(id, Mark::default())])
            }
            _ => Resolution::Unresolved(Unresolved::NotInInventory("an address".to_owned())),
        }
    }

    fn nodes_of(&self, _: &WorkloadName) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

fn peer(end: &Endpoint, _: Option<(Timestamp, Timestamp)>) -> Option<Peer> {
    match end {
        Endpoint::Pod(pod) => Some(Peer::Workload(WorkloadName::new(
            "shop",
            "Deployment",
            &*pod.name,
        ))),
        Endpoint::Ip(ip) if ip.to_string().starts_with("198.") => Some(Peer::External(*ip)),
        _ => None,
    }
}

fn end(name: &str) -> Endpoint {
    name.parse().map_or_else(
        |_| Endpoint::Pod(ObjectName::new("shop", name)),
        Endpoint::Ip,
    )
}

fn web() -> WorkloadName {
    WorkloadName::new("shop", "Deployment", "web")
}

/// The coverage of `web`, which has run since long before.
fn of_web(all: &[Seen], options: &Options) -> Coverage {
    let old = Life {
        created: Some(at(-30, 0)),
        ..Life::default()
    };
    let lives = BTreeMap::from([(web(), vec![old])]);
    coverage(&graph(all), &lives, options)[&web()].clone()
}

/// Every hour of some days.
fn hourly(from: i64, to: i64) -> Vec<Timestamp> {
    (0..(to - from + 1) * 24)
        .map(|hour| at(from, hour))
        .collect()
}

#[test]
fn external_peers_of_a_port_are_one_edge() {
    let coverage = of_web(
        &[
            Seen::egress("198.51.100.1", 443, &[at(1, 0), at(3, 0)]),
            Seen::egress("198.51.100.2", 443, &[at(5, 0)]),
            Seen::egress("198.51.100.2", 80, &[at(6, 0)]),
            Seen::between("api", "web", 8080, &[at(1, 0), at(4, 0)]),
        ],
        &Options::default(),
    );
    assert_eq!(
        (
            coverage.all.edges,
            coverage.egress.edges,
            coverage.ingress.edges
        ),
        (3, 2, 1)
    );
    assert_eq!(coverage.watched.windows, 5 * 24 + 1);
    assert_eq!(coverage.watched.days, 5);
    // Of the six windows in which an edge was seen, one is the only one of its edge, and two are both of another's.
    let expected = 1.0 - 1.0 / 6.0 * (120.0 / (120.0 + 2.0));
    let numbers = coverage.all.numbers.unwrap();
    assert!((numbers.coverage - expected).abs() < 1e-9, "{numbers:?}");
}

#[test]
fn only_what_makes_rules_counts() {
    let times = [at(1, 0), at(9, 0)];
    let all = [
        Seen::egress("api", 80, &times),
        Seen::egress("api", 81, &times).outcome(Outcome::Refused),
        Seen::egress("api", 82, &times).outcome(Outcome::Unanswered),
        Seen::egress("api", 83, &times).outcome(Outcome::Unknown),
    ];
    assert_eq!(of_web(&all, &Options::default()).all.edges, 1);
}

#[test]
fn what_a_person_rejects_is_no_edge_but_a_sign_of_life() {
    let all = [
        Seen::egress("198.51.100.1", 443, &[at(1, 0), at(9, 0)]),
        Seen::egress("198.51.100.2", 443, &[at(2, 0)]),
        Seen::egress("api", 80, &[at(3, 0)]),
    ];
    let reject = |texts: &[&str]| Options {
        reject: texts.iter().map(|text| text.parse().unwrap()).collect(),
        ..Options::default()
    };
    let edges = |texts: &[&str]| of_web(&all, &reject(texts)).egress.edges;
    let web = "shop/Deployment/web ->";
    let (one, two) = (
        format!("{web} 198.51.100.1 443/TCP"),
        format!("{web} 198.51.100.2 443/TCP"),
    );
    assert_eq!(edges(&[]), 2);
    assert_eq!(edges(&[&one]), 2, "another address of the port is left");
    assert_eq!(edges(&[&one, &two]), 1);
    assert_eq!(of_web(&all, &reject(&[&one, &two])).rejected, 2);
    let timeless = [Seen::egress("198.51.100.1", 443, &[])];
    assert_eq!(of_web(&timeless, &reject(&[&one])).rejected, 0);
    let graph = graph(&all);
    let none = BTreeMap::new();
    let coverage = coverage(&graph, &none, &reject(&[&one]));
    assert_eq!(coverage[&self::web()].watched.windows, 8 * 24 + 1);
}

#[test]
fn windows_are_those_of_the_view_that_the_rule_rests_on() {
    let own = Seen::egress("api", 80, &[at(1, 0), at(3, 0)]).view(View::Client);
    let other = Seen::egress("api", 80, &[at(5, 0), at(9, 0)]).view(View::Server);
    let until = |day| Options {
        until: Some(at(day, 0)),
        ..Options::default()
    };
    let all = [own, other];
    assert_eq!(of_web(&all, &until(9)).egress.edges, 1);
    assert_eq!(of_web(&all[1..], &until(9)).egress.edges, 1);
    assert_eq!(of_web(&all[1..], &until(5)).egress.edges, 0);
}

#[test]
fn records_without_time_are_in_no_estimate() {
    let coverage = of_web(&[Seen::egress("api", 80, &[])], &Options::default());
    assert_eq!((coverage.all.edges, coverage.all.timeless), (1, 1));
    assert_eq!((coverage.watched.windows, coverage.all.numbers), (0, None));
    let mixed = [
        Seen::egress("api", 80, &[]),
        Seen::egress("db", 5432, &hourly(1, 3)),
    ];
    let coverage = of_web(&mixed, &Options::default());
    assert_eq!((coverage.all.edges, coverage.all.timeless), (2, 1));
    assert_eq!(coverage.all.numbers.unwrap().coverage, 1.0);
    let until = Options {
        until: Some(at(3, 0)),
        ..Options::default()
    };
    assert_eq!(of_web(&mixed, &until).all.edges, 2);
}

#[test]
fn longer_windows_make_as_many_hours_and_days() {
    let options = Options {
        hours: 6,
        ..Options::default()
    };
    let watched = of_web(&[Seen::egress("api", 80, &hourly(1, 5))], &options).watched;
    assert_eq!((watched.windows, watched.hours, watched.days), (20, 120, 5));
}

#[test]
fn intervals_are_where_they_are_wanted() {
    let all = [Seen::egress("api", 80, &hourly(1, 8))];
    let intervals = |intervals: Intervals| {
        let options = Options {
            intervals,
            ..Options::default()
        };
        let coverage = of_web(&all, &options);
        let has = |estimate: &Estimate| estimate.numbers.expect("enough").interval.is_some();
        (has(&coverage.all), has(&coverage.egress))
    };
    assert_eq!(intervals(Intervals::Nowhere), (false, false));
    assert_eq!(intervals(Intervals::Together), (true, false));
    assert_eq!(intervals(Intervals::Everywhere), (true, true));
}

/// The edges are those that a synthesis makes rules of, by the options of each workload.
#[test]
fn edges_are_what_a_synthesis_makes_rules_of() {
    let graph = graph(&[
        Seen::egress("api", 80, &[at(1, 0), at(9, 0)]),
        Seen::egress("api", 81, &[at(1, 0), at(9, 0)]),
    ]);
    let none = BTreeMap::new();
    let plain = Options::default();
    let everything = coverage_for(&graph, &none, &plain, &OptionsFor::default());
    assert_eq!(everything, coverage(&graph, &none, &plain));
    let rejected = "shop/Deployment/web -> shop/Deployment/api 81/TCP";
    let own = policy::Options {
        reject: [rejected.parse().unwrap()].into(),
        ..policy::Options::default()
    };
    let options = OptionsFor {
        workloads: [(web(), own)].into(),
        ..OptionsFor::default()
    };
    let known = coverage_for(&graph, &none, &plain, &options);
    let api = WorkloadName::new("shop", "Deployment", "api");
    assert_eq!((known[&web()].all.edges, known[&api].all.edges), (1, 2));
}

#[test]
fn a_workload_is_watched_from_its_first_sign_of_life_on() {
    let all = [
        Seen::between("api", "db", 5432, &hourly(1, 9)),
        Seen::egress("api", 80, &[at(5, 0)]),
    ];
    let graph = graph(&all);
    let windows = |life: Option<Life>| {
        let lives = BTreeMap::from([(web(), life.into_iter().collect())]);
        coverage(&graph, &lives, &Options::default())[&web()]
            .watched
            .windows
    };
    let made = |time| Life {
        created: Some(time),
        ..Life::default()
    };
    assert_eq!(windows(None), 5 * 24, "its first record");
    assert_eq!(windows(Some(made(at(3, 0)))), 7 * 24, "its pod");
    assert_eq!(
        windows(Some(made(at(-3, 0)))),
        9 * 24,
        "the first record of all"
    );
    assert_eq!(
        windows(Some(Life::default())),
        9 * 24,
        "a pod that does not tell"
    );
}

#[test]
fn a_workload_without_edges_has_no_estimate() {
    let idle = WorkloadName::new("shop", "Deployment", "idle");
    let lives = BTreeMap::from([(
        idle.clone(),
        vec![Life {
            created: Some(at(-9, 0)),
            ..Life::default()
        }],
    )]);
    let all = coverage(
        &graph(&[Seen::egress("api", 80, &hourly(1, 2))]),
        &lives,
        &Options::default(),
    );
    assert_eq!((all[&idle].all.edges, all[&idle].all.numbers), (0, None));
    assert_eq!(all[&idle].watched.windows, 48);
}

/// Why `web` is not complete.
fn reasons(all: &[Seen], start: i64) -> (Verdict, Vec<String>) {
    let graph = graph(all);
    let life = Life {
        created: Some(at(start, 1)),
        ..Life::default()
    };
    let coverage = coverage(
        &graph,
        &BTreeMap::from([(web(), vec![life])]),
        &Options::default(),
    );
    let all = completeness(&graph, &coverage, &Requirements::default(), &peer);
    let web = &all[&web()];
    assert_eq!(web.untold, [Untold::AgentHealth]);
    (
        web.verdict(),
        web.reasons.iter().map(Reason::to_string).collect(),
    )
}

#[test]
fn completeness_names_what_is_missing() {
    let traffic = || {
        vec![
            Seen::between("old", "api", 81, &[at(1, 0)]),
            Seen::egress("api", 80, &hourly(2, 9)),
        ]
    };
    let with = |more: Seen| {
        let mut all = traffic();
        all.push(more);
        all
    };
    assert_eq!(reasons(&traffic(), 2), (Verdict::AsFarAsTold, vec![]));
    let incomplete = |all: &[Seen], start, reason: &str| {
        assert_eq!(
            reasons(all, start),
            (Verdict::Incomplete, vec![reason.to_owned()])
        );
    };
    incomplete(&traffic(), -2, "no start was seen");
    let lost = |day| Seen::egress("192.0.2.7", 80, &[at(day, 0)]);
    incomplete(&with(lost(9)), 2, "unresolved flows: 1");
    assert_eq!(reasons(&with(lost(5)), 2).0, Verdict::AsFarAsTold);
    assert_eq!(
        reasons(&with(lost(9).outcome(Outcome::Refused)), 2).0,
        Verdict::AsFarAsTold
    );
    let unknown = Seen::egress("db", 80, &[at(9, 0)]).outcome(Outcome::Unknown);
    incomplete(&with(unknown), 2, "egress of unknown outcome: 1 edge");
    let rare = (0..30).map(|port| Seen::egress("db", 1000 + port, &[at(8, 0)]));
    let all: Vec<Seen> = traffic().into_iter().chain(rare).collect();
    incomplete(&all, 2, "coverage 0.86 is under 0.95");
}

#[test]
fn too_little_time_is_a_reason() {
    let short = [Seen::egress("api", 80, &hourly(2, 2)[..5])];
    let expected = [
        "watched for 5 h of the 24 h that it takes",
        "5 windows, an estimate takes 24",
    ];
    assert_eq!(reasons(&short, 2).1[..2], expected.map(str::to_owned));
}

#[test]
fn a_direction_without_edges_is_named() {
    let graph = graph(&[Seen::egress("api", 80, &hourly(2, 9))]);
    let coverage = coverage(&graph, &BTreeMap::new(), &Options::default());
    let all = completeness(&graph, &coverage, &Requirements::default(), &peer);
    assert_eq!(all[&web()].silent, [Direction::Ingress]);
}

#[test]
fn windows_of_merged_edges_are_bounded() {
    let newest = Windows::of(at(9, 0));
    let coverage = of_web(
        &[Seen::egress("api", 80, &[at(-300, 0), at(9, 0)])],
        &Options::default(),
    );
    assert_eq!(coverage.watched.windows, Windows::RETENTION);
    assert!(newest > Windows::RETENTION);
}

/// As much as is asked for is enough, and what is rejected altogether needs no estimate.
#[test]
fn as_much_as_is_asked_for_is_enough() {
    let graph = graph(&[Seen::egress("api", 80, &hourly(2, 9))]);
    let fair = of_web(
        &[Seen::egress("api", 80, &hourly(2, 9))],
        &Options::default(),
    );
    let requirements = Requirements::default();
    let words = |change: &dyn Fn(&mut Coverage)| -> Vec<&'static str> {
        let mut coverage = fair.clone();
        coverage.seen.start = Sight::Seen;
        coverage.watched.hours = requirements.hours;
        change(&mut coverage);
        let coverage = BTreeMap::from([(web(), coverage)]);
        let all = completeness(&graph, &coverage, &requirements, &peer);
        let reasons = all[&web()].reasons.iter();
        let word = |reason: &Reason| match reason {
            Reason::TooShort { .. } => "time",
            Reason::TooFewWindows { .. } => "windows",
            Reason::NoEdges => "edges",
            Reason::LowCoverage { .. } => "coverage",
            _ => "another",
        };
        reasons.map(word).collect()
    };
    let estimate = |coverage: f64| {
        move |of: &mut Coverage| {
            let numbers = of.all.numbers.as_mut().expect("enough windows");
            numbers.coverage = coverage;
        }
    };
    assert_eq!(words(&|of| of.watched.hours = 23), ["time"]);
    assert_eq!(words(&estimate(requirements.coverage)), [""; 0]);
    assert_eq!(words(&estimate(requirements.coverage - 0.01)), ["coverage"]);
    let without = |edges: usize, rejected: usize, windows: u32| {
        words(&|of| {
            of.all.numbers = None;
            (of.all.edges, of.rejected, of.watched.windows) = (edges, rejected, windows);
        })
    };
    assert_eq!(without(0, 1, FEWEST_WINDOWS), [""; 0]);
    assert_eq!(without(0, 0, FEWEST_WINDOWS), ["edges"]);
    assert_eq!(without(1, 1, FEWEST_WINDOWS), ["edges"]);
    assert_eq!(without(0, 1, FEWEST_WINDOWS - 1), ["windows"]);
}

/// An edge counts as one of unknown outcome if nobody saw it established, and its own end saw something else, lately.
#[test]
fn edges_of_unknown_outcome_are_counted_by_direction() {
    let unknown = |port| Seen::egress("api", port, &[at(9, 0)]).outcome(Outcome::Unknown);
    let old = Seen::egress("api", 81, &[at(2, 0)]).outcome(Outcome::Unknown);
    let refused = Seen::egress("api", 82, &[at(9, 0)]).outcome(Outcome::Refused);
    let both = [unknown(83), Seen::egress("api", 83, &[at(9, 1)])];
    let counted = |more: Vec<Seen>| -> Vec<(Direction, usize)> {
        let all: Vec<Seen> = [Seen::egress("api", 80, &hourly(2, 9))]
            .into_iter()
            .chain(more)
            .collect();
        let graph = graph(&all);
        let coverage = coverage(&graph, &BTreeMap::new(), &Options::default());
        let all = completeness(&graph, &coverage, &Requirements::default(), &peer);
        let reasons = all[&web()].reasons.iter();
        let unknown = reasons.filter_map(|reason| match reason {
            Reason::UnknownOutcome { direction, edges } => Some((*direction, *edges)),
            _ => None,
        });
        unknown.collect()
    };
    assert_eq!(counted(vec![old, refused]), []);
    assert_eq!(counted(both.into()), []);
    assert_eq!(
        counted(vec![unknown(84), unknown(85)]),
        [(Direction::Egress, 2)]
    );
}

/// What was too much to be kept may have been anybody's.
#[test]
fn records_beyond_the_bound_leave_it_untold() {
    let mut graph = graph(&[Seen::egress("api", 80, &hourly(2, 9))]);
    graph.unresolved.beyond_bound = 1;
    let coverage = coverage(&graph, &BTreeMap::new(), &Options::default());
    let all = completeness(&graph, &coverage, &Requirements::default(), &peer);
    assert_eq!(
        all[&web()].untold,
        [Untold::AgentHealth, Untold::Unresolved]
    );
}
