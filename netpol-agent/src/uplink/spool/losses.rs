//! What was given up of each pod's edges, and how it is told: as losses, cumulative within the epoch like an observer's own.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Spool, json, signed};
use crate::observe::{Batch, Epoch, Losses, PodIdentity};
use crate::uplink::parcel::{Lost, with_given_up};

/// Notes what an observer says of losses, to which what is given up later is added.
pub(super) fn note(to: &Transaction<'_>, epoch: &str, batch: &Batch) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO told VALUES (?1, ?2, ?3, ?4)";
    let mut insert = to.prepare_cached(sql)?;
    for told in &batch.losses {
        let (pod, losses) = (json(&told.pod)?, json(&told.losses)?);
        insert.execute(params![epoch, told.interface, pod, losses])?;
    }
    Ok(())
}

/// Adds to what was given up.
pub(super) fn give_up(to: &Transaction<'_>, epoch: &str, lost: &Lost) -> rusqlite::Result<()> {
    let sql = "INSERT INTO given_up VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (epoch, interface, pod) DO UPDATE SET edges = edges + excluded.edges";
    let mut insert = to.prepare_cached(sql)?;
    for ((interface, pod), edges) in lost {
        insert.execute(params![epoch, interface, json(pod)?, signed(*edges)])?;
    }
    Ok(())
}

/// Forgets what belongs to epochs of which nothing waits any more.
pub(super) fn forget_other_epochs(to: &Transaction<'_>, epoch: &str) -> rusqlite::Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pushed WHERE epoch <> ?1)";
    let others: bool = to
        .prepare_cached(sql)?
        .query_row([epoch], |row| row.get(0))?;
    if !others {
        return Ok(());
    }
    for table in ["pushed", "told", "given_up"] {
        let sql = format!(
            "DELETE FROM {table} WHERE epoch <> ?1 AND epoch NOT IN (SELECT epoch FROM batches)"
        );
        to.execute(&sql, [epoch])?;
    }
    Ok(())
}

/// One edge for every interface and pod of an epoch that an observer spoke of.
pub(super) fn suspects(from: &Connection, epoch: &Epoch) -> rusqlite::Result<Lost> {
    let mut rows = from.prepare("SELECT interface, pod FROM told WHERE epoch = ?1")?;
    let rows = rows.query_map([json(epoch)?], |row| {
        Ok((row.get(0)?, row.get::<_, String>(1)?))
    })?;
    let mut suspects = Lost::new();
    for row in rows {
        let (interface, pod) = row?;
        if let Ok(pod) = serde_json::from_str(&pod) {
            suspects.insert((interface, pod), 1);
        }
    }
    Ok(suspects)
}

impl Spool {
    /// The batch with what was given up added to its losses; `None` if it is to stay as it is.
    pub(super) fn adjusted(&self, batch: &Batch) -> rusqlite::Result<Option<Batch>> {
        let epoch = json(&batch.epoch)?;
        let mut adjusted = None;
        for (at, told) in batch.losses.iter().enumerate() {
            let given_up = self.given_up(&epoch, told.interface, &told.pod)?;
            if given_up > 0 {
                let adjusted = adjusted.get_or_insert_with(|| batch.clone());
                adjusted.losses[at] = with_given_up(
                    told.losses.clone(),
                    told.interface,
                    told.pod.clone(),
                    given_up,
                );
            }
        }
        Ok(adjusted)
    }

    /// The batch with losses of the pods of which `lost` is given up with it.
    pub(super) fn with_losses(&self, mut batch: Batch, lost: &Lost) -> rusqlite::Result<Batch> {
        let epoch = json(&batch.epoch)?;
        for ((interface, pod), edges) in lost {
            let edges = edges + self.given_up(&epoch, *interface, pod)?;
            let told = self.told(&epoch, *interface, pod)?;
            let new = with_given_up(told, *interface, pod.clone(), edges);
            let known = batch.losses.iter_mut();
            let mut known =
                known.filter(|known| known.interface == *interface && known.pod == *pod);
            match known.next() {
                Some(known) => known.losses.merge(&new.losses),
                None => batch.losses.push(new),
            }
        }
        Ok(batch)
    }

    fn given_up(&self, epoch: &str, interface: u32, pod: &PodIdentity) -> rusqlite::Result<u64> {
        let sql = "SELECT edges FROM given_up WHERE epoch = ?1 AND interface = ?2 AND pod = ?3";
        let mut query = self.connection.prepare_cached(sql)?;
        let edges = query.query_row(params![epoch, interface, json(pod)?], |row| {
            row.get::<_, i64>(0)
        });
        let edges = edges.optional()?.unwrap_or(0);
        Ok(u64::try_from(edges).unwrap_or(0))
    }

    fn told(&self, epoch: &str, interface: u32, pod: &PodIdentity) -> rusqlite::Result<Losses> {
        let sql = "SELECT losses FROM told WHERE epoch = ?1 AND interface = ?2 AND pod = ?3";
        let mut query = self.connection.prepare_cached(sql)?;
        let losses = query.query_row(params![epoch, interface, json(pod)?], |row| {
            row.get::<_, String>(0)
        });
        let losses = losses.optional()?.unwrap_or_default();
        Ok(serde_json::from_str(&losses).unwrap_or_default())
    }
}
