//! Points that became one in the ledger become one in the database.

use rusqlite::{Transaction, params};

use super::{Store, StoreError, commit::signed, key};
use crate::ledger::Thinned;

const DELETE: &str = "
    DELETE FROM points WHERE key = ?5 AND second = ?6 AND epoch = (
        SELECT id FROM epochs
        WHERE observer = ?1 AND boot_id = ?2 AND instance = ?3 AND abi_version = ?4)";

const KEEP: &str = "
    UPDATE points SET
        first_seen = min(first_seen, ?7), first = min(first, ?8), attempts = max(attempts, ?9),
        answered = max(answered, ?10), refused = max(refused, ?11)
    WHERE key = ?5 AND second = ?6 AND epoch = (
        SELECT id FROM epochs
        WHERE observer = ?1 AND boot_id = ?2 AND instance = ?3 AND abi_version = ?4)";

impl Store {
    /// Thins out what [`crate::ledger::Ledger::compact`] thinned out, in one transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn thin(&mut self, thinned: &[Thinned]) -> Result<(), StoreError> {
        if thinned.is_empty() {
            return Ok(());
        }
        self.transaction(|transaction| {
            let each = |thinned| write(transaction, thinned);
            thinned.iter().try_for_each(each)
        })
    }
}

fn write(transaction: &Transaction<'_>, thinned: &Thinned) -> rusqlite::Result<()> {
    let epoch = &thinned.epoch;
    let key = key::encode(&thinned.key);
    let instance = epoch.instance.cast_signed();
    let (observer, boot_id, abi) = (&thinned.observer, &epoch.boot_id, epoch.abi_version);
    let kept = &thinned.kept;
    transaction.prepare_cached(KEEP)?.execute(params![
        observer,
        boot_id,
        instance,
        abi,
        key,
        kept.second(),
        thinned.first_seen,
        kept.first,
        signed(kept.attempts),
        signed(kept.answered),
        signed(kept.refused),
    ])?;
    let mut delete = transaction.prepare_cached(DELETE)?;
    for gone in &thinned.gone {
        delete.execute(params![
            observer,
            boot_id,
            instance,
            abi,
            key,
            gone.second()
        ])?;
    }
    Ok(())
}
