//! The keeper's thread: the only one that writes to the store and to the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;
use tracing::{debug, error};

use super::KeepError;
use super::handle::State;
use super::past;
use crate::identity::Index;
use crate::ledger::{Ledger, Told};
use crate::observe::{Batch, Epoch};
use crate::store::{Place, Store};
use crate::trouble::{Trouble, chain};

/// How often it is looked for what another replica has written.
const LOOK: Duration = Duration::from_secs(1);
/// How often what is old is looked after.
const TEND: Duration = Duration::from_secs(10);
/// How long thinning may take at a time, once it has thinned the points of one observer.
const THINNING: Duration = Duration::from_millis(50);
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

/// The addresses that an agent reported of its node.
#[derive(Debug)]
struct Report {
    addresses: Vec<IpAddr>,
    at: Timestamp,
}

/// What the keeper's thread owns.
#[derive(Debug)]
pub(super) struct Worker {
    store: Store,
    state: Arc<State>,
    retention: Duration,
    tend_at: Instant,
    forget_at: Instant,
    /// The observer whose points were thinned last.
    thinned: Option<String>,
    /// What agents have reported last, by node, and the index does not know yet.
    reports: BTreeMap<String, Report>,
    committing: Trouble,
    tending: Trouble,
}

impl Worker {
    pub(super) fn new(store: Store, state: Arc<State>, retention: Duration) -> Self {
        Self {
            store,
            state,
            retention,
            tend_at: Instant::now() + TEND,
            forget_at: Instant::now(),
            thinned: None,
            reports: BTreeMap::new(),
            committing: Trouble::new("keeping batches"),
            tending: Trouble::new("looking after what is kept"),
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
        let mut due = Instant::now() + LOOK;
        loop {
            let next = async { timeout_at(due.into(), waiting.recv()).await };
            match runtime.block_on(next) {
                Ok(Some(first)) => self.take(group(first, &mut waiting)),
                Ok(None) => break self.remember(),
                Err(_) => {}
            }
            if Instant::now() >= due {
                self.look();
                due = Instant::now() + LOOK;
            }
        }
    }

    /// One transaction for all that waits.
    fn take(&mut self, group: Vec<Work>) {
        let batches = || group.iter().flat_map(|work| &work.batches);
        let told: Vec<_> = batches()
            .map(|batch| (Place::of(batch), Told::of(batch)))
            .collect();
        let rows = told.iter().map(|(place, told)| (place, told));
        let kept = self.store.append(rows).map_err(KeepError::from);
        let said = kept.as_ref().map_err(|error| chain(error));
        self.committing.note(said);
        if kept.is_ok() {
            self.learn(batches().map(|batch| {
                let addresses = batch.node_addresses.iter().copied();
                (&*batch.observer, addresses.collect(), batch.time)
            }));
            self.merge(told);
        }
        for work in group {
            // Whoever delivered may be gone: it delivers again.
            let _heard = work.done.send(kept.clone());
        }
    }

    fn merge(&self, told: Vec<(Place, Told)>) {
        let news = told.iter().any(|(_, told)| told.has_news());
        let mut ledger = self.state.ledger_mut();
        for (Place { observer, epoch }, told) in told {
            ledger.merge_told(&observer, &epoch, told);
        }
        drop(ledger);
        if news {
            self.state.news.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes what agents report of their nodes. A report of no address says nothing.
    fn learn<'a>(&mut self, reports: impl Iterator<Item = (&'a str, Vec<IpAddr>, Timestamp)>) {
        for (node, addresses, at) in reports.filter(|(_, addresses, _)| !addresses.is_empty()) {
            let known = self.reports.get(node);
            if known.is_none_or(|known| known.at <= at) {
                self.reports
                    .insert(node.to_owned(), Report { addresses, at });
            }
        }
        self.learn_reports();
    }

    /// Lets the index know what agents have reported of their nodes, unless somebody is reading it: commits do not wait.
    fn learn_reports(&mut self) {
        let reports = &mut self.reports;
        self.state.index.try_change_quietly(|index| {
            for (node, report) in std::mem::take(reports) {
                index.learn_node_addresses(&node, &report.addresses, report.at);
            }
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

    /// Does what is to be done by the clock.
    fn look(&mut self) {
        self.read();
        self.learn_reports();
        if Instant::now() < self.tend_at {
            return;
        }
        self.thin();
        self.forget();
        self.fold();
        self.remember();
        self.tend_at = Instant::now() + TEND;
    }

    /// Takes in what another replica has written.
    fn read(&mut self) {
        let mut told = Vec::new();
        let read = self
            .store
            .read(&mut |place, row| told.push((place.clone(), row)));
        self.tending.note(read.map_err(|error| chain(&error)));
        self.learn(told.iter().filter_map(|(place, row)| {
            let addresses = row.node_addresses.iter().copied();
            let at = Timestamp::from_microsecond(row.epoch.time).ok()?;
            Some((&*place.observer, addresses.collect(), at))
        }));
        self.merge(told);
    }

    /// Old points of an edge need not be kept one by one, once the index has heard who had which address then. A few
    /// observers at a time, so that commits never wait long.
    fn thin(&mut self) {
        let Some(now) = self.state.ledger().time() else {
            return;
        };
        let begin = Instant::now();
        while begin.elapsed() < THINNING {
            let observer = self.state.ledger().observer_after(self.thinned.as_deref());
            let Some(observer) = observer else {
                self.thinned = None;
                return;
            };
            let mut ledger = self.state.ledger_mut();
            let index = self.state.index.read();
            let changed = ledger.compact(&observer, now - LATE, &*index);
            drop((ledger, index));
            self.shrunk(&observer, changed);
            self.thinned = Some(observer);
        }
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
        debug!(%before, "forgetting what was last seen before");
        let mut next = self.state.ledger().observer_after(None);
        while let Some(observer) = next {
            let forgotten = self.state.ledger_mut().forget(&observer, before);
            self.shrunk(&observer, forgotten.gone);
            self.shrunk(&observer, forgotten.changed);
            next = self.state.ledger().observer_after(Some(&observer));
        }
        self.state.index.change_quietly(|index| index.prune(before));
        self.state.news.fetch_add(1, Ordering::AcqRel);
    }

    fn shrunk(&mut self, observer: &str, epochs: BTreeSet<Epoch>) {
        for epoch in epochs {
            let observer = observer.to_owned();
            self.store.shrunk(Place { observer, epoch });
        }
    }

    /// Keeps what the index has learned of the past.
    fn remember(&mut self) {
        loop {
            let kept = past::remember(&mut self.store, &self.state.index);
            let kept = self.tending.note(kept.map_err(|error| chain(&error)));
            if kept != Some(true) {
                return;
            }
        }
    }

    /// Keeps the store's journal short.
    fn fold(&mut self) {
        let state = &self.state;
        let page = |place: &Place| state.ledger().page(&place.observer, &place.epoch);
        let folded = self.store.fold(&page).map_err(|error| chain(&error));
        self.tending.note(folded);
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
