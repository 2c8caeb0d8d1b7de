//! Where an aggregator keeps the graph: in a directory that is its own, or in a database that replicas share.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::start::AggregatorError;
use crate::identity::Index;
use crate::keeper::{self, Handle, KeepError, Keeper, SharedIndex};
use crate::store::Database;
use crate::trouble::{Trouble, chain};

/// For how long a start waits for a database that cannot be reached, and how often it tries.
const PATIENCE: Duration = Duration::from_secs(45);
const RETRY: Duration = Duration::from_secs(1);

/// Where the graph is kept.
#[derive(Clone, Debug)]
pub enum Keeping {
    /// In this directory, by this process alone.
    Directory(PathBuf),
    /// In a database of a server, together with other replicas, of which one leads.
    Shared {
        /// The database.
        database: Database,
        /// What this replica is called in the Lease that says which one leads.
        replica: String,
    },
}

/// A keeper at work.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) handle: Handle,
    pub(super) keeper: Keeper,
    pub(super) index: SharedIndex,
    /// Held as long as the directory is used.
    pub(super) lock: Option<File>,
}

impl Keeping {
    /// Opens it. A server that cannot be reached is waited for, for a while. Nothing, if `stop` came first.
    pub(super) async fn open(
        &self,
        options: &keeper::Options,
        stop: &CancellationToken,
    ) -> Result<Option<Kept>, AggregatorError> {
        let (database, lock) = match self {
            Self::Directory(directory) => {
                let lock = lock(directory)?;
                (Database::File(directory.join("graph.db")), Some(lock))
            }
            Self::Shared { database, .. } => (database.clone(), None),
        };
        let (begin, mut trouble) = (Instant::now(), Trouble::new("opening the database"));
        loop {
            let index = SharedIndex::new(Index::default());
            let opened = keeper::open(database.clone(), index.clone(), options).await;
            let error = match opened {
                Ok((handle, keeper)) => {
                    return Ok(Some(Kept {
                        handle,
                        keeper,
                        index,
                        lock,
                    }));
                }
                Err(error) => error,
            };
            if begin.elapsed() > PATIENCE || !passes(&error) {
                return Err(error.into());
            }
            trouble.note(Err::<(), _>(chain(&error)));
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

/// Whether it may work later without anybody doing something about it.
fn passes(error: &KeepError) -> bool {
    match error {
        KeepError::Store(error) => error.is_absence(),
        KeepError::Ended | KeepError::Thread(_) => false,
    }
}

/// Makes the state directory, and keeps other aggregators out of it as long as the lock lives.
fn lock(directory: &Path) -> Result<File, AggregatorError> {
    let failed = |source: io::Error| AggregatorError::StateDirectory {
        path: directory.to_owned(),
        source,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AggregatorError::Locked {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
