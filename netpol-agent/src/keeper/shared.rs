//! The identity index as the threads of a process share it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::identity::Index;

/// How soon it is looked again whether somebody still reads it.
const READ: Duration = Duration::from_millis(1);
/// For how long a change lets readers go first.
const COURTESY: Duration = Duration::from_millis(200);

/// One index, who changes it, and who wants to know.
#[derive(Clone, Debug)]
pub struct SharedIndex {
    index: Arc<RwLock<Index>>,
    changes: watch::Sender<u64>,
}

impl SharedIndex {
    /// Shares `index`.
    #[must_use]
    pub fn new(index: Index) -> Self {
        Self {
            index: Arc::new(RwLock::new(index)),
            changes: watch::Sender::new(0),
        }
    }

    /// Reads it. Hold the guard for a moment only: writers wait. Whoever decides about all of the cluster holds it for
    /// longer; see [`Self::change_quietly`].
    pub fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, and tells everybody.
    pub fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let result = self.change_quietly(change);
        self.announce();
        result
    }

    /// Tells everybody that it may have changed.
    pub fn announce(&self) {
        self.changes.send_modify(|version| *version += 1);
    }

    /// Changes something in it that does not matter to observers.
    pub fn change_quietly<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let begin = Instant::now();
        while begin.elapsed() < COURTESY {
            match self.index.try_write() {
                Ok(mut index) => return change(&mut index),
                Err(TryLockError::Poisoned(index)) => return change(&mut index.into_inner()),
                // A writer that waited for the lock would make later readers wait for whoever reads for long.
                Err(TryLockError::WouldBlock) => sleep(READ),
            }
        }
        // But readers who take turns must not keep it waiting for ever.
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, unless somebody is reading it just now.
    pub fn try_change_quietly(&self, change: impl FnOnce(&mut Index)) {
        match self.index.try_write() {
            Ok(mut index) => change(&mut index),
            Err(TryLockError::Poisoned(index)) => change(&mut index.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// The index itself, for a writer that tells nobody; see [`SharedIndex::change`].
    #[must_use]
    pub fn inner(&self) -> Arc<RwLock<Index>> {
        Arc::clone(&self.index)
    }

    /// How often it was changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Tells of every change from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
