//! The keeper's thread: the only one that writes to the store and to the ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;
use tracing::{debug, error};

use super::KeepError;
use super::handle::State;
use crate::identity::Index;
use crate::ledger::Ledger;
use crate::observe::Batch;
use crate::store::Store;
use crate::trouble::{Trouble, chain};

/// How often what is old is looked after.
const TEND: Duration = Duration::from_secs(10);
/// How late the index may hear of a pod.
const LATE: Duration = Duration::from_secs(300);
/// How often what is too old is forgotten.
const FORGET: Duration = Duration::from_secs(3600);
/// Edges that share a transaction; deliveries are never cut.
const EDGES: usize = 100_000;

/// A delivery on its way to the keeper.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batches: Vec<Arc<Batch>>,
    /// Told once it is durable, or is known not to be.
    pub(super) done: oneshot::Sender<Result<(), KeepError>>,
}

/// What the keeper's thread owns.
#[derive(Debug)]
pub(super) struct Worker {
    store: Store,
    state: Arc<State>,
    retention: Duration,
    forget_at: Instant,
    committing: Trouble,
    tending: Trouble,
}

impl Worker {
    pub(super) fn new(store: Store, state: Arc<State>, retention: Duration) -> Self {
        Self {
            store,
            state,
            retention,
            forget_at: Instant::now(),
            committing: Trouble::new("keeping batches"),
            tending: Trouble::new("thinning out what is old"),
        }
    }

    /// Works until the last handle is gone.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
        self.learn_node_addresses();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                error!("the keeper cannot start: {error}");
                return;
            }
        };
        let mut due = Instant::now() + TEND;
        loop {
            let next = async { timeout_at(due.into(), waiting.recv()).await };
            match runtime.block_on(next) {
                Ok(Some(first)) => self.take(group(first, &mut waiting)),
                Ok(None) => break,
                Err(_) => {
                    self.tend();
                    due = Instant::now() + TEND;
                }
            }
        }
    }

    /// One transaction for all that waits.
    fn take(&mut self, group: Vec<Work>) {
        let batches = || group.iter().flat_map(|work| &work.batches);
        let kept = self.store.commit_all(batches().map(AsRef::as_ref));
        let kept = kept.map_err(KeepError::from);
        let said = kept.as_ref().map_err(|error| chain(error));
        self.committing.note(said);
        if kept.is_ok() {
            self.merge(batches().map(AsRef::as_ref));
        }
        for work in group {
            // Whoever delivered may be gone: it delivers again.
            let _heard = work.done.send(kept.clone());
        }
    }

    fn merge<'a>(&self, batches: impl Iterator<Item = &'a Batch> + Clone) {
        let mut ledger = self.state.ledger_mut();
        batches.clone().for_each(|batch| ledger.merge(batch));
        drop(ledger);
        if batches.clone().any(Batch::has_news) {
            self.state.news.fetch_add(1, Ordering::AcqRel);
        }
        self.state.index.change_quietly(|index| {
            batches.for_each(|batch| {
                index.learn_node_addresses(&batch.observer, &batch.node_addresses, batch.time);
            });
        });
    }

    /// What agents told of their nodes before this process.
    fn learn_node_addresses(&self) {
        let ledger = self.state.ledger();
        let learn = |index: &mut Index, ledger: &Ledger| {
            for (node, told) in &ledger.observers {
                let addresses: Vec<_> = told.node_addresses.iter().copied().collect();
                index.learn_node_addresses(node, &addresses, Timestamp::UNIX_EPOCH);
            }
        };
        self.state
            .index
            .change_quietly(|index| learn(index, &ledger));
    }

    fn tend(&mut self) {
        self.thin();
        self.forget();
    }

    /// Old points of an edge need not be kept one by one, once the index has heard who had which address then.
    fn thin(&mut self) {
        let Some(now) = self.state.ledger().time() else {
            return;
        };
        let mut ledger = self.state.ledger_mut();
        let index = self.state.index.read();
        let thinned = ledger.compact(now - LATE, &*index);
        drop((ledger, index));
        let kept = self.store.thin(&thinned).map_err(|error| chain(&error));
        self.tending.note(kept);
    }

    /// What is too old is forgotten together with who had which address then.
    fn forget(&mut self) {
        let now = self.state.ledger().time().unwrap_or(Timestamp::MIN);
        let Ok(before) = now.checked_sub(self.retention) else {
            return;
        };
        if Instant::now() < self.forget_at {
            return;
        }
        self.forget_at = Instant::now() + FORGET;
        let forgotten = self.state.ledger_mut().forget(before);
        debug!(edges = forgotten.points.len(), %before, "forgotten what was last seen before");
        let kept = self.store.forget(&forgotten).map_err(|error| chain(&error));
        self.tending.note(kept);
        self.state.index.change_quietly(|index| index.prune(before));
        self.state.news.fetch_add(1, Ordering::AcqRel);
    }
}

/// The first delivery, and those that wait behind it, as far as they fit into one transaction.
fn group(first: Work, waiting: &mut mpsc::Receiver<Work>) -> Vec<Work> {
    let edges = |work: &Work| work.batches.iter().map(|batch| batch.edges.len()).sum();
    let mut sum: usize = edges(&first);
    let mut group = vec![first];
    while sum < EDGES
        && let Ok(next) = waiting.try_recv()
    {
        sum += edges(&next);
        group.push(next);
    }
    group
}

impl Batch {
    fn has_news(&self) -> bool {
        !self.edges.is_empty() || !self.losses.is_empty()
    }
}
