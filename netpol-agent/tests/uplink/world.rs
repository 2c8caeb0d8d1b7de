//! A spool, a sender and an aggregator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netpol_agent::observe::Batch;
use netpol_agent::uplink::Link;
use netpol_agent::uplink::client::{Connection, Target};
use netpol_agent::uplink::pace::Pacing;
use netpol_agent::uplink::sender::Sender;
use netpol_agent::uplink::spool::{DEFAULT_LIMIT, Spool};
use netpol_agent::uplink::status::{Failure, Status};
use netpol_agent::wire::Agent;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::batches::{NODE, batch};
use crate::server::{Authority, Server};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// By how much everything is sooner than it should.
const HURRY: u32 = 100;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) authority: Authority,
    pub(crate) server: Server,
    pub(crate) link: Link,
    stop: CancellationToken,
    sending: JoinHandle<()>,
    pushed: Vec<Batch>,
}

/// The files of an agent in a directory.
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    pub(crate) fn token(&self) -> PathBuf {
        self.0.join("token")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    pub(crate) fn refused(&self) -> PathBuf {
        self.0.join("refused.jsonl")
    }

    pub(crate) fn open(&self) -> Link {
        Link::new(Spool::open(&self.0.join("spool.db"), NODE, DEFAULT_LIMIT).unwrap())
    }

    pub(crate) fn sender(&self, link: &Link, port: u16) -> Sender {
        let target = Target {
            url: format!("https://localhost:{port}"),
            authority: self.authority(),
            token: self.token(),
        };
        let agent = Agent {
            node: NODE.to_owned(),
            pod_uid: Some("p1".to_owned()),
            version: "0.1.0".to_owned(),
        };
        let connection = Connection::new(target).unwrap();
        let pacing = Pacing::default().hurried(HURRY);
        Sender::new(link.clone(), agent, connection, self.refused(), pacing)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files(directory.path().to_owned());
        let authority = Authority::new();
        fs::write(files.token(), "first\n").unwrap();
        fs::write(files.authority(), authority.pem()).unwrap();
        let server = Server::start(&authority);
        let link = files.open();
        let stop = CancellationToken::new();
        let sender = files.sender(&link, server.address.port());
        let sending = tokio::spawn(sender.run(stop.clone()));
        Self {
            directory,
            authority,
            server,
            link,
            stop,
            sending,
            pushed: Vec::new(),
        }
    }

    pub(crate) fn files(&self) -> Files {
        Files(self.directory.path().to_owned())
    }

    /// Spools batches of so many edges.
    pub(crate) fn push(&mut self, batches: u64, edges: u32) {
        for _ in 0..batches {
            let batch = batch(self.pushed.len() as u64 + 1, edges);
            self.link.push(&batch).unwrap();
            self.pushed.push(batch);
        }
    }

    /// Waits until something holds of how things stand.
    pub(crate) async fn wait_for(&self, what: &str, holds: impl Fn(&Status) -> bool) {
        let start = Instant::now();
        while !holds(&self.link.status()) {
            let status = self.link.status();
            assert!(start.elapsed() < PATIENCE, "not {what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn wait_until_empty(&self) {
        self.wait_for("empty", |status| status.spool.batches == 0)
            .await;
    }

    pub(crate) async fn wait_for_failure(&self, failure: Failure) {
        let failed = |status: &Status| status.failures.contains_key(&failure);
        self.wait_for(failure.name(), failed).await;
    }

    /// Asserts that everything that was pushed arrived, in order.
    pub(crate) fn assert_all_arrived(&self) {
        let arrived = self.server.with(|seen| seen.batches.clone());
        assert_eq!(in_order(&arrived), self.pushed);
    }

    /// Ends the sender.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.sending.await.unwrap();
    }
}

/// What arrived, each batch once, in the order of first arrivals; which must be that of their numbers.
pub(crate) fn in_order(arrived: &[Batch]) -> Vec<Batch> {
    let mut once: BTreeMap<u64, &Batch> = BTreeMap::new();
    for batch in arrived {
        let last = once.last_key_value().map_or(0, |(last, _)| *last);
        match once.get(&batch.sequence) {
            Some(known) => assert_eq!(*known, batch, "batch {} came back changed", batch.sequence),
            None => assert!(
                batch.sequence > last,
                "batch {} came after {last}",
                batch.sequence
            ),
        }
        once.insert(batch.sequence, batch);
    }
    once.into_values().cloned().collect()
}

pub(crate) fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
