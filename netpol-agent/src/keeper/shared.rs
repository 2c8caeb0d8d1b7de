//! The identity index as the threads of a process share it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use crate::identity::Index;

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

    /// Reads it. Hold the guard for a moment only: writers wait.
    pub fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, and tells everybody.
    pub fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let result = self.change_quietly(change);
        self.changes.send_modify(|version| *version += 1);
        result
    }

    /// Changes something in it that does not matter to observers.
    pub fn change_quietly<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
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
