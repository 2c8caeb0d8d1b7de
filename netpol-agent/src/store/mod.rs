//! The ledger and the history of the index, durably: in an SQLite file, or in a PostgreSQL database that two replicas may
//! share.
//!
//! A store is a journal and pages. Each batch is appended to the journal as it was told; since merging is idempotent and
//! commutative, what is held is whatever all rows make, merged in any order, however often. Now and then the rows of one epoch
//! are folded: its part of the ledger is written as one page, and the rows that are in it are deleted. So a commit
//! costs what the batch is big, and the journal stays short.

mod postgres;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::ledger::{Ledger, Told};
use crate::observe::{Batch, Epoch};

/// The rows of an epoch are folded when they take more bytes than this, and more than its page.
const FOLD: usize = 16 << 10;
/// Pages that are written in one transaction.
const PAGES: usize = 64;

/// Where batches are kept.
#[derive(Debug)]
pub struct Store {
    storage: Box<dyn Storage>,
    sizes: BTreeMap<Place, Size>,
}

/// Which database it is.
#[derive(Clone, Eq, PartialEq)]
pub enum Database {
    /// An SQLite file; see [`Store::open`].
    File(PathBuf),
    /// A PostgreSQL database; see [`Store::connect`].
    Url {
        /// Its URL, which may hold a password and is never shown.
        url: String,
        /// A file of the authorities by which the server's certificate is checked, in PEM, if the URL names none.
        authorities: Option<PathBuf>,
    },
}

/// What a row is of.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The observer.
    pub observer: String,
    /// The epoch.
    pub epoch: Epoch,
}

/// What has become of a remembered object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// What identifies it.
    pub key: String,
    /// What there is to remember; nothing any more if `None`.
    pub body: Option<Vec<u8>>,
}

/// Bytes that the rows of one epoch take.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    journal: usize,
    page: usize,
    /// The page holds what the ledger has let go of.
    stale: bool,
}

/// A row that is read.
struct Row {
    place: Place,
    body: Vec<u8>,
    is_page: bool,
}

/// What a database does for the store.
trait Storage: fmt::Debug + Send {
    /// The database, in the words of messages.
    fn place(&self) -> &str;

    /// Appends rows to the journal, durably once this returns: all or none.
    fn append(&mut self, rows: &[(Place, Vec<u8>)]) -> Result<(), StoreError>;

