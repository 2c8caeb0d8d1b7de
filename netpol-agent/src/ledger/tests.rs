//! Merging in any order, and the records that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::{Timestamp, ToSpan};
use netpol_common::abi::Direction;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::FlowRecord;
use netpol_common::words::{Outcome, Protocol, View};
use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::{Ledger, records};
use crate::graph::Resolve;
use crate::identity::{Resolution, Sighting, Unresolved};
use crate::observe::{
    Batch, Epoch, Losses, NODE_ADDRESSES, ObservedEdge, ObservedKey, ObservedLosses, PodIdentity,
    Source,
};

/// Knows nobody, except that one address changed hands at one time.
struct Handover(Option<Timestamp>);

impl Resolve for Handover {
    fn resolve(&self, sighting: &Sighting) -> Resolution {
        let changed = |(first, last)| self.0.is_some_and(|at| first < at && at <= last);
        Resolution::Unresolved(if sighting.span.is_some_and(changed) {
            Unresolved::Ambiguous("10.0.0.9".to_owned(), "a, b".to_owned())
        } else {
            Unresolved::NotInInventory("anything".to_owned())
        })
    }

    fn nodes_of(&self, _: &WorkloadName) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

fn at(text: &str) -> Timestamp {
    format!("2026-01-02T{text}Z").parse().unwrap()
}

fn pod(name: &str) -> PodIdentity {
    PodIdentity {
        name: (&ObjectName::new("shop", name)).into(),
        uid: format!("uid-{name}"),
    }
}

fn edge(last_seen: &str, [attempts, answered, refused]: [u64; 3]) -> ObservedEdge {
    ObservedEdge {
        key: ObservedKey {
            interface: 7,
            source: Source::Kernel,
            direction: Direction::Egress,
            protocol: Protocol::Tcp,
            port: 8080,
            local: "10.0.0.4".parse().unwrap(),
            remote: "10.0.0.9".parse().unwrap(),
        },
        pod: pod("web-0"),
        attempts,
        answered,
        refused,
        first_seen: at("10:00:00"),
        last_seen: at(last_seen),
        one_sided: false,
    }
}

fn batch(sequence: u64, time: &str, edges: Vec<ObservedEdge>) -> Batch {
    Batch {
        observer: "node-a".to_owned(),
        epoch: Epoch {
            boot_id: "b".to_owned(),
            instance: 1,
            abi_version: 1,
        },
        sequence,
        time: at(time),
        edges,
        losses: Vec::new(),
        node_addresses: vec!["10.0.0.1".parse().unwrap()],
    }
}

fn merged(batches: &[Batch]) -> Ledger {
    let mut ledger = Ledger::default();
    batches.iter().for_each(|batch| ledger.merge(batch));
    ledger
}

fn told(ledger: &Ledger, handover: Option<&str>) -> Vec<FlowRecord> {
    let mut told = Vec::new();
    let now = ledger.time().unwrap_or(Timestamp::UNIX_EPOCH);
    records(ledger, now, &Handover(handover.map(at)), &mut |record| {
        told.push(record);
    });
    told
}

/// What a record tells, in short: from, until, outcome, count.
fn short(records: &[FlowRecord]) -> Vec<String> {
    let clock = |time: Option<Timestamp>| time.unwrap().strftime("%H:%M:%S").to_string();
    let line = |r: &FlowRecord| {
        let (from, until) = (clock(r.time), clock(r.last_seen));
        format!("{from} {until} {} {}", r.outcome, r.count)
    };
    records.iter().map(line).collect()
}

#[test]
fn counts_of_a_window_are_differences() {
    let ledger = merged(&[
        batch(1, "10:20:00", vec![edge("10:10:00", [3, 2, 0])]),
        batch(2, "11:20:00", vec![edge("11:10:00", [9, 8, 0])]),
        batch(3, "13:00:00", vec![edge("12:30:00", [9, 8, 0])]),
    ]);
    let records = told(&ledger, None);
    assert_eq!(
        short(&records),
        [
            "10:00:00 10:10:00 established 2",
            "10:00:00 10:10:00 unanswered 1",
            "11:10:00 11:10:00 established 6",
            "12:30:00 12:30:00 established 0",
        ]
    );
    assert_eq!(records[0].view, Some(View::Client));
    assert_eq!(records[0].observer.as_deref(), Some("node-a"));
}

#[test]
fn attempts_of_the_last_half_minute_have_no_outcome_yet() {
    let young = merged(&[batch(1, "10:10:29", vec![edge("10:10:00", [3, 0, 1])])]);
    assert_eq!(short(&told(&young, None)), ["10:00:00 10:10:00 refused 1"]);
    let old = merged(&[batch(1, "10:10:30", vec![edge("10:10:00", [3, 0, 1])])]);
    assert_eq!(
        short(&told(&old, None)),
        [
            "10:00:00 10:10:00 refused 1",
            "10:00:00 10:10:00 unanswered 2"
        ]
    );
}

#[test]
fn an_address_that_changed_hands_splits_its_window() {
    let ledger = merged(&[
        batch(1, "10:06:00", vec![edge("10:05:00", [1, 1, 0])]),
        batch(2, "10:07:00", vec![edge("10:06:30", [3, 3, 0])]),
        batch(3, "10:09:00", vec![edge("10:08:00", [3, 3, 2])]),
        batch(4, "10:20:00", vec![edge("10:09:00", [3, 3, 3])]),
    ]);
    assert_eq!(
        short(&told(&ledger, Some("10:07:30"))),
        [
            "10:00:00 10:06:30 established 3",
            "10:08:00 10:09:00 refused 3"
        ]
    );
}

#[test]
fn old_points_of_an_hour_become_one_unless_the_address_changed_hands() {
    let mut ledger = merged(&[
        batch(1, "10:06:00", vec![edge("10:05:00", [1, 1, 0])]),
        batch(2, "10:06:10", vec![edge("10:06:00", [2, 2, 0])]),
        batch(3, "10:07:00", vec![edge("10:06:30", [3, 3, 0])]),
        batch(4, "10:09:00", vec![edge("10:08:00", [3, 3, 2])]),
        batch(5, "10:20:00", vec![edge("10:09:00", [3, 3, 3])]),
    ]);
    let handover = Handover(Some(at("10:07:30")));
    let before = told(&ledger, Some("10:07:30"));
    let thinned = ledger.compact("node-a", at("10:08:30"), &handover);
    assert_eq!(thinned.len(), 1);
    assert_eq!(told(&ledger, Some("10:07:30")), before);
    let points = |ledger: &Ledger| {
        let epochs = ledger.observers.values().flat_map(|o| o.epochs.values());
        let curves = epochs.flat_map(|epoch| epoch.edges.iter());
        curves.map(|(_, curve)| curve.points.len()).sum::<usize>()
    };
    assert_eq!(points(&ledger), 4);
    ledger.compact("node-a", at("10:30:00"), &handover);
    assert_eq!(points(&ledger), 3);
    assert!(
        ledger
            .compact("node-a", at("10:30:00"), &handover)
            .is_empty()
    );
    assert_eq!(told(&ledger, Some("10:07:30")), before);
}

#[test]
fn addresses_of_nodes_are_told_with_the_node() {
    let mut from_bridge = edge("10:05:00", [1, 1, 0]);
    from_bridge.key.direction = Direction::Ingress;
    from_bridge.key.remote = "10.0.0.1".parse().unwrap();
    let records = told(&merged(&[batch(1, "10:06:00", vec![from_bridge])]), None);
    assert_eq!(records[0].remote_node.as_deref(), Some("node-a"));
    assert_eq!(records[0].remote_address(), "10.0.0.1".parse().ok());
}

#[test]
fn what_the_newest_batch_says_of_an_interface_counts() {
    let mut one_sided = edge("10:04:00", [2, 0, 0]);
    one_sided.one_sided = true;
    let batches = [
        batch(2, "10:09:00", vec![edge("10:05:00", [2, 0, 0])]),
        batch(1, "10:08:00", vec![one_sided]),
    ];
    assert_eq!(
        short(&told(&merged(&batches), None)),
        ["10:00:00 10:05:00 unanswered 2"]
    );
}

/// A run of an observer: edges that only ever grow, told in batches.
fn history() -> impl Strategy<Value = Vec<Batch>> {
    let step = (0..4_u16, 0..900_i64, 0..3_u64, 0..3_u64, 0..2_u64);
    prop::collection::vec(prop::collection::vec(step, 0..4), 1..12).prop_map(|steps| {
        let mut known: BTreeMap<u16, ObservedEdge> = BTreeMap::new();
        let mut now = at("10:00:00");
        let mut batches = Vec::new();
        for (number, changes) in steps.into_iter().enumerate() {
            let mut edges = BTreeMap::new();
            for (port, seconds, attempts, answered, refused) in changes {
                now += seconds.seconds();
                let edge = known.entry(port).or_insert_with(|| {
                    let mut edge = edge("10:00:00", [0, 0, 0]);
                    edge.key.port += port;
                    edge.first_seen = now;
                    edge
                });
                edge.last_seen = now;
                edge.attempts += attempts;
                edge.answered += answered;
                edge.refused += refused;
                edges.insert(port, edge.clone());
            }
            let mut batch = batch(number as u64 + 1, "10:00:00", edges.into_values().collect());
            batch.time = now;
            batch.losses = vec![ObservedLosses {
                interface: 7,
                pod: pod("web-0"),
                losses: Losses {
                    edges_lost: number as u64,
                    ..Losses::default()
                },
            }];
            batches.push(batch);
        }
        batches
    })
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        batches in history(),
        order in prop::collection::vec(any::<Pick>(), 0..40),
    ) {
        let straight = merged(&batches);
        let mut shuffled = Ledger::default();
        order.iter().for_each(|pick| shuffled.merge(pick.get(&batches)));
        batches.iter().rev().for_each(|batch| shuffled.merge(batch));
        prop_assert_eq!(straight, shuffled);
    }

