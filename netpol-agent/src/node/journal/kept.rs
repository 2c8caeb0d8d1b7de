//! What an earlier process left, read back.

use rusqlite::{OptionalExtension as _, Row};
use tracing::warn;

use super::{Journal, JournalError, Kept};
use crate::node::clock::Clock;
use crate::node::interfaces::Interface;
use crate::node::seeds::Seed;
use crate::observe::{Epoch, ObservedKey};

/// The handle of an interface, and two texts about it. What is no text is an empty one, which does not parse.
type Texts = (u32, String, String);
/// Connections older than the epoch.
type Seeds = Vec<(ObservedKey, Seed)>;

impl Journal {
    /// The epoch of all records, the last number of a batch, and the clock.
    pub(super) fn last(&self) -> Result<Option<(Epoch, u64, Clock)>, JournalError> {
        let columns = |row: &Row<'_>| Ok((text(row, 0), row.get(1).unwrap_or(0), text(row, 2)));
        let sql = "SELECT epoch, sequence, clock FROM epoch";
        let row = self.connection.query_row(sql, [], columns).optional();
        let row: Option<(String, i64, String)> = row.map_err(|error| self.sqlite(error))?;
        let Some((epoch, sequence, clock)) = row else {
            return Ok(None);
        };
        let parse = |error| self.record(error);
        Ok(Some((
            serde_json::from_str(&epoch).map_err(parse)?,
            sequence.unsigned_abs(),
            serde_json::from_str(&clock).map_err(parse)?,
        )))
    }

    /// Everything else. In the place of a record that cannot be read stands an interface with a gap, of which no more is
    /// known than its handle.
    pub(super) fn kept(&mut self, sequence: u64, clock: Clock) -> Result<Kept, JournalError> {
        let mut interfaces = self.interfaces()?;
        let (seeds, lost) = self.seeds()?;
        for interface in &mut interfaces {
            if lost.contains(&interface.handle) {
                interface.gap = true;
                self.put_interface(interface)?;
            }
        }
        Ok(Kept {
            sequence,
            clock,
            interfaces,
            seeds,
        })
    }

    fn interfaces(&mut self) -> Result<Vec<Interface>, JournalError> {
        let texts = self.texts("SELECT handle, record, '' FROM interfaces ORDER BY handle")?;
        let mut interfaces = Vec::new();
        for (handle, record, _) in texts {
            let read = serde_json::from_str(&record).ok();
            let read = read.filter(|interface: &Interface| interface.handle == handle);
            let interface = match read {
                Some(interface) => interface,
                None => self.unreadable(handle, &record)?,
            };
            interfaces.push(interface);
        }
        Ok(interfaces)
    }

    /// Puts an interface of which nothing is known in the place of a record that cannot be read.
    fn unreadable(&mut self, handle: u32, record: &str) -> Result<Interface, JournalError> {
        warn!(
            "the observer's journal {} holds a record of interface {handle} that cannot be read: its pod has an \
             observation gap: {record:?}",
            self.path.display(),
        );
        let interface = Interface {
            gap: true,
            seeded: true,
            ..Interface::new(handle, 0, "unknown")
        };
        self.put_interface(&interface)?;
        Ok(interface)
    }

    /// The seeds, and the interfaces of those that cannot be read and are deleted.
    fn seeds(&mut self) -> Result<(Seeds, Vec<u32>), JournalError> {
        let texts =
            self.texts("SELECT interface, key, record FROM seeds ORDER BY interface, key")?;
        let (mut seeds, mut lost) = (Vec::new(), Vec::new());
        for (handle, key, record) in texts {
            let read = serde_json::from_str(&key).and_then(|key: ObservedKey| {
                serde_json::from_str(&record).map(|seed: Seed| (key, seed))
            });
            match read {
                Ok(seed) => seeds.push(seed),
                Err(error) => {
                    warn!(
                        "the observer's journal {} holds an older connection of interface {handle} that cannot be \
                         read: its pod has an observation gap: {error}: {key:?} {record:?}",
                        self.path.display(),
                    );
                    lost.push(handle);
                    self.write(|transaction| {
                        let sql = "DELETE FROM seeds WHERE interface = ?1 AND key = ?2";
                        transaction.execute(sql, (handle, &key)).map(drop)
                    })?;
                }
            }
        }
        Ok((seeds, lost))
    }

    fn texts(&self, sql: &str) -> Result<Vec<Texts>, JournalError> {
        let read = || {
            let mut statement = self.connection.prepare(sql)?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, text(row, 1), text(row, 2))))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.sqlite(error))
    }
}

fn text(row: &Row<'_>, column: usize) -> String {
    row.get(column).unwrap_or_default()
}
