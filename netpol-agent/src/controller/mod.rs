//! Carries out what [`control`](crate::control) decides: watches, writes, and tells.
//!
//! Only the leader decides and writes. Everything that lasts is in the API server, so that whoever leads next goes on
//! where the last one stopped. A decision is made when something has changed, and now and then, since time itself
//! changes things; writes of proposals are spaced so that the API server is never flooded.

mod follow;
mod known;
pub mod uninstall;
mod write;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;

use crate::control::{Decision, Facts, Figures, Memory, Settings, decide};
use crate::keeper::{self, Snapshot};
use known::Known;
use write::Writer;

/// How the controller works.
#[derive(Clone, Debug)]
pub struct Options {
    /// What decisions rest on besides what is known.
    pub settings: Settings,
    /// How often it decides at most while something changes.
    pub at_most: Duration,
    /// How often it decides although nothing has changed.
    pub at_least: Duration,
    /// For how long it carries out a decision before it decides anew.
    pub patience: Duration,
    /// The time between two writes of proposals.
    pub spacing: Duration,
    /// The shortest and the longest delay after failures of the API server.
    pub backoff: (Duration, Duration),
    /// Objects in one page of a list.
    pub page_size: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            at_most: Duration::from_secs(1),
            at_least: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            spacing: Duration::from_millis(100),
            backoff: (Duration::from_millis(800), Duration::from_secs(30)),
            page_size: 500,
        }
    }
}

/// What the controller has done so far, for metrics.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// What the last decision found; nothing while another replica leads.
    pub figures: Figures,
    /// Decisions so far.
    pub decisions: u64,
    /// How long the last one took.
    pub decision_time: Duration,
    /// Writes that succeeded.
    pub writes: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Violations that were told.
    pub violations: u64,
}

/// A decision may take this share of a core: after one that took a second there is none for three more.
const SHARE: u32 = 4;

/// Decides and writes for ever, while `leader` says so. `ready` becomes true once the keeper's index is whole.
///
/// No failure of the API server ends it. It ends by being dropped.
pub async fn run(
    client: Client,
    keeper: keeper::Handle,
    ready: watch::Receiver<bool>,
    leader: watch::Receiver<bool>,
    options: Options,
    report: watch::Sender<Report>,
) -> Infallible {
    let known = Arc::new(Known::default());
    let fed = Arc::clone(&known);
    let (watching, how) = (client.clone(), options.clone());
    let controller = Controller {
        writer: Writer::new(client, Arc::clone(&known), leader.clone(), &options),
        known,
        keeper,
        ready,
        leader,
        options,
        report,
        memory: Memory::default(),
        whole: None,
    };
    let feeds = known::feed_all(&watching, &fed, &how);
    let (never, ()) = tokio::join!(controller.go_on(), feeds);
    never
}

struct Controller {
    known: Arc<Known>,
    writer: Writer,
    keeper: keeper::Handle,
    ready: watch::Receiver<bool>,
    leader: watch::Receiver<bool>,
    options: Options,
    report: watch::Sender<Report>,
    memory: Memory,
    /// The revision of the index when it was found to be whole.
    whole: Option<u64>,
}

impl Controller {
    async fn go_on(mut self) -> Infallible {
        let mut changes = self.known.changes();
        let mut snapshots = self.keeper.snapshots();
        loop {
            self.may_begin().await;
            snapshots.mark_unchanged();
            changes.mark_unchanged();
            let begin = Instant::now();
            let (decision, memory) = self.decide().await;
            self.memory = memory;
            let took = begin.elapsed();
            let done = self.writer.carry_out(decision.changes).await;
            self.tell(&decision.figures, took, done);
            let least = self.options.at_most.max(took * (SHARE - 1));
            tokio::time::sleep(least).await;
            let more = self.options.at_least.saturating_sub(least);
            tokio::select! {
                _ = changes.changed() => {}
                _ = snapshots.changed() => {}
                Ok(()) = self.leader.changed() => {}
                () = tokio::time::sleep(more) => {}
            }
        }
    }

    /// Waits until this replica leads and knows all that there is to know.
    async fn may_begin(&mut self) {
        if !*self.leader.borrow() {
            // What another one sees meanwhile, this one does not remember, and does not tell.
            self.memory = Memory::default();
            self.report
                .send_modify(|report| report.figures = Figures::default());
        }
        // A sender that is gone says nothing new: what it said last holds.
        let _ = self.leader.wait_for(|leads| *leads).await;
        if !*self.leader.borrow() {
            std::future::pending::<()>().await;
        }
        let _ = self.ready.wait_for(|ready| *ready).await;
        self.known.whole().await;
        // A graph made before the index was whole lacks the edges whose ends were not known yet; to freeze that would be to
        // freeze next to nothing.
        let whole = *self.whole.get_or_insert_with(|| self.keeper.revision());
        let mut snapshots = self.keeper.snapshots();
        let knows = |snapshot: &Arc<Snapshot>| snapshot.number > 0 && snapshot.revision >= whole;
        let _ = snapshots.wait_for(knows).await;
    }

    /// Decides, on a thread that may be busy for a while.
    async fn decide(&self) -> (Decision, Memory) {
        let (known, keeper) = (Arc::clone(&self.known), self.keeper.clone());
        let (settings, before) = (self.options.settings.clone(), self.memory.clone());
        let mut memory = before.clone();
        let work = move || {
            let decision = decided(&known, &keeper, &settings, &mut memory);
            (decision, memory)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(decided) => decided,
            Err(error) => {
                tracing::error!(%error, "a decision failed; nothing is written");
                (Decision::default(), before)
            }
        }
    }

    fn tell(&self, figures: &Figures, took: Duration, (writes, failures): (u64, u64)) {
        self.report.send_modify(|report| {
            report.figures.clone_from(figures);
            report.decisions += 1;
            report.decision_time = took;
            report.writes += writes;
            report.failures += failures;
            report.violations += u64::try_from(figures.told).unwrap_or(0);
        });
    }
}

fn decided(
    known: &Known,
    keeper: &keeper::Handle,
    settings: &Settings,
    memory: &mut Memory,
) -> Decision {
    let _turn = keeper.turn();
    let snapshot = keeper.snapshot();
    let observers = snapshot.observers.iter();
    let observers = observers.map(|(name, state)| (name.clone(), state.last_batch));
    let losses = snapshot.losses.iter();
    let losses = losses.map(|lost| ((&lost.pod.name).into(), lost.losses.clone()));
    let (observers, losses) = (observers.collect(), losses.collect::<Vec<_>>());
    let seen = known.seen();
    let index = keeper.index().read();
    let facts = Facts {
        graph: &snapshot.graph,
        index: &index,
        observers: &observers,
        losses: &losses,
        namespaces: &seen.namespaces,
        labels: &seen.labels,
        proposals: &seen.proposals,
        policies: &seen.policies,
        called: &seen.called,
        now: Timestamp::now(),
    };
    decide(&facts, settings, memory)
}
