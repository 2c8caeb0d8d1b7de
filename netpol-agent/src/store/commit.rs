//! A batch into the database, in one transaction. Every statement merges as the ledger does: by maximum.

use rusqlite::{Transaction, named_params, params};

use super::{Store, StoreError, key};
use crate::ledger::Point;
use crate::observe::{Batch, ObservedEdge, ObservedLosses};

const EPOCH: &str = "
    INSERT INTO epochs (observer, boot_id, instance, abi_version, sequence, time)
    VALUES (:observer, :boot_id, :instance, :abi_version, :sequence, :time)
    ON CONFLICT DO UPDATE SET
        sequence = max(sequence, excluded.sequence), time = max(time, excluded.time)
    RETURNING id";

const INTERFACE: &str = "
    INSERT INTO interfaces (epoch, interface, sequence, namespace, name, uid, one_sided)
    VALUES (:epoch, :interface, :sequence, :namespace, :name, :uid, :one_sided)
    ON CONFLICT DO UPDATE SET
        sequence = excluded.sequence, namespace = excluded.namespace, name = excluded.name,
        uid = excluded.uid, one_sided = excluded.one_sided
    WHERE (sequence, namespace, name, uid, one_sided) < (
        excluded.sequence, excluded.namespace, excluded.name, excluded.uid, excluded.one_sided)";

const POINT: &str = "
    INSERT INTO points (epoch, key, second, first_seen, first, last, attempts, answered, refused)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT DO UPDATE SET
        first_seen = min(first_seen, excluded.first_seen),
        first = min(first, excluded.first),
        last = max(last, excluded.last),
        attempts = max(attempts, excluded.attempts),
        answered = max(answered, excluded.answered),
        refused = max(refused, excluded.refused)";

const LOSSES: &str = "
    INSERT INTO losses (epoch, interface, namespace, name, uid,
        edges_lost, edges_recovered, attempts_lost, attempts_recovered, \"foreign\", not_for_pod, observation_gap)
    VALUES (:epoch, :interface, :namespace, :name, :uid,
        :edges_lost, :edges_recovered, :attempts_lost, :attempts_recovered, :foreign, :not_for_pod, :observation_gap)
    ON CONFLICT DO UPDATE SET
        edges_lost = max(edges_lost, excluded.edges_lost),
        edges_recovered = max(edges_recovered, excluded.edges_recovered),
        attempts_lost = max(attempts_lost, excluded.attempts_lost),
        attempts_recovered = max(attempts_recovered, excluded.attempts_recovered),
        \"foreign\" = max(\"foreign\", excluded.\"foreign\"),
        not_for_pod = max(not_for_pod, excluded.not_for_pod),
        observation_gap = max(observation_gap, excluded.observation_gap)";

const NODE_ADDRESS: &str = "
    INSERT INTO node_addresses (observer, address) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

impl Store {
    /// Keeps a batch, and durably so once this returns: it may then be acknowledged. Committing it again changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] and whatever else SQLite reports; nothing of the batch was kept then.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.transaction(|transaction| write(transaction, batch))
    }

    /// Keeps batches in one transaction: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn commit_all<'a>(
        &mut self,
        batches: impl Iterator<Item = &'a Batch>,
    ) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            for batch in batches {
                write(transaction, batch)?;
            }
            Ok(())
        })
    }

    /// Runs `work` in one transaction, which is rolled back if it fails.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = |connection: &mut rusqlite::Connection| {
            let transaction = connection.transaction()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run(&mut self.connection).map_err(|error| self.error(error))
    }
}

pub(super) fn write(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let epoch = write_epoch(transaction, batch)?;
    write_interfaces(transaction, epoch, batch)?;
    write_edges(transaction, epoch, &batch.edges)?;
    for losses in &batch.losses {
        write_losses(transaction, epoch, losses)?;
    }
    let mut statement = transaction.prepare_cached(NODE_ADDRESS)?;
    for address in &batch.node_addresses {
        statement.execute(params![batch.observer, address.to_string()])?;
    }
    Ok(())
}

fn write_epoch(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<i64> {
    transaction.prepare_cached(EPOCH)?.query_row(
        named_params! {
            ":observer": batch.observer,
            ":boot_id": batch.epoch.boot_id,
            ":instance": batch.epoch.instance.cast_signed(),
            ":abi_version": batch.epoch.abi_version,
            ":sequence": signed(batch.sequence),
            ":time": batch.time.as_microsecond(),
        },
        |row| row.get(0),
    )
}

/// What the batch says of each interface, once for edges in a row that say the same.
fn write_interfaces(
    transaction: &Transaction<'_>,
    epoch: i64,
    batch: &Batch,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(INTERFACE)?;
    let alike = |a: &ObservedEdge, b: &ObservedEdge| {
        (a.key.interface, a.one_sided, &a.pod) == (b.key.interface, b.one_sided, &b.pod)
    };
    for run in batch.edges.chunk_by(alike) {
        let edge = &run[0];
        statement.execute(named_params! {
            ":epoch": epoch,
            ":interface": edge.key.interface,
            ":sequence": signed(batch.sequence),
            ":namespace": edge.pod.name.namespace,
            ":name": edge.pod.name.name,
            ":uid": edge.pod.uid,
            ":one_sided": edge.one_sided,
        })?;
    }
    Ok(())
}

/// In the order of the table, which is that of time.
fn write_edges(
    transaction: &Transaction<'_>,
    epoch: i64,
    edges: &[ObservedEdge],
) -> rusqlite::Result<()> {
    let rows = edges.iter().map(|edge| {
        let (first_seen, point) = Point::of(edge);
        (point.second(), key::encode(&edge.key), first_seen, point)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by_key(|(second, key, ..)| (*second, *key));
    let mut statement = transaction.prepare_cached(POINT)?;
    for (second, key, first_seen, point) in rows {
        statement.execute(params![
            epoch,
            key,
            second,
            first_seen,
            point.first,
            point.last,
            signed(point.attempts),
            signed(point.answered),
            signed(point.refused),
        ])?;
    }
    Ok(())
}

fn write_losses(
    transaction: &Transaction<'_>,
    epoch: i64,
    told: &ObservedLosses,
) -> rusqlite::Result<()> {
    let losses = &told.losses;
    transaction.prepare_cached(LOSSES)?.execute(named_params! {
        ":epoch": epoch,
        ":interface": told.interface,
        ":namespace": told.pod.name.namespace,
        ":name": told.pod.name.name,
        ":uid": told.pod.uid,
        ":edges_lost": signed(losses.edges_lost),
        ":edges_recovered": signed(losses.edges_recovered),
        ":attempts_lost": signed(losses.attempts_lost),
        ":attempts_recovered": signed(losses.attempts_recovered),
        ":foreign": signed(losses.foreign),
        ":not_for_pod": signed(losses.not_for_pod),
        ":observation_gap": losses.observation_gap,
    })?;
    Ok(())
}

/// SQLite's integers are signed; no count gets beyond them.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
