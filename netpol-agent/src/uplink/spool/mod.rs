//! Batches on this node's disk, in order, until the aggregator has acknowledged them.
//!
//! SQLite in WAL mode, synchronised with the disk at every commit: unlike the kernel's maps, a spool outlives the
//! machine's power. Every batch is a zstd frame with a checksum, so that a damaged one is told from a sound one.

mod damage;
#[cfg(test)]
pub(crate) mod examples;
mod losses;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use rusqlite_migration::{M, Migrations};
use tracing::warn;

use super::parcel::{Limits, Lost};
use super::status::Held;
use crate::observe::{Batch, Epoch};
use crate::wire::{EncodeError, Packed};

/// Bytes that a spool holds unless told otherwise.
pub const DEFAULT_LIMIT: u64 = 64 << 20;
/// What a row takes besides its frame, about.
const ROW: u64 = 256;

const SCHEMA: &[M<'static>] = &[M::up(
    "CREATE TABLE batches (
         id INTEGER PRIMARY KEY AUTOINCREMENT, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, time INTEGER NOT NULL,
         edges INTEGER NOT NULL, plain INTEGER NOT NULL, frame BLOB NOT NULL
     );
     CREATE TABLE pushed (epoch TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
     CREATE TABLE told (
         epoch TEXT NOT NULL, interface INTEGER NOT NULL, pod TEXT NOT NULL, losses TEXT NOT NULL,
         PRIMARY KEY (epoch, interface, pod)
     ) WITHOUT ROWID;
     CREATE TABLE given_up (
         epoch TEXT NOT NULL, interface INTEGER NOT NULL, pod TEXT NOT NULL, edges INTEGER NOT NULL,
         PRIMARY KEY (epoch, interface, pod)
     ) WITHOUT ROWID;",
)];

/// The spool of one observer.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    observer: String,
    connection: Connection,
    held: Held,
    is_new: bool,
}

/// A batch in the spool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Its place in the queue.
    pub id: i64,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number.
    pub sequence: u64,
    /// How many edges it has.
    pub edges: usize,
    /// The batch itself.
    pub packed: Packed,
}

/// What is at the head of the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Front {
    /// Nothing.
    Empty,
    /// These, in order, of rising numbers within each epoch.
    Records(Vec<Record>),
    /// A record that cannot be read any more.
    Damaged {
        /// Its place in the queue.
        id: i64,
        /// What is left of it.
        frame: Vec<u8>,
    },
}