    /// Hands over every row that was not read yet and that another process wrote; the first time, every row.
    fn read(
        &mut self,
        each: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Replaces what was read or appended of some epochs by a page each, or by nothing.
    fn fold(&mut self, pages: &[(Place, Option<Vec<u8>>)]) -> Result<(), StoreError>;

    /// Keeps changes of the history.
    fn remember(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Hands over the history.
    fn recall(
        &mut self,
        each: &mut dyn FnMut(String, Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}

/// A database that cannot be used. `place` is its file, or its server and name.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("graph database {place} cannot be opened")]
    Open {
        /// The file.
        place: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is no SQLite database, or damaged.
    #[error("graph database {place} is damaged or no SQLite database; move it away to begin anew")]
    Damaged {
        /// The file.
        place: String,
    },
    /// Some other program's database.
    #[error("{place} is the database of another program; name another state directory")]
    Foreign {
        /// The file.
        place: String,
    },
    /// Written by a later version.
    #[error(
        "graph database {place} was written by a newer version of netpol; use that version, or move it away"
    )]
    Newer {
        /// The database.
        place: String,
    },
    /// No room on the disk. Nothing of what was to be written was kept.
    #[error("no room on the disk for graph database {place}")]
    Full {
        /// The database.
        place: String,
    },
    /// Another process holds the database.
    #[error("graph database {place} is in use by another process")]
    Busy {
        /// The file.
        place: String,
    },
    /// A row that no version wrote.
    #[error("graph database {place} holds {what} that does not decode; move it away to begin anew")]
    Row {
        /// The database.
        place: String,
        /// What does not decode.
        what: &'static str,
    },
    /// Anything else that SQLite reports.
    #[error("graph database {place} cannot be used")]
    Sqlite {
        /// The file.
        place: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// A URL that does not name a database.
    #[error(
        "the URL of the PostgreSQL database cannot be used: {reason}; it is like postgresql://user@host/name"
    )]
    Url {
        /// Why not.
        reason: String,
    },
    /// A file of authorities that says nothing.
    #[error(
        "the authorities of {path}, by which PostgreSQL's certificate is checked, cannot be used: {reason}; it is to hold \
        certificates in PEM"
    )]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A certificate that could not be checked.
    #[error(
        "this machine trusts no authority by which PostgreSQL's certificate could be checked; name a file of them, in PEM, with \
        --postgres-ca, NETPOL_POSTGRES_CA or sslrootcert in the URL"
    )]
    NoAuthorities,
    /// A server that does not prove that it is the one that is meant.
    #[error("PostgreSQL at {place} does not prove that it is the one of the URL: {advice}")]
    Untrusted {
        /// The server and database.
        place: String,
        /// What to do.
        advice: &'static str,
        /// Why not.
        source: tokio_postgres::Error,
    },
    /// A server that does not take the URL's user, password or database.
    #[error(
        "PostgreSQL at {place} does not let netpol in; see to the user, the password, the database and sslmode of its URL"
    )]
    Refused {
        /// The server and database.
        place: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// No connection to the server.
    #[error("PostgreSQL at {place} cannot be reached")]
    Unreachable {
        /// The server and database.
        place: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// No answer within the time that there is.
    #[error("PostgreSQL at {place} did not answer within {seconds} s")]
    Slow {
        /// The server and database.
        place: String,
        /// How long it was waited.
        seconds: u64,
    },
    /// Anything else that PostgreSQL reports.
    #[error("PostgreSQL at {place} does not do what is asked")]
    Postgres {
        /// The server and database.
        place: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// The tables cannot be brought up to date.
    #[error("the tables of PostgreSQL at {place} cannot be brought up to date")]
    Migration {
        /// The server and database.
        place: String,
        /// Why.
        source: Box<refinery::Error>,
    },
    /// Something of this machine.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

impl Store {
    /// Opens an SQLite file, or makes it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened, is damaged, another program's, or a newer version's.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::new(sqlite::Sqlite::open(path)?))
    }

    /// Connects to the PostgreSQL database of a URL, as libpq understands it: `postgresql://user@host:port/name`, and brings
    /// its schema up to date. A connection that is lost later is made again when it is needed. This and all that is
    /// done with it blocks, so that it does not belong into an asynchronous task: see [`crate::keeper::open`].
    ///
    /// TLS is demanded and the server's certificate checked unless `sslmode` says `prefer` (checked too, where the server
    /// speaks TLS) or `disable`; `require`, `verify-ca` and `verify-full` are all the last of these. The authorities are those of
    /// `sslrootcert` in the URL, of the file, or of this machine; the file is read again for every connection.
    ///
    /// # Errors
    ///
    /// A URL that cannot be read, or a database that cannot be reached or used, or does not prove who it is.
    pub fn connect(url: &str, authorities: Option<&Path>) -> Result<Self, StoreError> {
        Ok(Self::new(postgres::Postgres::connect(url, authorities)?))
    }

    fn new(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Box::new(storage),
            sizes: BTreeMap::new(),
        }
    }

    /// The database, in the words of messages.
    #[must_use]
    pub fn place(&self) -> &str {
        self.storage.place()
    }

    /// Everything that was committed.
    ///
    /// # Errors
    ///
    /// Rows that do not decode, and whatever the database reports.
    pub fn load(&mut self) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger::default();
        self.read(&mut |place, told| ledger.merge_told(&place.observer, &place.epoch, told))?;
        Ok(ledger)
    }

    /// Hands over what another process committed since it was last asked.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub fn read(&mut self, each: &mut dyn FnMut(&Place, Told)) -> Result<(), StoreError> {
        let (sizes, place) = (&mut self.sizes, self.storage.place().to_owned());
        self.storage.read(&mut |row| {
            let what = if row.is_page { "a page" } else { "a batch" };
            let damaged = |_| StoreError::Row {
                place: place.clone(),
                what,
            };
            let told = Told::decode(&row.body).map_err(damaged)?;
            each(&row.place, told);
            let size = sizes.entry(row.place).or_default();
            match row.is_page {
                true => size.page = row.body.len(),
                false => size.journal += row.body.len(),
            }
            Ok(())
        })
    }

    /// Keeps what was told of some epochs: all of it or nothing, and durably so once this returns. Doing it again changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] and whatever else the database reports. If the connection to it was lost meanwhile, it may be
    /// kept all the same.
    pub fn append<'a>(
        &mut self,
        told: impl Iterator<Item = (&'a Place, &'a Told)>,
    ) -> Result<(), StoreError> {
        let rows: Vec<_> = told
            .map(|(place, told)| (place.clone(), told.encode()))
            .collect();
        self.storage.append(&rows)?;
        for (place, body) in rows {
            self.sizes.entry(place).or_default().journal += body.len();
        }
        Ok(())
    }

    /// Keeps one batch, as [`Store::append`].
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (place, told) = (Place::of(batch), Told::of(batch));
        self.append(std::iter::once((&place, &told)))
    }

    /// Notes that the ledger has let go of something of an epoch, so that its page is written again.
    pub fn shrunk(&mut self, place: Place) {
        self.sizes.entry(place).or_default().stale = true;
    }

    /// Folds the epochs whose journal has become long, or whose page is stale. `page` encodes an epoch of the ledger, in which
    /// everything must be that was read and appended; `None` if it is gone from there.
    ///
    /// # Errors
    ///
    /// Whatever the database reports. Nothing is lost by it.
    pub fn fold(&mut self, page: &dyn Fn(&Place) -> Option<Vec<u8>>) -> Result<usize, StoreError> {
        let due = |size: &Size| size.stale || size.journal > FOLD.max(size.page);
        let due = self.sizes.iter().filter(|(_, size)| due(size));
        let due: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
        for places in due.chunks(PAGES) {
            let pages = places.iter().map(|place| (place.clone(), page(place)));
            let pages: Vec<_> = pages.collect();
            self.storage.fold(&pages)?;
            for (place, page) in pages {
                match page {
                    Some(body) => {
                        let page = body.len();
                        let size = Size {
                            page,
                            ..Size::default()
                        };
                        self.sizes.insert(place, size);
                    }
                    None => drop(self.sizes.remove(&place)),
                }
            }
        }
        Ok(due.len())
    }

    /// Keeps changes of the history, all or none.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
    pub fn remember(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        match changes {
            [] => Ok(()),
            changes => self.storage.remember(changes),
        }
    }

    /// Hands over every object of the history, by its key. One that does not decode, which `each` tells, is an error.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
    pub fn recall(
        &mut self,
        each: &mut dyn FnMut(&str, &[u8]) -> Option<()>,
    ) -> Result<(), StoreError> {
        let place = self.storage.place().to_owned();
        self.storage.recall(&mut |key, body| {
            each(&key, &body).ok_or_else(|| StoreError::Row {
                place: place.clone(),
                what: "an object",
            })
        })
    }
}

impl StoreError {
    /// Whether the database is only not to be reached, which may pass by itself.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Slow { .. })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Url { authorities, .. } => f
                .debug_struct("Url")
                .field("authorities", authorities)
                .finish_non_exhaustive(),
        }
    }
}

impl Place {
    /// Where a batch belongs.
    #[must_use]
    pub fn of(batch: &Batch) -> Self {
        Self {
            observer: batch.observer.clone(),
            epoch: batch.epoch.clone(),
        }
    }
}
