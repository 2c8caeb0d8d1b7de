//! The way of batches from a node to the aggregator.
//!
//! A batch goes into the [`spool`] first, a bounded queue on disk: that it is there is what the observer's acknowledgement
//! means, so that entries may be deleted from the kernel's maps. The [`sender`] empties the queue in order, several batches
//! at a time, and removes what the aggregator has acknowledged as durable. When to send, how much, and what an answer
//! means is decided without I/O, by [`pace`], [`parcel`] and [`answer`].

pub mod answer;
pub mod client;
mod gate;
pub mod pace;
pub mod parcel;
pub mod quarantine;
pub mod sender;
pub mod spool;
pub mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use self::spool::{Spool, SpoolError};
use self::status::Status;
use crate::observe::Batch;

/// One node's spool and status, shared by whoever fills, empties and watches it.
#[derive(Clone, Debug)]
pub struct Link {
    spool: Arc<Mutex<Spool>>,
    status: Arc<Mutex<Status>>,
    news: Arc<Notify>,
}

impl Link {
    /// Shares a spool.
    #[must_use]
    pub fn new(spool: Spool) -> Self {
        let status = Status {
            spool: spool.held(),
            ..Status::default()
        };
        Self {
            spool: Arc::new(Mutex::new(spool)),
            status: Arc::new(Mutex::new(status)),
            news: Arc::new(Notify::new()),
        }
    }

    /// Makes a batch durable on this node. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]; then the batch is not in the spool. [`SpoolError::Full`] passes when the aggregator answers.
    pub fn push(&self, batch: &Batch) -> Result<(), SpoolError> {
        let mut spool = self.spool();
        let pushed = spool.push(batch);
        let mut status = self.status_mut();
        status.spool = spool.held();
        status.is_full = matches!(pushed, Err(SpoolError::Full { .. }));
        status.turned_away += u64::from(status.is_full);
        drop((spool, status));
        self.news.notify_one();
        pushed
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status_mut().clone()
    }

    /// The spool. Held for a moment only.
    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status_mut(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
