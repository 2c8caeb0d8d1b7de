//! What an agent must remember: values by area and key, as JSON.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError};
use crate::observe::Batch;

/// Changes to an agent's state, to be made in one transaction.
#[derive(Clone, Debug, Default)]
pub struct StateChanges {
    changes: Vec<(String, String, Option<String>)>,
}

impl StateChanges {
    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// A value that JSON cannot express.
    pub fn put(
        &mut self,
        area: &str,
        key: &str,
        value: &impl Serialize,
    ) -> Result<(), serde_json::Error> {
        let value = serde_json::to_string(value)?;
        self.changes
            .push((area.to_owned(), key.to_owned(), Some(value)));
        Ok(())
    }

    /// Takes a key away.
    pub fn remove(&mut self, area: &str, key: &str) {
        self.changes.push((area.to_owned(), key.to_owned(), None));
    }
}

impl Store {
    /// Keeps a batch and changes of the agent's state together: either both or neither.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn commit_with(&mut self, batch: &Batch, state: &StateChanges) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            super::commit::write(transaction, batch)?;
            change(transaction, state)
        })
    }

    /// Makes changes of the agent's state, in one transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn change_state(&mut self, state: &StateChanges) -> Result<(), StoreError> {
        self.transaction(|transaction| change(transaction, state))
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    ///
    /// A value of another type, and whatever SQLite reports.
    pub fn state<T: DeserializeOwned>(
        &self,
        area: &str,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        let value: Option<String> = self
            .connection
            .prepare_cached("SELECT value FROM agent_state WHERE area = ?1 AND key = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![area, key], |row| row.get(0))
                    .optional()
            })
            .map_err(|error| self.error(error))?;
        value
            .map(|value| self.decode(area, key, &value))
            .transpose()
    }

    /// Every key and value of an area, in the order of the keys.
    ///
    /// # Errors
    ///
    /// As [`Store::state`].
    pub fn states<T: DeserializeOwned>(&self, area: &str) -> Result<Vec<(String, T)>, StoreError> {
        let pairs = self
            .connection
            .prepare_cached("SELECT key, value FROM agent_state WHERE area = ?1 ORDER BY key")
            .and_then(|mut statement| {
                statement
                    .query_map(params![area], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<Vec<(String, String)>>>()
            })
            .map_err(|error| self.error(error))?;
        pairs
            .into_iter()
            .map(|(key, value)| Ok((key.clone(), self.decode(area, &key, &value)?)))
            .collect()
    }

    fn decode<T: DeserializeOwned>(
        &self,
        area: &str,
        key: &str,
        value: &str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(value).map_err(|source| StoreError::State {
            path: self.path.clone(),
            area: area.to_owned(),
            key: key.to_owned(),
            source,
        })
    }
}

fn change(transaction: &rusqlite::Transaction<'_>, state: &StateChanges) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO agent_state (area, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?;
    let mut remove =
        transaction.prepare_cached("DELETE FROM agent_state WHERE area = ?1 AND key = ?2")?;
    for (area, key, value) in &state.changes {
        match value {
            Some(value) => put.execute(params![area, key, value])?,
            None => remove.execute(params![area, key])?,
        };
    }
    Ok(())
}
