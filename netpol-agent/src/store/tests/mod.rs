//! What the database keeps, and which files it refuses.

mod lossy;
mod plaintext;
mod postgres;
pub(crate) mod server;
mod tls;

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

use super::{Change, Place, Store, StoreError, sqlite};
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
    fn a_file_keeps_what_the_ledger_holds(all in histories()) {
        let (_directory, path) = place();
        keeps(&all, &|| Store::open(&path).unwrap())?;
    }
}

/// Batches, each with a time before which points are thinned and one before which everything is forgotten.
fn histories() -> impl Strategy<Value = Vec<(Batch, i64, i64)>> {
    prop::collection::vec((batches(), 0..9_000_i64, -9_000..9_000_i64), 0..6)
}

/// Opened anew each time: nothing may depend on what a process remembers.
fn keeps(all: &[(Batch, i64, i64)], open: &dyn Fn() -> Store) -> Result<(), TestCaseError> {
    let at = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap();
    let mut ledger = Ledger::default();
    for (batch, thin, forget) in all {
        ledger.merge(batch);
        let mut store = open();
        store.commit(batch).unwrap();
        store.commit(batch).unwrap();
        drop(store);
        let mut store = open();
        prop_assert_eq!(&store.load().unwrap(), &ledger);
        let mut changed = ledger.compact(&batch.observer, at(*thin), &Nobody);
        let forgotten = ledger.forget(&batch.observer, at(*forget));
        changed.extend(forgotten.gone);
        changed.extend(forgotten.changed);
        for epoch in changed {
            let observer = batch.observer.clone();
            store.shrunk(Place { observer, epoch });
        }
        store
            .fold(&|place| ledger.page(&place.observer, &place.epoch))
            .unwrap();
    }
    prop_assert_eq!(open().load().unwrap(), ledger);
    Ok(())
}

#[test]
fn a_journal_that_grows_is_folded() {
    let (_directory, path) = place();
    let mut store = Store::open(&path).unwrap();
    let mut ledger = Ledger::default();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..400 {
        let batch = batches().new_tree(&mut runner).unwrap().current();
        store.commit(&batch).unwrap();
        ledger.merge(&batch);
        store
            .fold(&|place| ledger.page(&place.observer, &place.epoch))
            .unwrap();
    }
    let rows = |table: &str| {
        let query = format!("SELECT count(*) FROM {table}");
        let connection = Connection::open(&path).unwrap();
        connection
            .query_row(&query, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(rows("pages"), 2);
    assert!(rows("journal") < 200, "{}", rows("journal"));
    assert_eq!(Store::open(&path).unwrap().load().unwrap(), ledger);
}

#[test]
fn the_history_is_what_was_last_said_of_each_object() {
    let (_directory, path) = place();
    let change = |key: &str, body: Option<&str>| Change {
        key: key.to_owned(),
        body: body.map(|body| body.as_bytes().to_vec()),
    };
    let mut store = Store::open(&path).unwrap();
    store
        .remember(&[change("b", Some("1")), change("a", Some("2"))])
        .unwrap();
    store
        .remember(&[change("b", Some("3")), change("c", None)])
        .unwrap();
    store.remember(&[change("a", None)]).unwrap();
    let mut all = Vec::new();
    let mut take = |key: &str, body: &[u8]| {
        all.push((key.to_owned(), body.to_vec()));
        Some(())
    };
    Store::open(&path).unwrap().recall(&mut take).unwrap();
    assert_eq!(all, [("b".to_owned(), b"3".to_vec())]);
}

#[test]
fn a_row_that_does_not_decode_is_told() {
    let (_directory, path) = place();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let batch = batches().new_tree(&mut runner).unwrap().current();
    Store::open(&path).unwrap().commit(&batch).unwrap();
    let damage = "UPDATE journal SET body = zeroblob(length(body))";
    Connection::open(&path)
        .unwrap()
        .execute_batch(damage)
        .unwrap();
    let error = Store::open(&path).unwrap().load().unwrap_err();
    assert!(matches!(error, StoreError::Row { .. }), "{error}");
}

/// What an agent of schema 2 would have left.
#[test]
fn databases_of_schema_2_are_taken_over() {
    let (_directory, path) = place();
    drop(Store::open(&path).unwrap());
    let early = Connection::open(&path).unwrap();
    let rows = "
        INSERT INTO epochs VALUES (4, 'node-a', 'b', -1, 1, 9, 5000000);
        INSERT INTO node_addresses VALUES ('node-a', '10.0.0.1');
        INSERT INTO interfaces VALUES (4, 7, 9, 'shop', 'web-0', 'u', 0);
        INSERT INTO points VALUES
            (4, x'000000070000061f9000000000000000000000ffff0a00000400000000000000000000ffff0a000009', 3, 1000000, 3000000, 3000000, 5, 4, 0);
        INSERT INTO losses (epoch, interface, namespace, name, uid, edges_lost, attempts_lost, \"foreign\", not_for_pod, observation_gap)
            VALUES (4, 7, 'shop', 'web-0', 'u', 2, 0, 0, 0, 1);";
    early.execute_batch(rows).unwrap();
    drop(early);
    for _ in 0..2 {
        let ledger = Store::open(&path).unwrap().load().unwrap();
        let epoch = Epoch {
            boot_id: "b".to_owned(),
            instance: u64::MAX,
            abi_version: 1,
        };
        let told = &ledger.observers["node-a"].epochs[&epoch];
        let (key, curve) = told.edges.iter().next().unwrap();
        assert_eq!((key.port, key.remote), (8080, "10.0.0.9".parse().unwrap()));
        assert_eq!((curve.first_seen, curve.points[0].answered), (1_000_000, 4));
        assert_eq!(told.interfaces[&7].pod, pod());
        assert!(told.losses[&(7, pod())].observation_gap);
    }
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
fn a_full_disk_keeps_nothing_of_a_batch_and_later_all_of_it() {
    let (_directory, path) = place();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut batch = batches().new_tree(&mut runner).unwrap().current();
    let edge = edges().new_tree(&mut runner).unwrap().current();
    let many = (1..9_000).map(|port| {
        let mut edge = edge.clone();
        edge.key.port = port;
        edge
    });
    batch.edges = many.collect();
    let mut store = Store::new(sqlite::Sqlite::open_small(&path, 40).unwrap());
    let error = store.commit(&batch).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.load().unwrap(), Ledger::default());
    drop(store);
    let mut store = Store::open(&path).unwrap();
    store.commit(&batch).unwrap();
    let told = Store::open(&path).unwrap().load().unwrap();
    assert_eq!(told.observers.len(), 1);
}