    #[test]
    fn compaction_changes_no_record(
        batches in history(),
        order in prop::collection::vec((any::<Pick>(), 0..9_000_i64), 0..40),
    ) {
        let mut thinned = merged(&batches);
        for (pick, seconds) in &order {
            thinned.compact("node-a", at("10:00:00") + seconds.seconds(), &Handover(None));
            thinned.merge(pick.get(&batches));
        }
        prop_assert_eq!(told(&merged(&batches), None), told(&thinned, None));
    }

    #[test]
    fn a_batch_may_come_in_parts(batches in history()) {
        let mut parts = Ledger::default();
        for batch in &batches {
            for edge in &batch.edges {
                parts.merge(&Batch { edges: vec![edge.clone()], ..batch.clone() });
            }
            parts.merge(&Batch { edges: Vec::new(), ..batch.clone() });
        }
        prop_assert_eq!(merged(&batches), parts);
    }

    #[test]
    fn records_tell_every_answer_once(batches in history()) {
        let mut newest: BTreeMap<u16, u64> = BTreeMap::new();
        for edge in batches.iter().flat_map(|batch| &batch.edges) {
            newest.insert(edge.key.port, edge.answered);
        }
        prop_assert_eq!(established(&merged(&batches)), newest.values().sum::<u64>());
    }
}

