//! What an observer must still know after it was killed, besides what the kernel's maps hold.
//!
//! SQLite in WAL mode, without waiting for the disk: a record must survive the death of the process, not of the
//! machine, since after a reboot the kernel's maps are gone too and everything here belongs to a past epoch.

use std::io;
use std::path::{Path, PathBuf};

use netpol_common::abi::EdgeKey;
use rusqlite::{Connection, Transaction, params};
use rusqlite_migration::{M, Migrations};
use serde::Serialize;
use tracing::warn;

use super::account::Cell;
use super::clock::Clock;
use super::interfaces::Interface;
use super::seeds::Seed;
use crate::kernel::MapKind;
use crate::observe::{Epoch, ObservedKey};
use crate::sqlite;

mod cells;
mod kept;
#[cfg(test)]
mod tests;

const SCHEMA: &[M<'static>] = &[M::up(
    "CREATE TABLE epoch (epoch TEXT NOT NULL, sequence INTEGER NOT NULL, clock TEXT NOT NULL);
     CREATE TABLE cells (
         interface INTEGER NOT NULL, map INTEGER NOT NULL, key BLOB NOT NULL, cell BLOB NOT NULL,
         PRIMARY KEY (interface, map, key)
     ) WITHOUT ROWID;
     CREATE TABLE interfaces (handle INTEGER PRIMARY KEY, record TEXT NOT NULL);
     CREATE TABLE seeds (
         interface INTEGER NOT NULL, key TEXT NOT NULL, record TEXT NOT NULL,
         PRIMARY KEY (interface, key)
     ) WITHOUT ROWID;",
)];

/// The journal of one observer.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: Connection,
    has_cells: bool,
}

/// What an earlier process of the same epoch left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The number of its last batch; 0 if there was none.
    pub sequence: u64,
    /// Its clock.
    pub clock: Clock,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Connections older than the epoch.
    pub seeds: Vec<(ObservedKey, Seed)>,
}

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite says why.
    #[error("cannot use the observer's journal {path}: {error}")]
    Sqlite {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: rusqlite::Error,
    },
    /// Its layout is that of another version.
    #[error(
        "the observer's journal {path} is of another version of netpol: use that version, or move the file away: {error}"
    )]
    Version {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: rusqlite_migration::Error,
    },
    /// The record of its epoch is not what this version writes.
    #[error("the observer's journal {path} holds a record that cannot be read: {error}")]
    Record {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// It is damaged, and cannot be put aside.
    #[error("cannot put the damaged journal {path} aside")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl JournalError {
    /// Whether the file is no sound database, or does not tell its epoch, so that it never will.
    fn is_damage(&self) -> bool {
        let error = match self {
            Self::Record { .. } => return true,
            Self::Sqlite { error, .. } => error,
            Self::Version {
                error: rusqlite_migration::Error::RusqliteError { err, .. },
                ..
            } => err,
            _ => return false,
        };
        sqlite::is_damage(error)
    }
}

