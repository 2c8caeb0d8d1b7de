//! The queue's rows.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Front, Record, Spool, signed};
use crate::observe::{Batch, Epoch};
use crate::uplink::parcel::Limits;
use crate::wire::{self, Packed};

/// A row as it stands in the file.
struct Raw {
    id: i64,
    epoch: String,
    sequence: i64,
    edges: u32,
    plain: i64,
    frame: Vec<u8>,
}

pub(super) fn insert(
    to: &Transaction<'_>,
    epoch: &str,
    batch: &Batch,
    packed: &Packed,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO batches (epoch, sequence, time, edges, plain, frame) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (sequence, time) = (signed(batch.sequence), batch.time.as_microsecond());
    let (edges, plain) = (
        signed(batch.edges.len() as u64),
        signed(packed.plain as u64),
    );
    let mut insert = to.prepare_cached(sql)?;
    let row = params![epoch, sequence, time, edges, plain, packed.frame];
    insert.execute(row).map(drop)
}

pub(super) fn update(
    to: &Transaction<'_>,
    id: i64,
    batch: &Batch,
    packed: &Packed,
) -> rusqlite::Result<()> {
    let sql = "UPDATE batches SET edges = ?2, plain = ?3, frame = ?4 WHERE id = ?1";
    let (edges, plain) = (
        signed(batch.edges.len() as u64),
        signed(packed.plain as u64),
    );
    let row = params![id, edges, plain, packed.frame];
    to.execute(sql, row).map(drop)
}

/// What the columns of a row tell of its batch, if they can be read.
pub(super) fn outline(
    from: &Connection,
    observer: &str,
    id: i64,
) -> rusqlite::Result<Option<Batch>> {
    let sql = "SELECT epoch, sequence, time FROM batches WHERE id = ?1";
    let columns = from.query_row(sql, [id], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?))
    });
    let Some((epoch, sequence, time)) = columns.optional()? else {
        return Ok(None);
    };
    let epoch = serde_json::from_str(&epoch).ok();
    let time = Timestamp::from_microsecond(time).ok();
    Ok(epoch.zip(time).map(|(epoch, time)| Batch {
        observer: observer.to_owned(),
        epoch,
        sequence: u64::try_from(sequence).unwrap_or(0),
        time,
        edges: Vec::new(),
        losses: Vec::new(),
        node_addresses: Vec::new(),
    }))
}

impl Spool {
    pub(super) fn read(&mut self, limits: &Limits) -> rusqlite::Result<Front> {
        let sql = "SELECT id, epoch, sequence, edges, plain, frame FROM batches ORDER BY id";
        let mut rows = self.connection.prepare_cached(sql)?;
        let mut rows = rows.query([])?;
        let mut front: Vec<Record> = Vec::new();
        let (mut transferred, mut plain) = (0, 0);
        while let Some(row) = rows.next()? {
            let raw = Raw::of(row)?;
            let Some(record) = raw.sound() else {
                let Raw { id, frame, .. } = raw;
                let damaged = Front::Damaged { id, frame };
                return Ok(if front.is_empty() {
                    damaged
                } else {
                    Front::Records(front)
                });
            };
            transferred += record.packed.frame.len();
            plain += record.packed.plain;
            if !limits.allow(front.len(), transferred, plain) || !follows(&front, &record) {
                break;
            }
            front.push(record);
        }
        Ok(if front.is_empty() {
            Front::Empty
        } else {
            Front::Records(front)
        })
    }
}

/// Whether a record's number is higher than those of its epoch before it. After an observer has lost its journal it may not
/// be; then it goes with the next delivery.
fn follows(front: &[Record], record: &Record) -> bool {
    let mut before = front.iter().rev();
    let before = before.find(|before| before.epoch == record.epoch);
    before.is_none_or(|before| before.sequence < record.sequence)
}

impl Raw {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            epoch: row.get(1)?,
            sequence: row.get(2)?,
            edges: row.get(3)?,
            plain: row.get(4)?,
            frame: row.get(5)?,
        })
    }

    /// The record, if its frame is whole.
    fn sound(&self) -> Option<Record> {
        let epoch: Epoch = serde_json::from_str(&self.epoch).ok()?;
        let plain = usize::try_from(self.plain).ok()?;
        let is_whole = wire::length(&self.frame).is_ok_and(|length| length == plain);
        is_whole.then(|| Record {
            id: self.id,
            epoch,
            sequence: u64::try_from(self.sequence).unwrap_or(0),
            edges: self.edges as usize,
            packed: Packed {
                frame: self.frame.clone(),
                plain,
            },
        })
    }
}

/// The first sound batch after `id` in a file that may be damaged, and where it stands; `None` at the end.
pub(super) fn after(
    connection: &Connection,
    id: i64,
) -> rusqlite::Result<Option<(i64, Option<Batch>)>> {
    let sql = "SELECT id, epoch, sequence, edges, plain, frame FROM batches WHERE id > ?1 ORDER BY id LIMIT 1";
    let mut rows = connection.prepare_cached(sql)?;
    let mut rows = rows.query([id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let raw = Raw::of(row)?;
    let record = raw.sound();
    let batch = record.and_then(|record| wire::unpack(&record.packed.frame).ok());
    Ok(Some((raw.id, batch)))
}
