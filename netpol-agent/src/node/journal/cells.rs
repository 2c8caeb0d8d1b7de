//! Cells of deleted entries, and their bytes.

use netpol_common::abi::EdgeKey;
use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{OptionalExtension as _, params};
use tracing::warn;

use super::{Journal, JournalError, number};
use crate::kernel::MapKind;
use crate::node::account::{Carries, Cell, Counts};

/// The size of a cell in bytes: nine numbers.
const CELL: usize = 9 * 8;

/// A cell as it stands in the database; none if it is not what we write.
struct Stored(Option<[u8; CELL]>);

impl FromSql for Stored {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob().ok().and_then(|blob| blob.try_into().ok());
        Ok(Self(bytes))
    }
}

impl Carries for Journal {
    type Error = JournalError;

    fn carried(&self, map: MapKind, key: &EdgeKey) -> Result<Option<Cell>, JournalError> {
        if !self.has_cells {
            return Ok(None);
        }
        let read = || {
            let sql = "SELECT cell FROM cells WHERE interface = ?1 AND map = ?2 AND key = ?3";
            let mut select = self.connection.prepare_cached(sql)?;
            let bytes = key.to_bytes();
            select
                .query_row(params![key.interface, number(map), bytes], |row| row.get(0))
                .optional()
        };
        match read().map_err(|error| self.sqlite(error))? {
            None => Ok(None),
            Some(Stored(Some(bytes))) => Ok(Some(from_bytes(&bytes))),
            Some(Stored(None)) => self.let_go(map, key).map(|()| None),
        }
    }
}

impl Journal {
    /// Lets go of a cell that cannot be read. Its edge was delivered before; what it counted until then is counted no
    /// more.
    fn let_go(&self, map: MapKind, key: &EdgeKey) -> Result<(), JournalError> {
        warn!(
            "the observer's journal {} holds counts that cannot be read: those of an edge of interface {} begin anew",
            self.path.display(),
            key.interface
        );
        let sql = "DELETE FROM cells WHERE interface = ?1 AND map = ?2 AND key = ?3";
        let values = params![key.interface, number(map), key.to_bytes()];
        let deleted = self.connection.execute(sql, values);
        deleted.map(drop).map_err(|error| self.sqlite(error))
    }
}

pub(super) fn to_bytes(cell: &Cell) -> [u8; CELL] {
    let Cell {
        before,
        value,
        entry,
        first_seen,
        last_seen,
    } = *cell;
    let numbers = [
        before.attempts,
        before.answered,
        before.refused,
        value.attempts,
        value.answered,
        value.refused,
        entry,
        first_seen,
        last_seen,
    ];
    let mut bytes = [0; CELL];
    for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8; CELL]) -> Cell {
    let number = |index: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[index * 8..][..8]);
        u64::from_le_bytes(number)
    };
    let counts = |index: usize| Counts {
        attempts: number(index),
        answered: number(index + 1),
        refused: number(index + 2),
    };
    Cell {
        before: counts(0),
        value: counts(3),
        entry: number(6),
        first_seen: number(7),
        last_seen: number(8),
    }
}