impl Journal {
    /// Opens or makes the journal at `path`, and reads what is kept of `epoch`. All else is of the past and deleted.
    ///
    /// A file that is damaged, as a power cut may leave it, is put aside as `<path>.damaged`, and a new one begun. A
    /// single record that cannot be read is logged and let go of; the interface that it was about has a gap from then on.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub fn open(path: &Path, epoch: &Epoch) -> Result<(Self, Kept), JournalError> {
        Self::open_as_it_is(path, epoch).or_else(|error| {
            if !error.is_damage() {
                return Err(error);
            }
            warn!("{error}: beginning a new one");
            sqlite::put_aside(path).map_err(|source| JournalError::Damaged {
                path: path.to_owned(),
                source,
            })?;
            Self::open_as_it_is(path, epoch)
        })
    }

    fn open_as_it_is(path: &Path, epoch: &Epoch) -> Result<(Self, Kept), JournalError> {
        let sqlite = |error| JournalError::Sqlite {
            path: path.to_owned(),
            error,
        };
        let mut connection = Connection::open(path).map_err(sqlite)?;
        set_up(&connection).map_err(sqlite)?;
        Migrations::from_slice(SCHEMA)
            .to_latest(&mut connection)
            .map_err(|error| JournalError::Version {
                path: path.to_owned(),
                error,
            })?;
        let mut journal = Self {
            path: path.to_owned(),
            connection,
            has_cells: true,
        };
        let kept = match journal.last()? {
            Some((last, sequence, clock)) if last == *epoch => journal.kept(sequence, clock)?,
            _ => journal.begin(epoch)?,
        };
        journal.has_cells = journal.any_cell()?;
        Ok((journal, kept))
    }

    /// Keeps the number of the next batch and the clock, before the batch goes out.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; then the batch must not go out.
    pub fn begin_batch(&mut self, sequence: u64, clock: &Clock) -> Result<(), JournalError> {
        let clock = self.json(clock)?;
        let sql = "UPDATE epoch SET sequence = ?1, clock = ?2";
        let changed = self
            .connection
            .execute(sql, params![signed(sequence), clock]);
        changed.map(drop).map_err(|error| self.sqlite(error))
    }

    /// Keeps the cells of entries that are about to be deleted, or turned out to have counted more.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; then the entries must not be deleted.
    pub fn carry(&mut self, cells: &[(MapKind, EdgeKey, Cell)]) -> Result<(), JournalError> {
        self.has_cells |= !cells.is_empty();
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO cells VALUES (?1, ?2, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (map, key, cell) in cells {
                let (bytes, cell) = (key.to_bytes(), cells::to_bytes(cell));
                insert.execute(params![key.interface, number(*map), bytes, cell])?;
            }
            Ok(())
        })
    }

    /// Keeps an interface as it stands.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub fn put_interface(&mut self, interface: &Interface) -> Result<(), JournalError> {
        let record = self.json(interface)?;
        self.write(|transaction| put_interface(transaction, interface.handle, &record))
    }

    /// Keeps an interface and the connections that were open when it was attached.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; then nothing of it is kept.
    pub fn put_seeds<'a>(
        &mut self,
        interface: &Interface,
        seeds: impl IntoIterator<Item = (&'a ObservedKey, &'a Seed)>,
    ) -> Result<(), JournalError> {
        let record = self.json(interface)?;
        let seeds = seeds
            .into_iter()
            .map(|(key, seed)| Ok((self.json(key)?, self.json(seed)?)));
        let seeds: Vec<_> = seeds.collect::<Result<_, JournalError>>()?;
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO seeds VALUES (?1, ?2, ?3)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (key, seed) in &seeds {
                insert.execute(params![interface.handle, key, seed])?;
            }
            put_interface(transaction, interface.handle, &record)
        })
    }

    /// Forgets everything about an interface that is dead and delivered.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub fn remove_interface(&mut self, handle: u32) -> Result<(), JournalError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM cells WHERE interface = ?1", [handle])?;
            transaction.execute("DELETE FROM seeds WHERE interface = ?1", [handle])?;
            transaction.execute("DELETE FROM interfaces WHERE handle = ?1", [handle])?;
            Ok(())
        })
    }

    fn any_cell(&self) -> Result<bool, JournalError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM cells)";
        let any = self.connection.query_row(sql, [], |row| row.get(0));
        any.map_err(|error| self.sqlite(error))
    }

    fn begin(&mut self, epoch: &Epoch) -> Result<Kept, JournalError> {
        let (epoch, clock) = (self.json(epoch)?, self.json(&Clock::default())?);
        self.write(|transaction| {
            for table in ["epoch", "cells", "interfaces", "seeds"] {
                transaction.execute(&format!("DELETE FROM {table}"), [])?;
            }
            transaction.execute(
                "INSERT INTO epoch VALUES (?1, 0, ?2)",
                params![epoch, clock],
            )?;
            Ok(())
        })?;
        Ok(Kept::default())
    }

    fn write(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), JournalError> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            work(&transaction)?;
            transaction.commit()
        };
        run(&mut self.connection).map_err(|error| self.sqlite(error))
    }

    fn json<T: Serialize>(&self, value: &T) -> Result<String, JournalError> {
        serde_json::to_string(value).map_err(|error| self.record(error))
    }

    fn sqlite(&self, error: rusqlite::Error) -> JournalError {
        let path = self.path.clone();
        JournalError::Sqlite { path, error }
    }

    fn record(&self, error: serde_json::Error) -> JournalError {
        let path = self.path.clone();
        JournalError::Record { path, error }
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -256)
}

fn put_interface(transaction: &Transaction<'_>, handle: u32, record: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO interfaces VALUES (?1, ?2)";
    transaction.execute(sql, params![handle, record]).map(drop)
}

fn number(map: MapKind) -> u8 {
    match map {
        MapKind::Edges => 0,
        MapKind::Attempts => 1,
    }
}

/// SQLite has signed integers only; a sequence number never gets past them.
fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
