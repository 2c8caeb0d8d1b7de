//! Databases of schema 2, which held a row for each point: what they hold is folded into pages once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rusqlite::Row;

use super::{Sqlite, StoreError, key};
use crate::ledger::{Curve, EpochLedger, Interface, Point, Told};
use crate::observe::{Epoch, Losses, ObjectIdentity, PodIdentity};
use crate::store::{Place, Storage};

/// The addresses of nodes, by observer.
type Addresses = BTreeMap<String, BTreeSet<IpAddr>>;
/// Where the ledger of an epoch belongs: observer and epoch, by row.
type Places = BTreeMap<i64, (String, Epoch)>;

impl Sqlite {
    /// Folds what the tables of schema 2 hold into pages, and empties them.
    pub(super) fn convert(&mut self) -> Result<(), StoreError> {
        let (places, mut epochs) = self.load_epochs()?;
        if epochs.is_empty() {
            return Ok(());
        }
        let addresses = self.load_node_addresses()?;
        self.load_interfaces(&mut epochs)?;
        self.load_points(&mut epochs)?;
        self.load_losses(&mut epochs)?;
        let mut pages = Vec::new();
        for (id, epoch) in epochs {
            if let Some((observer, name)) = places.get(&id) {
                let node_addresses = addresses.get(observer).cloned().unwrap_or_default();
                let place = Place {
                    observer: observer.clone(),
                    epoch: name.clone(),
                };
                let told = Told {
                    epoch,
                    node_addresses,
                };
                pages.push((place, Some(told.encode())));
            }
        }
        self.fold(&pages)?;
        let tables = "DELETE FROM points; DELETE FROM interfaces; DELETE FROM losses;
            DELETE FROM node_addresses; DELETE FROM epochs;";
        self.transaction(|transaction| transaction.execute_batch(tables))
    }

    fn load_node_addresses(&self) -> Result<Addresses, StoreError> {
        let mut addresses = Addresses::new();
        self.each(
            "SELECT observer, address FROM node_addresses",
            "a node address",
            |row| {
                let address: IpAddr = row.get::<_, String>(1)?.parse().or(Err(invalid()))?;
                let known = addresses.entry(row.get(0)?).or_default();
                known.insert(address);
                Ok(())
            },
        )?;
        Ok(addresses)
    }

    fn load_epochs(&self) -> Result<(Places, BTreeMap<i64, EpochLedger>), StoreError> {
        let (mut places, mut epochs) = (Places::new(), BTreeMap::new());
        self.each(
            "SELECT id, observer, boot_id, instance, abi_version, sequence, time FROM epochs",
            "an epoch",
            |row| {
                let epoch = Epoch {
                    boot_id: row.get(2)?,
                    instance: row.get::<_, i64>(3)?.cast_unsigned(),
                    abi_version: row.get(4)?,
                };
                let ledger = EpochLedger {
                    sequence: count(row, 5)?,
                    time: row.get(6)?,
                    ..EpochLedger::default()
                };
                places.insert(row.get(0)?, (row.get(1)?, epoch));
                epochs.insert(row.get(0)?, ledger);
                Ok(())
            },
        )?;
        Ok((places, epochs))
    }

    fn load_interfaces(&self, epochs: &mut BTreeMap<i64, EpochLedger>) -> Result<(), StoreError> {
        self.each(
            "SELECT epoch, interface, sequence, namespace, name, uid, one_sided FROM interfaces",
            "an interface",
            |row| {
                let interface = Interface {
                    sequence: count(row, 2)?,
                    pod: pod(row, 3)?,
                    one_sided: row.get(6)?,
                };
                let epoch = of_epoch(epochs, row)?;
                epoch.interfaces.insert(row.get(1)?, Box::new(interface));
                Ok(())
            },
        )
    }

    fn load_points(&self, epochs: &mut BTreeMap<i64, EpochLedger>) -> Result<(), StoreError> {
        let mut curves: BTreeMap<i64, Vec<_>> = BTreeMap::new();
        self.each(
            "SELECT epoch, key, first_seen, first, last, attempts, answered, refused FROM points",
            "a point",
            |row| {
                let key = key::decode(row.get_ref(1)?.as_blob().or(Err(invalid()))?);
                let point = Point {
                    first: row.get(3)?,
                    last: row.get(4)?,
                    attempts: count(row, 5)?,
                    answered: count(row, 6)?,
                    refused: count(row, 7)?,
                };
                let curve = Curve {
                    first_seen: row.get(2)?,
                    points: vec![point],
                };
                let told = (key.or(Err(invalid()))?, curve);
                curves.entry(row.get(0)?).or_default().push(told);
                Ok(())
            },
        )?;
        for (id, told) in curves {
            if let Some(epoch) = epochs.get_mut(&id) {
                epoch.edges = told.into_iter().collect();
            }
        }
        Ok(())
    }

    fn load_losses(&self, epochs: &mut BTreeMap<i64, EpochLedger>) -> Result<(), StoreError> {
        self.each(
            "SELECT epoch, interface, namespace, name, uid,
                edges_lost, edges_recovered, attempts_lost, attempts_recovered,
                \"foreign\", not_for_pod, observation_gap FROM losses",
            "a loss",
            |row| {
                let losses = Losses {
                    edges_lost: count(row, 5)?,
                    edges_recovered: count(row, 6)?,
                    attempts_lost: count(row, 7)?,
                    attempts_recovered: count(row, 8)?,
                    foreign: count(row, 9)?,
                    not_for_pod: count(row, 10)?,
                    observation_gap: row.get(11)?,
                };
                let key = (row.get(1)?, pod(row, 2)?);
                of_epoch(epochs, row)?.merge_losses(key, &losses);
                Ok(())
            },
        )
    }
}

/// The pod in three columns from `at` on.
fn pod(row: &Row<'_>, at: usize) -> rusqlite::Result<PodIdentity> {
    Ok(PodIdentity {
        name: ObjectIdentity {
            namespace: row.get(at)?,
            name: row.get(at + 1)?,
        },
        uid: row.get(at + 2)?,
    })
}

/// SQLite's integers are signed; a count is not.
fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(at)?).or(Err(invalid()))
}

/// The ledger of the epoch in the first column.
fn of_epoch<'a>(
    epochs: &'a mut BTreeMap<i64, EpochLedger>,
    row: &Row<'_>,
) -> rusqlite::Result<&'a mut EpochLedger> {
    epochs.get_mut(&row.get(0)?).ok_or_else(invalid)
}

/// A value that does not decode.
fn invalid() -> rusqlite::Error {
    rusqlite::Error::InvalidQuery
}
