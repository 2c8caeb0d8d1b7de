//! What the database keeps, and which files it refuses.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use netpol_common::abi::Direction;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{StateChanges, Store, StoreError};
use crate::graph::Resolve;
use crate::identity::{Resolution, Sighting, Unresolved};
use crate::ledger::Ledger;
use crate::observe::{
    Batch, Epoch, Losses, ObservedEdge, ObservedKey, ObservedLosses, PodIdentity, Source,
};

/// Knows nobody.
struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, _: &Sighting) -> Resolution {
        Resolution::Unresolved(Unresolved::NotInInventory("anything".to_owned()))
    }

    fn nodes_of(&self, _: &WorkloadName) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("graph.db");
    (directory, path)
}

prop_compose! {
    fn edges()(
        interface in 0..3_u32,
        source in prop::sample::select(vec![Source::Kernel, Source::Conntrack, Source::Sockets]),
        direction in prop::sample::select(vec![Direction::Egress, Direction::Ingress]),
        protocol in prop::sample::select(Protocol::ALL.to_vec()),
        port in 1..5_u16,
        remote in prop::sample::select(vec!["10.0.0.9", "2001:db8::9", "::1"]),
        counts in prop::array::uniform3(prop_oneof![0..9_u64, Just(i64::MAX as u64)]),
        seen in (0..9_000_000_000_i64, 0..9_000_000_000_i64),
        one_sided in any::<bool>(),
    ) -> ObservedEdge {
        let at = |time| jiff::Timestamp::from_microsecond(time).unwrap();
        ObservedEdge {
            key: ObservedKey {
                interface,
                source,
                direction,
                protocol,
                port,
                local: "10.0.0.4".parse().unwrap(),
                remote: remote.parse().unwrap(),
            },
            pod: pod(),
            attempts: counts[0],
            answered: counts[1],
            refused: counts[2],
            first_seen: at(seen.0.min(seen.1)),
            last_seen: at(seen.0.max(seen.1)),
            one_sided,
        }
    }
}

prop_compose! {
    fn batches()(
        instance in prop::sample::select(vec![1, u64::MAX]),
        sequence in 1..9_u64,
        edges in prop::collection::vec(edges(), 0..6),
        edges_lost in 0..9_u64,
        observation_gap in any::<bool>(),
    ) -> Batch {
        let losses = Losses { edges_lost, observation_gap, ..Losses::default() };
        Batch {
            observer: "node-a".to_owned(),
            epoch: Epoch { boot_id: "b".to_owned(), instance, abi_version: 1 },
            sequence,
            time: jiff::Timestamp::from_second(sequence.cast_signed()).unwrap(),
            edges,
            losses: vec![ObservedLosses { interface: 1, pod: pod(), losses }],
            node_addresses: vec!["10.0.0.1".parse().unwrap(), "fe80::1".parse().unwrap()],
        }
    }
}

fn pod() -> PodIdentity {
    PodIdentity {
        name: (&ObjectName::new("shop", "web-0")).into(),
        uid: "u".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_database_forgets_as_the_ledger_does(
        batches in prop::collection::vec(batches(), 1..6),
        before in 0..10_000_000_000_i64,
    ) {
        let (_directory, path) = place();
        let mut store = Store::open(&path).unwrap();
        let mut ledger = Ledger::default();
        for batch in &batches {
            store.commit(batch).unwrap();
            ledger.merge(batch);
        }
        let before = jiff::Timestamp::from_microsecond(before).unwrap();
        store.forget(&ledger.forget(before)).unwrap();
        prop_assert_eq!(store.load().unwrap(), ledger.clone());
        prop_assert!(ledger.forget(before).is_empty());
        let old = |curve: &crate::ledger::Curve| {
            curve.points.iter().filter(|point| point.last < before.as_microsecond()).count()
        };
        let epochs = ledger.observers.values().flat_map(|observer| observer.epochs.values());
        for curve in epochs.flat_map(|epoch| epoch.edges.values()) {
            prop_assert!(old(curve) <= 1 && old(curve) < curve.points.len());
        }
    }

    #[test]
    fn the_database_merges_as_the_ledger_does(
        batches in prop::collection::vec(batches(), 0..6),
        before in 0..9_000_i64,
    ) {
        let before = jiff::Timestamp::from_second(before).unwrap();
        let (_directory, path) = place();
        let mut ledger = Ledger::default();
        for batch in &batches {
            ledger.merge(batch);
            // Opened anew each time: nothing may depend on what a process remembers.
            let mut store = Store::open(&path).unwrap();
            store.commit(batch).unwrap();
            store.commit(batch).unwrap();
            let thinned = ledger.compact(before, &Nobody);
            store.thin(&thinned).unwrap();
        }
        prop_assert_eq!(Store::open(&path).unwrap().load().unwrap(), ledger);
    }
}

#[test]
fn state_is_kept_with_the_batch_or_not_at_all() {
    let (_directory, path) = place();
    let mut store = Store::open(&path).unwrap();
    let mut changes = StateChanges::default();
    changes.put("totals", "b", &7).unwrap();
    changes.put("totals", "a", &8).unwrap();
    changes.put("totals", "c", &9).unwrap();
    changes.remove("totals", "c");
    store.change_state(&changes).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.state::<u64>("totals", "b").unwrap(), Some(7));
    assert_eq!(store.state::<u64>("totals", "c").unwrap(), None);
    let all = store.states::<u64>("totals").unwrap();
    assert_eq!(all, [("a".to_owned(), 8), ("b".to_owned(), 7)]);
    let error = store.state::<Vec<u64>>("totals", "a").unwrap_err();
    assert!(matches!(error, StoreError::State { .. }), "{error}");
}

#[test]
fn text_is_no_database() {
    let (_directory, path) = place();
    fs::write(
        &path,
        "not a database, but long enough to be read as one".repeat(99),
    )
    .unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn other_programs_databases_are_left_alone() {
    let (_directory, path) = place();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn newer_databases_are_refused() {
    let (_directory, path) = place();
    drop(Store::open(&path).unwrap());
    let later = Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 99).unwrap();
    drop(later);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}

#[test]
fn a_start_that_was_cut_short_is_made_up_for() {
    let (_directory, path) = place();
    let early = Connection::open(&path).unwrap();
    early.pragma_update(None, "journal_mode", "WAL").unwrap();
    drop(early);
    Store::open(&path).unwrap();
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let (_directory, path) = place();
    let error = Store::open(&path.join("none")).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_full_disk_keeps_nothing_of_a_batch() {
    let (_directory, path) = place();
    let mut store = Store::open(&path).unwrap();
    store
        .connection
        .pragma_update(None, "max_page_count", 16)
        .unwrap();
    let (mut runner, mut many) = (proptest::test_runner::TestRunner::deterministic(), vec![]);
    for port in 1..3000 {
        let mut edge = edges().new_tree(&mut runner).unwrap().current();
        edge.key.port = port;
        many.push(edge);
    }
    let mut batch = batches().new_tree(&mut runner).unwrap().current();
    batch.edges = many;
    let error = store.commit(&batch).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.load().unwrap(), Ledger::default());
}
