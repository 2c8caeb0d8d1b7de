//! The graph on disk: SQLite in WAL mode, with migrations.
//!
//! A batch is one transaction. Once [`Store::commit`] has returned, the batch is in the write-ahead log and synced
//! (`synchronous = FULL`): it outlives the process and the power supply.

mod commit;
mod forget;
mod key;
mod load;
mod schema;
mod state;
#[cfg(test)]
mod tests;
mod thin;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::MigrationDefinitionError;

pub use state::StateChanges;

/// How long to wait for another process that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// The database of a graph.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("graph database {path} cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is no SQLite database, or damaged.
    #[error("graph database {path} is damaged or no SQLite database; move it away to begin anew")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Some other program's database.
    #[error("{path} is the database of another program; name another state directory")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "graph database {path} was written by a newer version of netpol; use that version, or move it away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// No room on the disk. Nothing of the batch was kept.
    #[error("no room on the disk for graph database {path}")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the database.
    #[error("graph database {path} is in use by another process")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A row that no version wrote.
    #[error(
        "graph database {path} holds {what} that does not decode; move the file away to begin anew"
    )]
    Row {
        /// The file.
        path: PathBuf,
        /// What does not decode.
        what: &'static str,
    },
    /// A value of the agent's state that is not what is asked for.
    #[error("graph database {path}: state {area}/{key} does not decode")]
    State {
        /// The file.
        path: PathBuf,
        /// The area.
        area: String,
        /// The key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Anything else that SQLite reports.
    #[error("graph database {path} cannot be used")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Store {
    /// Opens the database, or makes it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened, is damaged, another program's, or a newer version's.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection =
            Connection::open_with_flags(path, flags()).map_err(|source| StoreError::Open {
                path: path.to_owned(),
                source,
            })?;
        let mut store = Self {
            connection,
            path: path.to_owned(),
        };
        store.check_owner()?;
        store.configure().map_err(|error| store.error(error))?;
        store.migrate()?;
        Ok(store)
    }

    /// Refuses databases that are not ours before anything is written to them.
    fn check_owner(&self) -> Result<(), StoreError> {
        let number = |query| {
            self.connection
                .query_row(query, [], |row| row.get::<_, i32>(0))
                .map_err(|error| self.error(error))
        };
        let owner = number("PRAGMA application_id")?;
        let is_empty = || Ok(number("SELECT count(*) FROM sqlite_schema")? == 0);
        if owner == schema::APPLICATION_ID || (owner == 0 && is_empty()?) {
            return Ok(());
        }
        Err(StoreError::Foreign {
            path: self.path.clone(),
        })
    }

    fn configure(&self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "application_id", schema::APPLICATION_ID)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        use rusqlite_migration::Error::{MigrationDefinition, RusqliteError};
        match schema::migrations().to_latest(&mut self.connection) {
            Ok(()) => Ok(()),
            Err(MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead)) => {
                Err(StoreError::Newer {
                    path: self.path.clone(),
                })
            }
            Err(RusqliteError { err, .. }) => Err(self.error(err)),
            Err(other) => Err(self.error(rusqlite::Error::ToSqlConversionFailure(other.into()))),
        }
    }

    /// The error that says what to do.
    fn error(&self, source: rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                StoreError::Damaged { path }
            }
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
            _ => StoreError::Sqlite { path, source },
        }
    }
}

/// No URIs: a path is a path.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
}
