//! kill -9 while committing: what was acknowledged is there, and nothing is counted twice.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{SharedIndex, batch, epoch, start};
use crate::identity::Index;
use crate::keeper::{self, Options};
use crate::observe::Batch;
use crate::store::tests::server::Server;
use crate::store::{Database, Store, StoreError};

/// Names the store to the process that is to be killed: a URL or a path.
const STORE: &str = "NETPOL_TEST_STORE";
/// How often a process is killed on each kind of store.
const KILLS: u64 = 10;

fn open(place: &str) -> Result<Store, StoreError> {
    match place.contains("://") {
        true => Store::connect(place, None),
        false => Store::open(place.as_ref()),
    }
}

/// The batch of that number: one edge in it grows, and one is new.
fn numbered(number: u64) -> Arc<Batch> {
    let mut batch = Batch::clone(&batch(number, number));
    let mut new = batch.edges[0].clone();
    new.key.port = 10_000 + u16::try_from(number % 50_000).unwrap();
    batch.edges.push(new);
    Arc::new(batch)
}

/// Not a test by itself: the process that the others kill. It commits on, three deliveries at a time, and says what was
/// acknowledged.
#[test]
fn commits_until_it_is_killed() {
    let Ok(place) = env::var(STORE) else { return };
    let store = open(&place).unwrap();
    let index = SharedIndex::new(Index::default());
    let options = Options {
        snapshots: None,
        ..Options::default()
    };
    let (handle, _keeper) = start(store, index, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut number = handle
            .sequences("node-a")
            .get(&epoch())
            .copied()
            .unwrap_or(0);
        loop {
            let commits = (1..=3).map(|next| handle.commit(vec![numbered(number + next)]));
            for kept in futures::future::join_all(commits).await {
                kept.unwrap();
            }
            number += 3;
            let mut out = std::io::stderr().lock();
            writeln!(out, "kept {number}").unwrap();
        }
    });
}

fn killed_again_and_again(place: &str) {
    let seed =
        env::var("NETPOL_TEST_SEED").map_or_else(|_| fastrand::u64(..), |it| it.parse().unwrap());
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut kept = 0;
    for round in 0..KILLS {
        let mut child = Command::new(env::current_exe().unwrap());
        child
            .args([
                "keeper::tests::kill::commits_until_it_is_killed",
                "--exact",
                "--nocapture",
            ])
            .env(STORE, place)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let acknowledged = lines.map_while(Result::ok).filter_map(|line| {
            let number: u64 = line.strip_prefix("kept ")?.parse().ok()?;
            Some(number)
        });
        let mut acknowledged = acknowledged.peekable();
        assert!(
            acknowledged.peek().is_some(),
            "it commits nothing, seed {seed}"
        );
        std::thread::sleep(Duration::from_millis(chance.u64(0..250)));
        child.kill().unwrap();
        kept = acknowledged.last().unwrap_or(kept).max(kept);
        child.wait().unwrap();
        check(place, kept, &format!("seed {seed}, round {round}"));
    }
}

/// Everything up to `kept` is there, and of what is there all of it, once.
fn check(place: &str, kept: u64, of: &str) {
    let ledger = open(place).unwrap().load().unwrap();
    let told = &ledger.observers["node-a"].epochs[&epoch()];
    assert!(told.sequence >= kept, "{} of {kept}, {of}", told.sequence);
    let edges: Vec<_> = told.edges.iter().collect();
    assert_eq!(edges.len() as u64, 1 + told.sequence.min(50_000), "{of}");
    let growing = &edges[0].1;
    let point = growing.points.last().unwrap();
    assert_eq!(
        (growing.points.len(), point.attempts),
        (1, told.sequence),
        "{of}"
    );
}

#[test]
fn a_file_holds_what_was_acknowledged_whenever_its_owner_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    killed_again_and_again(directory.path().join("graph.db").to_str().unwrap());
}

#[test]
fn a_server_holds_what_was_acknowledged_whenever_its_client_is_killed() {
    let server = Server::start();
    killed_again_and_again(&server.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keepers_of_one_server_tell_the_same() {
    let server = Server::start();
    let keeper = async || {
        let index = SharedIndex::new(Index::default());
        let database = Database::Url {
            url: server.url(),
            authorities: None,
        };
        keeper::open(database, index, &Options::default()).await
    };
    let (one, one_keeper) = keeper().await.unwrap();
    let (other, other_keeper) = keeper().await.unwrap();
    one.commit(vec![numbered(1)]).await.unwrap();
    other.commit(vec![numbered(2), numbered(3)]).await.unwrap();
    let both = async {
        while [&one, &other].iter().any(|handle| {
            handle.sequences("node-a").get(&epoch()) != Some(&3)
                || handle.records_of("node-a", super::at("10:02:00")).len() != 4
        }) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
    drop((one, other));
    one_keeper.join().unwrap();
    other_keeper.join().unwrap();
}