/// Why a batch is not in the spool, or cannot be read from it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No room.
    #[error(
        "the spool {path} is full: the aggregator has not acknowledged {limit} bytes of batches; new edges wait in the \
         kernel's maps, and what finds no room there is counted as lost"
    )]
    Full {
        /// Where it is.
        path: PathBuf,
        /// Bytes at most.
        limit: u64,
    },
    /// SQLite says why.
    #[error("cannot use the spool {path}: {error}")]
    Sqlite {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: rusqlite::Error,
    },
    /// Its layout is that of another version.
    #[error(
        "the spool {path} is of another version of netpol: use that version until the spool is empty, or move the file \
         away, which gives up what it holds: {error}"
    )]
    Version {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        error: rusqlite_migration::Error,
    },
    /// It is damaged, and cannot be put aside.
    #[error("cannot put the damaged spool {path} aside")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A batch that cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Spool {
    /// Opens or makes the spool of `observer` at `path`, for at most `limit` bytes of batches.
    ///
    /// A file that is damaged is put aside as `<path>.damaged`, and a new one begun with every batch that can still be
    /// read. Every pod that the damaged one knew of is then told to have lost an edge, since it may have.
    ///
    /// # Errors
    ///
    /// [`SpoolError`].
    pub fn open(path: &Path, observer: &str, limit: u64) -> Result<Self, SpoolError> {
        let mut spool = Self::open_as_it_is(path, observer, limit).or_else(|error| {
            if !error.is_damage() {
                return Err(error);
            }
            warn!("{error}");
            Self::begin_anew(path, observer, limit)
        })?;
        spool.measure()?;
        Ok(spool)
    }

    /// Adds a batch at the end, durably.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]; then it was not added.
    pub fn push(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        let told = self.guarded(|spool| spool.adjusted(batch))?;
        let packed = Packed::new(told.as_ref().unwrap_or(batch))?;
        let size = packed.frame.len() as u64 + ROW;
        if self.held.bytes + size > self.held.limit {
            return Err(self.full());
        }
        self.guarded(|spool| spool.insert(batch, &packed))?;
        self.held.batches += 1;
        self.held.bytes += size;
        self.held.oldest = self.held.oldest.or(Some(batch.time));
        Ok(())
    }

    /// The head of the queue, as much as `limits` allow.
    ///
    /// # Errors
    ///
    /// [`SpoolError`].
    pub fn front(&mut self, limits: &Limits) -> Result<Front, SpoolError> {
        self.guarded(|spool| spool.read(limits))
    }

    /// Removes what is durable elsewhere: everything up to and with `id`.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]; then it is delivered again.
    pub fn remove(&mut self, id: i64) -> Result<(), SpoolError> {
        self.guarded(|spool| {
            let sql = "DELETE FROM batches WHERE id <= ?1";
            spool.connection.execute(sql, [id])?;
            let shrink = "PRAGMA incremental_vacuum(1024)";
            spool.connection.execute_batch(shrink)
        })?;
        self.measure()
    }

    /// Puts `left` in the place of a batch, or nothing, and tells `lost` of the pods concerned: with the batch, or with what
    /// their observer says of their losses from now on.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]; then nothing was changed.
    pub fn give_up(&mut self, id: i64, left: Option<Batch>, lost: &Lost) -> Result<(), SpoolError> {
        let left = match left {
            Some(left) => Some(self.guarded(|spool| spool.with_losses(left.clone(), lost))?),
            None => None,
        };
        let packed = left.as_ref().map(Packed::new).transpose()?;
        self.guarded(|spool| spool.replace(id, left.as_ref().zip(packed.as_ref()), lost))?;
        self.measure()
    }

    /// Removes a record that cannot be read, and tells of every pod of its epoch that it has lost an edge: it may have.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]; then nothing was changed.
    pub fn forget_damaged(&mut self, id: i64) -> Result<(), SpoolError> {
        let left = self.guarded(|spool| rows::outline(&spool.connection, &spool.observer, id))?;
        let lost = match &left {
            Some(left) => self.guarded(|spool| losses::suspects(&spool.connection, &left.epoch))?,
            None => Lost::new(),
        };
        self.give_up(id, left, &lost)
    }

    /// The highest number that was ever pushed, by epoch.
    ///
    /// # Errors
    ///
    /// [`SpoolError`].
    pub fn sequences(&mut self) -> Result<BTreeMap<Epoch, u64>, SpoolError> {
        self.guarded(|spool| spool.pushed())
    }

    /// Whether nothing was ever in it, so that this observer may have lost its state.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What it holds.
    #[must_use]
    pub fn held(&self) -> Held {
        self.held
    }

    fn full(&self) -> SpoolError {
        SpoolError::Full {
            path: self.path.clone(),
            limit: self.held.limit,
        }
    }

    fn open_as_it_is(path: &Path, observer: &str, limit: u64) -> Result<Self, SpoolError> {
        let sqlite = |error| SpoolError::Sqlite {
            path: path.to_owned(),
            error,
        };
        let mut connection = Connection::open(path).map_err(sqlite)?;
        set_up(&connection).map_err(sqlite)?;
        Migrations::from_slice(SCHEMA)
            .to_latest(&mut connection)
            .map_err(|error| SpoolError::Version {
                path: path.to_owned(),
                error,
            })?;
        let mut spool = Self {
            path: path.to_owned(),
            observer: observer.to_owned(),
            connection,
            held: Held {
                limit,
                ..Held::default()
            },
            is_new: false,
        };
        spool.check().map_err(sqlite)?;
        spool.is_new = spool.pushed().map_err(sqlite)?.is_empty();
        Ok(spool)
    }

    /// Counts what it holds.
    fn measure(&mut self) -> Result<(), SpoolError> {
        let sql = "SELECT count(*), coalesce(sum(length(frame)), 0) FROM batches";
        let oldest = "SELECT time FROM batches ORDER BY id LIMIT 1";
        let (batches, bytes, oldest) = self.guarded(|spool| {
            let of = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?));
            let (batches, bytes) = spool.connection.query_row(sql, [], of)?;
            let mut oldest = spool.connection.prepare_cached(oldest)?;
            let oldest = oldest.query_map([], |row| row.get::<_, i64>(0))?.next();
            Ok((u64::from(batches), bytes, oldest.transpose()?))
        })?;
        self.held.batches = batches;
        self.held.bytes = u64::try_from(bytes).unwrap_or(0) + batches * ROW;
        self.held.oldest = oldest.and_then(|time| Timestamp::from_microsecond(time).ok());
        Ok(())
    }

    /// Runs `work`; if the file turns out to be damaged, once more on a new one.
    fn guarded<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        let failed = |spool: &Self, error| SpoolError::Sqlite {
            path: spool.path.clone(),
            error,
        };
        let error = match work(self) {
            Ok(done) => return Ok(done),
            Err(error) => failed(self, error),
        };
        if !error.is_damage() {
            return Err(error);
        }
        warn!("{error}");
        // Closed before the file is moved: on closing, SQLite deletes the log beside the file by its name.
        self.connection = Connection::open_in_memory().map_err(|error| failed(self, error))?;
        *self = Self::begin_anew(&self.path, &self.observer, self.held.limit)?;
        work(self).map_err(|error| failed(self, error))
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -256)
}

/// SQLite has signed integers only; a sequence number never gets past them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

impl Spool {
    fn insert(&mut self, batch: &Batch, packed: &Packed) -> rusqlite::Result<()> {
        let epoch = json(&batch.epoch)?;
        let transaction = self.connection.transaction()?;
        rows::insert(&transaction, &epoch, batch, packed)?;
        let sql = "INSERT INTO pushed VALUES (?1, ?2)
                   ON CONFLICT (epoch) DO UPDATE SET sequence = max(sequence, excluded.sequence)";
        transaction.execute(sql, params![epoch, signed(batch.sequence)])?;
        losses::note(&transaction, &epoch, batch)?;
        losses::forget_other_epochs(&transaction, &epoch)?;
        transaction.commit()
    }

    fn replace(
        &mut self,
        id: i64,
        left: Option<(&Batch, &Packed)>,
        lost: &Lost,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        match left {
            Some((batch, packed)) => {
                losses::give_up(&transaction, &json(&batch.epoch)?, lost)?;
                rows::update(&transaction, id, batch, packed)?;
            }
            None => {
                transaction.execute("DELETE FROM batches WHERE id = ?1", [id])?;
            }
        }
        transaction.commit()
    }

    fn pushed(&self) -> rusqlite::Result<BTreeMap<Epoch, u64>> {
        let mut rows = self
            .connection
            .prepare("SELECT epoch, sequence FROM pushed")?;
        let rows = rows.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
        let mut pushed = BTreeMap::new();
        for row in rows {
            let (epoch, sequence) = row?;
            if let Ok(epoch) = serde_json::from_str(&epoch) {
                pushed.insert(epoch, u64::try_from(sequence).unwrap_or(0));
            }
        }
        Ok(pushed)
    }
}
