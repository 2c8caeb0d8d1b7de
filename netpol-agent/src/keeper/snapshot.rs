//! The flow graph as it was a moment ago, shared by everybody who reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::changes::Changes;
use super::handle::{Handle, WeakHandle};
use crate::graph::{Builder, FlowGraph};
use crate::ledger::{self, Ledger};
use crate::observe::{Losses, PodIdentity};

/// How often it is looked whether a snapshot is due, or the keeper has ended.
const LOOK: Duration = Duration::from_millis(100);
/// A snapshot may take this share of a core: one that took a second is not made again for four more.
const SHARE: u32 = 5;

/// What was learned until a moment ago.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts up from 1 with every snapshot of this process; 0 before the first.
    pub number: u64,
    /// The [`Handle::revision`] of the index that it rests on, or an earlier one.
    pub revision: u64,
    /// The flow graph.
    pub graph: FlowGraph,
    /// The latest time of any batch in it.
    pub time: Option<Timestamp>,
    /// By observer.
    pub observers: BTreeMap<String, ObserverState>,
    /// What observers could not see or keep, in the order of observers, epochs, interfaces and pods; without those that lost
    /// nothing.
    pub losses: Vec<PodLosses>,
}

/// What is known of one observer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObserverState {
    /// When its latest batch was made.
    pub last_batch: Option<Timestamp>,
    /// The edges that it told, each epoch's counted by itself.
    pub edges: usize,
    /// The epochs that it told of.
    pub epochs: usize,
    /// The pods on its interfaces, each epoch's counted by themselves, of which it told losses.
    pub lossy: usize,
    /// Everything that it could not see or keep.
    pub losses: Losses,
}

/// What was not seen or not kept of one pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodLosses {
    /// The observer.
    pub observer: String,
    /// The pod.
    pub pod: PodIdentity,
    /// When the observer's epoch last told anything.
    pub until: Option<Timestamp>,
    /// What was lost.
    pub losses: Losses,
}

/// Makes snapshots until the keeper ends, the first one once `whole` is true.
pub(super) fn run(keeper: &WeakHandle, interval: Duration, whole: Option<&watch::Receiver<bool>>) {
    let may_begin = || whole.is_none_or(|whole| *whole.borrow());
    let mut changes = Changes::default();
    let mut due = Instant::now();
    let mut number = 0;
    while let Some(handle) = keeper.upgrade() {
        if Instant::now() >= due && may_begin() && changes.any(&handle) {
            let turn = handle.turn();
            let (begin, version) = (Instant::now(), handle.revision());
            number += 1;
            let snapshot = Arc::new(Snapshot {
                revision: version,
                ..build(&handle, number)
            });
            handle.state().snapshot.send_replace(snapshot);
            drop(turn);
            changes.note(version);
            due = Instant::now() + interval.max(begin.elapsed() * (SHARE - 1));
        }
        drop(handle);
        sleep(LOOK.min(interval));
    }
}

fn build(handle: &Handle, number: u64) -> Snapshot {
    let time = handle.ledger().time();
    let now = time.unwrap_or(Timestamp::UNIX_EPOCH);
    let mut builder = Builder::default();
    let (mut observers, mut losses) = (BTreeMap::new(), Vec::new());
    for observer in handle.observers() {
        let state = handle.with(|ledger, index| {
            ledger::records_of(ledger, &observer, now, index, &mut |record| {
                builder.add(index, &record);
            });
            state(ledger, &observer, &mut losses)
        });
        observers.insert(observer, state);
    }
    Snapshot {
        number,
        revision: 0,
        graph: builder.finish(&*handle.index().read()),
        time,
        observers,
        losses,
    }
}

/// What is known of an observer; what it lost of each pod goes to `losses`.
fn state(ledger: &Ledger, observer: &str, losses: &mut Vec<PodLosses>) -> ObserverState {
    let mut state = ObserverState::default();
    let epochs = ledger.observers.get(observer);
    for epoch in epochs.into_iter().flat_map(|told| told.epochs.values()) {
        let until = Timestamp::from_microsecond(epoch.time).ok();
        state.last_batch = state.last_batch.max(until);
        state.edges += epoch.edges.len();
        state.epochs += 1;
        state.lossy += epoch.losses.len();
        for ((_, pod), lost) in &epoch.losses {
            if *lost == Losses::default() {
                continue;
            }
            state.losses.add(lost);
            losses.push(PodLosses {
                observer: observer.to_owned(),
                pod: pod.clone(),
                until,
                losses: lost.clone(),
            });
        }
    }
    state
}

impl Losses {
    /// Adds what was lost elsewhere.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.edges_lost, other.edges_lost);
        add(&mut self.edges_recovered, other.edges_recovered);
        add(&mut self.attempts_lost, other.attempts_lost);
        add(&mut self.attempts_recovered, other.attempts_recovered);
        add(&mut self.foreign, other.foreign);
        add(&mut self.not_for_pod, other.not_for_pod);
        self.observation_gap |= other.observation_gap;
    }
}
