//! What the rest of the process holds of the keeper.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use super::past;
use super::shared::SharedIndex;
use super::snapshot::{self, Snapshot};
use super::work::{Work, Worker};
use super::{KeepError, Options};
use crate::ledger::Ledger;
use crate::observe::{Batch, Epoch};
use crate::store::{Database, Store};

/// Deliveries that may wait for the keeper; whoever brings more waits to hand them over.
const WAITING: usize = 256;

/// The way to the keeper. When the last one is gone, the keeper ends.
#[derive(Clone, Debug)]
pub struct Handle {
    state: Arc<State>,
    work: mpsc::Sender<Work>,
}

/// What the keeper's threads and everybody who reads share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) ledger: RwLock<Ledger>,
    pub(super) index: SharedIndex,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    /// How many commits brought edges or losses.
    pub(super) news: AtomicU64,
    turn: Mutex<()>,
}

/// The keeper's threads.
#[derive(Debug)]
pub struct Keeper(Vec<JoinHandle<()>>);

/// Loads what `store` holds, and keeps from now on. What an earlier process knew of the cluster's past goes into `index`,
/// which is best still empty: then whatever is not listed later is known to have ended meanwhile.
///
/// # Errors
///
/// A store that cannot be read, or a thread that cannot be started.
pub fn start(
    mut store: Store,
    index: SharedIndex,
    options: &Options,
) -> Result<(Handle, Keeper), KeepError> {
    past::recall(&mut store, &index)?;
    let state = Arc::new(State {
        ledger: RwLock::new(store.load()?),
        index,
        snapshot: watch::Sender::default(),
        news: AtomicU64::new(0),
        turn: Mutex::default(),
    });
    let (work, waiting) = mpsc::channel(WAITING);
    let handle = Handle {
        state: Arc::clone(&state),
        work,
    };
    let worker = Worker::new(store, Arc::clone(&state), options.retention);
    let mut threads = vec![thread("keeper", move || worker.run(waiting))?];
    if let Some(interval) = options.snapshots {
        let (weak, whole) = (handle.downgrade(), options.whole.clone());
        let run = move || snapshot::run(&weak, interval, whole.as_ref());
        threads.push(thread("snapshot", run)?);
    }
    Ok((handle, Keeper(threads)))
}

/// Opens a database, and begins to keep in it, as [`start`] does; for asynchronous tasks.
///
/// # Errors
///
/// A database that cannot be used, and as [`start`].
pub async fn open(
    database: Database,
    index: SharedIndex,
    options: &Options,
) -> Result<(Handle, Keeper), KeepError> {
    let options = options.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let store = match database {
            Database::File(path) => Store::open(&path),
            Database::Url { url, authorities } => Store::connect(&url, authorities.as_deref()),
        };
        start(store?, index, &options)
    });
    opened.await.unwrap_or(Err(KeepError::Ended))
}

impl Handle {
    /// Makes batches durable, all of them or none, and merges them. Batches that come again change nothing.
    ///
    /// # Errors
    ///
    /// [`KeepError`]: nothing is known to be kept, and the batches are to be delivered again.
    pub async fn commit(&self, batches: Vec<Arc<Batch>>) -> Result<(), KeepError> {
        let (done, outcome) = oneshot::channel();
        let work = Work { batches, done };
        self.work.send(work).await.map_err(|_| KeepError::Ended)?;
        outcome.await.unwrap_or(Err(KeepError::Ended))
    }

    /// The newest snapshot; an empty one before the first was made.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state.snapshot.borrow().clone()
    }

    /// Tells of every snapshot from now on.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.state.snapshot.subscribe()
    }

    /// The highest number of a batch that is durable of an observer, by epoch.
    #[must_use]
    pub fn sequences(&self, observer: &str) -> BTreeMap<Epoch, u64> {
        self.ledger().sequences(observer)
    }

    /// Waits for the turn to work on all of the graph. What that takes in memory it takes for as long as it lasts; so there
    /// is one at a time. To be waited for before any other lock.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = &self.state.turn;
        turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index that resolves what is kept.
    #[must_use]
    pub fn index(&self) -> &SharedIndex {
        &self.state.index
    }

    /// How often an object of the index has changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.index().read().changes()
    }

    /// How many commits have brought something new to tell.
    #[must_use]
    pub fn news(&self) -> u64 {
        self.state.news.load(Ordering::Acquire)
    }

    /// The ledger, to be read. Hold the guard for a moment only: commits wait.
    pub(super) fn ledger(&self) -> RwLockReadGuard<'_, Ledger> {
        self.state.ledger()
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    fn downgrade(&self) -> WeakHandle {
        WeakHandle {
            state: Arc::clone(&self.state),
            work: self.work.downgrade(),
        }
    }
}

/// A handle that does not keep the keeper from ending.
#[derive(Debug)]
pub(super) struct WeakHandle {
    state: Arc<State>,
    work: mpsc::WeakSender<Work>,
}

impl WeakHandle {
    pub(super) fn upgrade(&self) -> Option<Handle> {
        Some(Handle {
            state: Arc::clone(&self.state),
            work: self.work.upgrade()?,
        })
    }
}

impl State {
    pub(super) fn ledger(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger_mut(&self) -> RwLockWriteGuard<'_, Ledger> {
        self.ledger.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Whether a thread of it has ended, which only a fault can bring about while a [`Handle`] is held.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.iter().any(JoinHandle::is_finished)
    }

    /// Waits for it to end, which it does when the last [`Handle`] is gone.
    ///
    /// # Errors
    ///
    /// If a thread of it ended by a fault.
    pub fn join(self) -> Result<(), KeepError> {
        let ended: Vec<_> = self.0.into_iter().map(JoinHandle::join).collect();
        match ended.iter().all(Result::is_ok) {
            true => Ok(()),
            false => Err(KeepError::Ended),
        }
    }

    /// A keeper whose only thread runs `run`.
    #[cfg(all(test, feature = "ebpf"))]
    pub(crate) fn of(run: impl FnOnce() + Send + 'static) -> Self {
        Self(vec![std::thread::spawn(run)])
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, KeepError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| KeepError::Thread(Arc::new(error)))
}
