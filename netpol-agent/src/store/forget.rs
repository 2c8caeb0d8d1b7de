//! What the ledger forgot is deleted from the database.

use rusqlite::{Transaction, params};

use super::{Store, StoreError, key};
use crate::ledger::Forgotten;
use crate::observe::Epoch;

impl Store {
    /// Deletes what [`crate::ledger::Ledger::forget`] forgot, in one transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn forget(&mut self, forgotten: &Forgotten) -> Result<(), StoreError> {
        if forgotten.is_empty() {
            return Ok(());
        }
        self.transaction(|transaction| write(transaction, forgotten))
    }
}

fn write(transaction: &Transaction<'_>, forgotten: &Forgotten) -> rusqlite::Result<()> {
    for (observer, epoch) in &forgotten.epochs {
        let id = id(transaction, observer, epoch)?;
        for table in ["points", "interfaces", "losses"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE epoch = ?1"), [id])?;
        }
        transaction.execute("DELETE FROM epochs WHERE id = ?1", [id])?;
    }
    let sql = "DELETE FROM points WHERE epoch = ?1 AND second = ?2 AND key = ?3";
    let mut delete = transaction.prepare_cached(sql)?;
    for (observer, epoch, edge, gone) in &forgotten.points {
        let (id, key) = (id(transaction, observer, epoch)?, key::encode(edge));
        for point in gone {
            delete.execute(params![id, point.second(), key])?;
        }
    }
    for (observer, epoch, handle) in &forgotten.interfaces {
        let id = id(transaction, observer, epoch)?;
        for table in ["interfaces", "losses"] {
            let sql = format!("DELETE FROM {table} WHERE epoch = ?1 AND interface = ?2");
            transaction.execute(&sql, params![id, handle])?;
        }
    }
    Ok(())
}

/// The row of an epoch.
fn id(transaction: &Transaction<'_>, observer: &str, epoch: &Epoch) -> rusqlite::Result<i64> {
    let sql = "SELECT id FROM epochs WHERE observer = ?1 AND boot_id = ?2 AND instance = ?3 AND abi_version = ?4";
    let instance = epoch.instance.cast_signed();
    let values = params![observer, epoch.boot_id, instance, epoch.abi_version];
    transaction
        .prepare_cached(sql)?
        .query_row(values, |row| row.get(0))
}
