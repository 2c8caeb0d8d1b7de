//! The ledger out of the database.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rusqlite::Row;

use super::{Store, StoreError, key};
use crate::ledger::{Curve, EpochLedger, Interface, Ledger, Observer, Point};
use crate::observe::{Epoch, Losses, ObjectIdentity, ObservedLosses, PodIdentity};

/// Where the ledger of an epoch belongs: observer and epoch, by row.
type Places = BTreeMap<i64, (String, Epoch)>;

impl Store {
    /// Everything that was committed.
    ///
    /// # Errors
    ///
    /// Rows that do not decode, and whatever SQLite reports.
    pub fn load(&self) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger::default();
        self.load_node_addresses(&mut ledger)?;
        let (places, mut epochs) = self.load_epochs()?;
        self.load_interfaces(&mut epochs)?;
        self.load_points(&mut epochs)?;
        self.load_losses(&mut epochs)?;
        for (id, epoch) in epochs {
            if let Some((observer, name)) = places.get(&id) {
                let observer = ledger.observers.entry(observer.clone()).or_default();
                observer.epochs.insert(name.clone(), epoch);
            }
        }
        Ok(ledger)
    }

    fn load_node_addresses(&self, ledger: &mut Ledger) -> Result<(), StoreError> {
        self.each(
            "SELECT observer, address FROM node_addresses",
            "a node address",
            |row| {
                let address: IpAddr = row.get::<_, String>(1)?.parse().or(Err(invalid()))?;
                let observer: &mut Observer = ledger.observers.entry(row.get(0)?).or_default();
                observer.node_addresses.insert(address);
                Ok(())
            },
        )
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
                epoch.interfaces.insert(row.get(1)?, interface);
                Ok(())
            },
        )
    }

    fn load_points(&self, epochs: &mut BTreeMap<i64, EpochLedger>) -> Result<(), StoreError> {
        self.each(
            "SELECT epoch, key, first_seen, first, last, attempts, answered, refused FROM points",
            "an edge",
            |row| {
                let key = key::decode(row.get_ref(1)?.as_blob()?).or(Err(invalid()))?;
                let told = Curve {
                    first_seen: row.get(2)?,
                    points: vec![Point {
                        first: row.get(3)?,
                        last: row.get(4)?,
                        attempts: count(row, 5)?,
                        answered: count(row, 6)?,
                        refused: count(row, 7)?,
                    }],
                };
                of_epoch(epochs, row)?.merge_curve(key, told);
                Ok(())
            },
        )
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
                of_epoch(epochs, row)?.merge_losses(&ObservedLosses {
                    interface: row.get(1)?,
                    pod: pod(row, 2)?,
                    losses,
                });
                Ok(())
            },
        )
    }

    /// Hands every row of `query` to `take`.
    pub(super) fn each(
        &self,
        query: &str,
        what: &'static str,
        mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, InvalidQuery,
        };
        let mut run = || {
            let mut statement = self.connection.prepare_cached(query)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                take(row)?;
            }
            Ok(())
        };
        run().map_err(|error| match error {
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | InvalidQuery => StoreError::Row {
                path: self.path.clone(),
                what,
            },
            other => self.error(other),
        })
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
