//! The store in PostgreSQL, which two replicas may share.
//!
//! Every transaction that writes begins by moving the one row of `clock`, which makes writers wait for each other: numbers
//! are given in the order in which transactions end, so that whoever has read up to a number has seen all below it. What
//! the other replica wrote is found by that number.

mod connection;
mod schema;
mod tls;
mod url;

use std::path::Path;

use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Row as SqlRow, Transaction};

use self::connection::Connection;
use super::{Change, Place, Row, Storage, StoreError};
use crate::observe::Epoch;

const TICK: &str = "UPDATE clock SET now = now + $1 RETURNING now";
const APPEND: &str = "
    INSERT INTO journal (change, writer, observer, boot_id, instance, abi_version, body)
    SELECT $1 + row, $2, observer, boot_id, instance, abi_version, body
    FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[])
        WITH ORDINALITY AS told (observer, boot_id, instance, abi_version, body, row)";
const READ: [(&str, bool); 2] = [
    (
        "SELECT observer, boot_id, instance, abi_version, body FROM pages
        WHERE change > $1 AND ($2 OR writer <> $3) ORDER BY change",
        true,
    ),
    (
        "SELECT observer, boot_id, instance, abi_version, body FROM journal
        WHERE change > $1 AND ($2 OR writer <> $3) ORDER BY change",
        false,
    ),
];
const DELETE_JOURNAL: &str = "
    DELETE FROM journal
    WHERE observer = $1 AND boot_id = $2 AND instance = $3 AND abi_version = $4 AND (change <= $5 OR writer = $6)";
const DELETE_PAGE: &str = "
    DELETE FROM pages WHERE observer = $1 AND boot_id = $2 AND instance = $3 AND abi_version = $4 AND change <= $5";
const PUT_PAGE: &str = "
    INSERT INTO pages (observer, boot_id, instance, abi_version, change, writer, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (observer, boot_id, instance, abi_version)
    DO UPDATE SET change = excluded.change, writer = excluded.writer, body = excluded.body";
/// The change of a page that was written after the last look, by another.
const UNREAD_PAGE: &str = "
    SELECT 1 FROM pages WHERE observer = $1 AND boot_id = $2 AND instance = $3 AND abi_version = $4
        AND change > $5 AND writer <> $6";
const PUT_HISTORY: &str = "
    INSERT INTO history (key, body) SELECT * FROM unnest($1::text[], $2::bytea[])
    ON CONFLICT (key) DO UPDATE SET body = excluded.body";

/// The database.
#[derive(Debug)]
pub(super) struct Postgres {
    connection: Connection,
    /// Tells this process's rows from others'. Another one after a write of which it is not known whether it was kept: what
    /// bears the earlier one is read as if it were another's, and is not deleted before that.
    writer: i64,
    /// Up to which number everything was read; nothing yet if `None`.
    position: Option<i64>,
}

impl Postgres {
    pub(super) fn connect(url: &str, authorities: Option<&Path>) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Connection::open(url, authorities)?,
            writer: fastrand::i64(..),
            position: None,
        })
    }
}

impl Storage for Postgres {
    fn place(&self) -> &str {
        self.connection.place()
    }

    fn append(&mut self, rows: &[(Place, Vec<u8>)]) -> Result<(), StoreError> {
        let writer = self.writer;
        let places = || rows.iter().map(|(place, _)| place);
        let observers: Vec<&str> = places().map(|place| place.observer.as_str()).collect();
        let boots: Vec<&str> = places().map(|place| place.epoch.boot_id.as_str()).collect();
        let instances: Vec<i64> = places()
            .map(|place| place.epoch.instance.cast_signed())
            .collect();
        let versions: Vec<i64> = places()
            .map(|place| place.epoch.abi_version.into())
            .collect();
        let bodies: Vec<&[u8]> = rows.iter().map(|(_, body)| body.as_slice()).collect();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let written = self.connection.write(async move |transaction| {
            let now: i64 = transaction.query_one(TICK, &[&count]).await?.get(0);
            let before = now - count;
            let values: [&(dyn ToSql + Sync); 7] = [
                &before, &writer, &observers, &boots, &instances, &versions, &bodies,
            ];
            transaction.execute(APPEND, &values).await?;
            Ok(())
        });
        if written.is_err() {
            self.writer = fastrand::i64(..);
        }
        written
    }