fn established(ledger: &Ledger) -> u64 {
    let records = told(ledger, None);
    let established = records
        .iter()
        .filter(|record| record.outcome == Outcome::Established);
    established.map(|record| record.count).sum()
}

#[test]
fn a_loss_that_was_recovered_is_none_whichever_batch_comes_last() {
    let told = |sequence, attempts_recovered| {
        let mut batch = batch(sequence, "10:00:00", Vec::new());
        batch.losses = vec![ObservedLosses {
            interface: 7,
            pod: pod("web-0"),
            losses: Losses {
                attempts_lost: 5,
                attempts_recovered,
                ..Losses::default()
            },
        }];
        batch
    };
    let (lost, found) = (told(1, 0), told(2, 5));
    for order in [[&lost, &found], [&found, &lost]] {
        let mut ledger = Ledger::default();
        order.into_iter().for_each(|batch| ledger.merge(batch));
        let epochs = ledger
            .observers
            .values()
            .flat_map(|told| told.epochs.values());
        let missing: u64 = epochs
            .flat_map(|epoch| epoch.losses.values())
            .map(Losses::missing_attempts)
            .sum();
        assert_eq!(missing, 0);
    }
}

#[test]
fn counts_after_what_was_forgotten_are_told_as_before() {
    let batches: Vec<Batch> = ["10:10:00", "11:10:00", "12:10:00"]
        .into_iter()
        .zip(1_u64..)
        .map(|(time, number)| batch(number, time, vec![edge(time, [number * 3, number * 3, 0])]))
        .collect();
    let mut ledger = merged(&batches);
    let before = told(&ledger, None);
    ledger.forget("node-a", at("12:00:00"));
    let after = told(&ledger, None);
    assert_eq!(before.last(), after.last());
    assert_eq!(after.last().map(|record| record.count), Some(3));
    ledger.forget("node-a", at("12:00:00"));
    ledger.merge(&batches[2]);
    assert_eq!(told(&ledger, None), after);
    ledger.forget("node-a", at("13:00:00"));
    assert_eq!(ledger, Ledger::default());
}

#[test]
fn points_of_long_ago_become_one_for_each_day() {
    let begin = at("00:10:00");
    let batches: Vec<Batch> = (0..24 * 5_u64)
        .map(|hour| {
            let mut edge = edge("00:10:00", [hour + 1, hour + 1, 0]);
            edge.first_seen = begin;
            edge.last_seen = begin + (hour.cast_signed() * 3600).seconds();
            let mut batch = batch(hour + 1, "00:10:00", vec![edge.clone()]);
            batch.time = edge.last_seen;
            batch
        })
        .collect();
    let mut ledger = merged(&batches);
    let counts = established(&ledger);
    let now = ledger.time().unwrap();
    ledger.compact("node-a", now, &Handover(None));
    let epochs = ledger.observers.values().flat_map(|o| o.epochs.values());
    let points: Vec<usize> = epochs
        .flat_map(|epoch| epoch.edges.iter())
        .map(|(_, curve)| curve.points.len())
        .collect();
    // The first, one for each day older than two, and one for each hour since.
    assert!((50..=54).contains(&points[0]), "{points:?}");
    assert_eq!(established(&ledger), counts);
}

#[test]
fn of_too_many_addresses_the_same_ones_are_kept_in_any_order() {
    let of = |third: u8| {
        let addresses = (0..=u8::MAX).map(|last| IpAddr::from([10, 0, third, last]));
        Batch {
            node_addresses: addresses.collect(),
            ..batch(u64::from(third), "10:00:00", Vec::new())
        }
    };
    let all: Vec<Batch> = (0..20).map(of).collect();
    let turned: Vec<Batch> = all.iter().rev().cloned().collect();
    let (one, other) = (merged(&all), merged(&turned));
    assert_eq!(one, other);
    assert_eq!(one.observers["node-a"].node_addresses.len(), NODE_ADDRESSES);
}
