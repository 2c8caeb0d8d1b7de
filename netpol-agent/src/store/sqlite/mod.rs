//! The store in a file: SQLite in WAL mode, with migrations.
//!
//! Once a transaction has ended it is in the write-ahead log and synced (`synchronous = FULL`): it outlives the process
//! and the power supply. The file has one owner at a time, so that nobody else's rows have to be looked for.

mod early;
mod key;
mod schema;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row as SqlRow, Transaction, params};
use rusqlite_migration::MigrationDefinitionError;

use super::{Change, Place, Row, Storage, StoreError};
use crate::observe::Epoch;

/// How long to wait for another process that holds the database.
const BUSY: Duration = Duration::from_secs(5);

const APPEND: &str = "
    INSERT INTO journal (observer, boot_id, instance, abi_version, body) VALUES (?1, ?2, ?3, ?4, ?5)";
const DELETE_JOURNAL: &str = "
    DELETE FROM journal WHERE observer = ?1 AND boot_id = ?2 AND instance = ?3 AND abi_version = ?4";
const DELETE_PAGE: &str = "
    DELETE FROM pages WHERE observer = ?1 AND boot_id = ?2 AND instance = ?3 AND abi_version = ?4";
const PUT_PAGE: &str = "
    INSERT INTO pages (observer, boot_id, instance, abi_version, body) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET body = excluded.body";
const PUT_HISTORY: &str = "
    INSERT INTO history (key, body) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET body = excluded.body";

/// The database file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    place: String,
    /// Whether all of it has been read: then nothing is left that another process wrote.
    read: bool,
}

impl Sqlite {
    /// Opens the database, or makes it where there is none, and brings its schema up to date.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection =
            Connection::open_with_flags(path, flags()).map_err(|source| StoreError::Open {
                place: path.display().to_string(),
                source,
            })?;
        let mut store = Self {
            connection,
            place: path.display().to_string(),
            read: false,
        };
        store.check_owner()?;
        store.configure().map_err(|error| store.error(error))?;
        store.migrate()?;
        store.convert()?;
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
            place: self.place.clone(),
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
                    place: self.place.clone(),
                })
            }
            Err(RusqliteError { err, .. }) => Err(self.error(err)),
            Err(other) => Err(self.error(rusqlite::Error::ToSqlConversionFailure(other.into()))),
        }
    }

    /// One that gets no bigger than so many pages.
    #[cfg(test)]
    pub(super) fn open_small(path: &Path, pages: u32) -> Result<Self, StoreError> {
        let store = Self::open(path)?;
        let limit = store
            .connection
            .pragma_update(None, "max_page_count", pages);
        limit.map_err(|error| store.error(error))?;
        Ok(store)
    }

    /// Runs `work` in one transaction, which is rolled back if it fails.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run(&mut self.connection).map_err(|error| self.error(error))
    }

    /// Hands every row of `query` to `take`, which says whether it decodes.
    fn each(
        &self,
        query: &str,
        what: &'static str,
        mut take: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, InvalidQuery,
        };
        let mut run = || {
            let mut statement = self.connection.prepare_cached(query)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                take(row)?;
            }
            Ok(())
        };
        run().map_err(|error| match error {
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | InvalidQuery => StoreError::Row {
                place: self.place.clone(),
                what,
            },
            other => self.error(other),
        })
    }

    /// The error that says what to do.
    fn error(&self, source: rusqlite::Error) -> StoreError {
        let place = self.place.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                StoreError::Damaged { place }
            }
            Some(ErrorCode::DiskFull) => StoreError::Full { place },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { place },
            _ => StoreError::Sqlite { place, source },
        }
    }
}

impl Storage for Sqlite {
    fn place(&self) -> &str {
        &self.place
    }

    fn append(&mut self, rows: &[(Place, Vec<u8>)]) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let mut append = transaction.prepare_cached(APPEND)?;
            for (place, body) in rows {
                let Epoch {
                    boot_id,
                    instance,
                    abi_version,
                } = &place.epoch;
                let instance = instance.cast_signed();
                append.execute(params![
                    place.observer,
                    boot_id,
                    instance,
                    abi_version,
                    body
                ])?;
            }
            Ok(())
        })
    }

    fn read(
        &mut self,
        each: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.read {
            return Ok(());
        }
        for (table, is_page) in [("pages", true), ("journal", false)] {
            let query =
                format!("SELECT observer, boot_id, instance, abi_version, body FROM {table}");
            let mut outcome = Ok(());
            self.each(&query, "a row", |row| {
                let row = Row {
                    place: place(row)?,
                    body: row.get(4)?,
                    is_page,
                };
                if outcome.is_ok() {
                    outcome = each(row);
                }
                Ok(())
            })?;
            outcome?;
        }
        self.read = true;
        Ok(())
    }

    fn fold(&mut self, pages: &[(Place, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            for (place, page) in pages {
                let Epoch {
                    boot_id,
                    instance,
                    abi_version,
                } = &place.epoch;
                let instance = instance.cast_signed();
                let at = params![place.observer, boot_id, instance, abi_version];
                transaction.prepare_cached(DELETE_JOURNAL)?.execute(at)?;
                match page {
                    Some(body) => transaction.prepare_cached(PUT_PAGE)?.execute(params![
                        place.observer,
                        boot_id,
                        instance,
                        abi_version,
                        body
                    ])?,
                    None => transaction.prepare_cached(DELETE_PAGE)?.execute(at)?,
                };
            }
            Ok(())
        })
    }

    fn remember(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let mut put = transaction.prepare_cached(PUT_HISTORY)?;
            let mut remove = transaction.prepare_cached("DELETE FROM history WHERE key = ?1")?;
            for Change { key, body } in changes {
                match body {
                    Some(body) => put.execute(params![key, body])?,
                    None => remove.execute([key])?,
                };
            }
            Ok(())
        })
    }

    fn recall(
        &mut self,
        each: &mut dyn FnMut(String, Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        self.each(
            "SELECT key, body FROM history ORDER BY key",
            "an object",
            |row| {
                if outcome.is_ok() {
                    outcome = each(row.get(0)?, row.get(1)?);
                }
                Ok(())
            },
        )?;
        outcome
    }
}

/// The place in the first four columns.
fn place(row: &SqlRow<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        observer: row.get(0)?,
        epoch: Epoch {
            boot_id: row.get(1)?,
            instance: row.get::<_, i64>(2)?.cast_unsigned(),
            abi_version: row.get(3)?,
        },
    })
}

/// No URIs: a path is a path.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
}