    fn read(
        &mut self,
        each: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (writer, position) = (self.writer, self.position);
        let read = async move |transaction: &Transaction<'_>| {
            let now: i64 = transaction
                .query_one("SELECT now FROM clock", &[])
                .await?
                .get(0);
            let mut rows = Vec::new();
            let (after, all) = (position.unwrap_or(0), position.is_none());
            for (query, is_page) in READ.into_iter().filter(|_| all || now > after) {
                let found = transaction.query(query, &[&after, &all, &writer]).await?;
                rows.extend(found.into_iter().map(|row| (row, is_page)));
            }
            Ok((now, rows))
        };
        let (now, rows) = self.connection.read(read)?;
        let mut wrong = None;
        for (row, is_page) in rows {
            // Another replica may be of a later version; what else there is counts all the same.
            let taken = self.row(&row, is_page).and_then(&mut *each);
            wrong = wrong.or(taken.err());
        }
        if let Some(wrong) = wrong {
            // It is read again, and nothing is folded away before it could be.
            return Err(wrong);
        }
        self.position = Some(now);
        Ok(())
    }

    /// A page that another replica wrote after the last look is left as it is: it is folded after that was read.
    fn fold(&mut self, pages: &[(Place, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let (writer, position) = (self.writer, self.position.unwrap_or(0));
        self.connection.write(async move |transaction| {
            let count = i64::try_from(pages.len()).unwrap_or(i64::MAX);
            let now: i64 = transaction.query_one(TICK, &[&count]).await?.get(0);
            for (change, (place, page)) in (now - count + 1..).zip(pages) {
                let Epoch {
                    boot_id,
                    instance,
                    abi_version,
                } = &place.epoch;
                let (instance, version) = (instance.cast_signed(), i64::from(*abi_version));
                let (observer, body) = (&place.observer, page);
                let at: [&(dyn ToSql + Sync); 6] =
                    [observer, boot_id, &instance, &version, &position, &writer];
                if transaction.query_opt(UNREAD_PAGE, &at).await?.is_some() {
                    continue;
                }
                transaction.execute(DELETE_JOURNAL, &at).await?;
                if body.is_none() {
                    transaction.execute(DELETE_PAGE, &at[..5]).await?;
                    continue;
                }
                let values: [&(dyn ToSql + Sync); 7] = [
                    observer, boot_id, &instance, &version, &change, &writer, body,
                ];
                transaction.execute(PUT_PAGE, &values).await?;
            }
            Ok(())
        })
    }

    fn remember(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let kept = changes
            .iter()
            .filter_map(|change| Some((&change.key, change.body.as_ref()?)));
        let (keys, bodies): (Vec<&String>, Vec<&Vec<u8>>) = kept.unzip();
        let gone = changes.iter().filter(|change| change.body.is_none());
        let gone: Vec<&String> = gone.map(|change| &change.key).collect();
        self.connection.write(async move |transaction| {
            transaction.execute(PUT_HISTORY, &[&keys, &bodies]).await?;
            let delete = "DELETE FROM history WHERE key = ANY($1)";
            transaction.execute(delete, &[&gone]).await?;
            Ok(())
        })
    }

    fn recall(
        &mut self,
        each: &mut dyn FnMut(String, Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let read = async |transaction: &Transaction<'_>| {
            let query = "SELECT key, body FROM history ORDER BY key";
            transaction.query(query, &[]).await
        };
        for row in self.connection.read(read)? {
            let damaged = |_| self.damaged("an object");
            let key = row.try_get(0).map_err(damaged)?;
            each(key, row.try_get(1).map_err(damaged)?)?;
        }
        Ok(())
    }
}

impl Postgres {
    fn row(&self, row: &SqlRow, is_page: bool) -> Result<Row, StoreError> {
        let decode = || {
            Ok::<_, tokio_postgres::Error>((
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get::<_, i64>(2)?,
                row.try_get::<_, i64>(3)?,
                row.try_get(4)?,
            ))
        };
        let damaged = || self.damaged("a row");
        let (observer, boot_id, instance, version, body) = decode().map_err(|_| damaged())?;
        let epoch = Epoch {
            boot_id,
            instance: instance.cast_unsigned(),
            abi_version: u32::try_from(version).map_err(|_| damaged())?,
        };
        Ok(Row {
            place: Place { observer, epoch },
            body,
            is_page,
        })
    }

    fn damaged(&self, what: &'static str) -> StoreError {
        StoreError::Row {
            place: self.connection.place().to_owned(),
            what,
        }
    }
}

/// How a transaction sees what others do: as it was at its beginning.
const READING: IsolationLevel = IsolationLevel::RepeatableRead;
