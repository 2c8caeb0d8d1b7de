//! A spool whose file is damaged: it is put aside, and what can be read of it is taken over.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use tracing::{error, warn};

use super::{Spool, SpoolError, losses, rows};
use crate::observe::Batch;
use crate::sqlite;
use crate::uplink::parcel::without_counts;

/// How far ahead is looked for rows behind a damaged page.
const AHEAD: i64 = 1 << 20;

impl SpoolError {
    /// Whether the file is no sound database, so that it never will be.
    pub(super) fn is_damage(&self) -> bool {
        let error = match self {
            Self::Sqlite { error, .. }
            | Self::Version {
                error: rusqlite_migration::Error::RusqliteError { err: error, .. },
                ..
            } => error,
            _ => return false,
        };
        sqlite::is_damage(error) || is_foreign_value(error)
    }
}

/// Whether a column holds what was never written there, which the database itself takes for sound.
fn is_foreign_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..)
    )
}

impl Spool {
    /// Whether the file is sound as a whole.
    pub(super) fn check(&self) -> rusqlite::Result<()> {
        let told: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if told == "ok" {
            return Ok(());
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(rusqlite::Error::SqliteFailure(code, Some(told)))
    }

    /// Puts the file at `path` aside, and begins a new one with what can be read of it.
    pub(super) fn begin_anew(path: &Path, observer: &str, limit: u64) -> Result<Self, SpoolError> {
        let aside = sqlite::put_aside(path).map_err(|source| SpoolError::Damaged {
            path: path.to_owned(),
            source,
        })?;
        let mut spool = Self::open_as_it_is(path, observer, limit)?;
        spool.is_new = false;
        let (mut saved, mut lost) = (0_u64, 0_u64);
        let mut last = None;
        for batch in Salvage::of(&aside) {
            match batch {
                Some(batch) if spool.push(&batch).is_ok() => {
                    saved += 1;
                    last = Some(batch);
                }
                _ => lost += 1,
            }
        }
        warn!(
            batches = saved,
            unreadable = lost,
            aside = %aside.display(),
            "the spool was damaged: began a new one with what could be read"
        );
        let told = match last {
            Some(last) => spool.suspect(&last, &aside),
            None => Ok(()),
        };
        if let Err(failed) = told {
            error!("cannot tell which pods may have lost edges with the damaged spool: {failed}");
        }
        Ok(spool)
    }

    /// Tells of every pod that the damaged file knew of that it has lost an edge. It may have: what was in a batch that
    /// cannot be read is deleted from the kernel's maps once it is idle.
    fn suspect(&mut self, last: &Batch, aside: &Path) -> Result<(), SpoolError> {
        let sqlite = |error| SpoolError::Sqlite {
            path: aside.to_owned(),
            error,
        };
        // What the damaged file does not tell any more, the batches that were saved may.
        let mut lost = losses::suspects(&self.connection, &last.epoch).map_err(sqlite)?;
        if let Ok(damaged) = open(aside) {
            lost.extend(losses::suspects(&damaged, &last.epoch).unwrap_or_default());
        }
        let left = without_counts(last);
        self.push(&left)?;
        let id = self.connection.last_insert_rowid();
        self.give_up(id, Some(left), &lost)
    }
}

/// The batches that a damaged file still holds; `None` for one that cannot be read.
struct Salvage {
    damaged: Option<Connection>,
    after: i64,
    step: i64,
}

impl Salvage {
    fn of(path: &Path) -> Self {
        Self {
            damaged: open(path).ok(),
            after: 0,
            step: 1,
        }
    }
}

impl Iterator for Salvage {
    type Item = Option<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let damaged = self.damaged.as_ref()?;
        while self.step < AHEAD {
            match rows::after(damaged, self.after) {
                Ok(None) => break,
                Ok(Some((id, batch))) => {
                    (self.after, self.step) = (id, 1);
                    return Some(batch);
                }
                // A page cannot be read. Rows behind it may be found by their numbers.
                Err(_) => {
                    self.after += self.step;
                    self.step *= 2;
                    if self.step == 2 {
                        return Some(None);
                    }
                }
            }
        }
        self.damaged = None;
        None
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}
