//! The keeper: owns the store and the ledger, and everything that is made of them.
//!
//! Whoever takes batches in hands them to [`Handle::commit`], which returns once they are durable; deliveries that wait
//! at the same time share one transaction. What was committed is merged into the ledger, and from the ledger come flow
//! records ([`Handle::records`]) and the flow graph ([`Handle::snapshot`]). An edge is resolved anew each time, so that one
//! whose pod the index hears of late is resolved late; one that nothing tells stays, and is counted as unresolved. What the index knows of the past is
//! kept too, so that old edges are resolved as before after a restart.

mod changes;
mod handle;
mod lasting;
mod past;
mod read;
pub mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::time::Duration;

pub use changes::Changes;
pub use handle::{Handle, Keeper, open, start};
pub use lasting::lasting;
pub use shared::SharedIndex;
pub use snapshot::{ObserverState, PodLosses, Snapshot};

use tokio::sync::watch;

use crate::store::StoreError;

/// How the keeper works.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long what is gone is remembered.
    pub retention: Duration,
    /// How often a [`Snapshot`] is made at most, while something changes; never, if nobody is to read one.
    pub snapshots: Option<Duration>,
    /// The first snapshot waits until this is true, so that it is made of all that there is.
    pub whole: Option<watch::Receiver<bool>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(30 * 24 * 3600),
            snapshots: Some(Duration::from_secs(5)),
            whole: None,
        }
    }
}

/// Why batches are not kept. Whoever sent them is to send them again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeepError {
    /// The store does not take them.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The keeper has ended: the process is stopping, or a fault has happened.
    #[error("the keeper of edges has ended; look at the lines above")]
    Ended,
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] Arc<std::io::Error>),
}

impl From<StoreError> for KeepError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
