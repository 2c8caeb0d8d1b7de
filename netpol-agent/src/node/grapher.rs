//! The graph side within the agent's process: batches into the store, and flow records out of it.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use netpol_common::record::FlowRecord;
use tempfile::NamedTempFile;
use tracing::debug;

use super::deliver::Delivery;
use super::lasting::lasting;
use super::shared::SharedIndex;
use super::trouble::{Trouble, chain};
use crate::flows;
use crate::identity::Index;
use crate::ledger::{self, Ledger};
use crate::observe::{Batch, Epoch};
use crate::store::{Store, StoreError};

/// How often flow records are written.
const WRITE: Duration = Duration::from_secs(10);
/// How long after the last news outcomes may still change: an attempt is unanswered after 30 s.
const SETTLE: Duration = Duration::from_secs(60);
/// How late the index may hear of a pod.
const LATE: Duration = Duration::from_secs(300);

/// How often what is too old is forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// The store, what it holds, and where records go.
#[derive(Debug)]
pub struct Grapher {
    store: Store,
    ledger: Ledger,
    index: SharedIndex,
    flows: PathBuf,
    /// How long what is gone is remembered.
    retention: Duration,
    forget_at: Instant,
    /// Until when records may change without further news.
    unsettled: Instant,
    index_version: u64,
    committing: Trouble,
    writing: Trouble,
}

impl Grapher {
    /// Loads what `store` holds. Records will be written to `flows`; what was last seen longer ago than `retention` is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn new(
        store: Store,
        index: SharedIndex,
        flows: PathBuf,
        retention: Duration,
    ) -> Result<Self, StoreError> {
        let ledger = store.load()?;
        Ok(Self {
            store,
            ledger,
            index,
            flows,
            retention,
            forget_at: Instant::now(),
            unsettled: Instant::now() + SETTLE,
            index_version: 0,
            committing: Trouble::new("keeping batches"),
            writing: Trouble::new("writing flow records"),
        })
    }

    /// The highest number of a batch that it has of an observer, by epoch.
    #[must_use]
    pub fn sequences(&self, observer: &str) -> BTreeMap<Epoch, u64> {
        let epochs = self.ledger.observers.get(observer);
        let epochs = epochs.into_iter().flat_map(|told| &told.epochs);
        epochs
            .map(|(epoch, told)| (epoch.clone(), told.sequence))
            .collect()
    }

    /// Takes batches until every sender is gone, and writes records now and then, and at the end.
    pub fn run(mut self, deliveries: &Receiver<Delivery>) {
        self.learn_node_addresses();
        let mut due = Instant::now() + WRITE;
        loop {
            match deliveries.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(delivery) => self.take(delivery),
                Err(RecvTimeoutError::Timeout) => {
                    self.write_if_changed();
                    self.thin();
                    self.forget();
                    due = Instant::now() + WRITE;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.write();
    }

    fn take(&mut self, delivery: Delivery) {
        let committed = self
            .store
            .commit(&delivery.batch)
            .map_err(|error| chain(&error));
        let committed = self.committing.note(committed);
        if committed.is_some() {
            self.merge(&delivery.batch);
        }
        // Whoever delivered may be gone: the next process delivers again.
        let _heard = delivery.acknowledge.send(committed.is_some());
    }

    fn merge(&mut self, batch: &Batch) {
        self.ledger.merge(batch);
        if !batch.edges.is_empty() || !batch.losses.is_empty() {
            self.unsettled = Instant::now() + SETTLE;
        }
        let (node, at) = (&batch.observer, batch.time);
        let learn = |index: &mut Index| {
            index.learn_node_addresses(node, &batch.node_addresses, at);
        };
        self.index.change_quietly(learn);
    }

    /// What agents told of their nodes before this process.
    fn learn_node_addresses(&mut self) {
        for (node, told) in &self.ledger.observers {
            let addresses: Vec<_> = told.node_addresses.iter().copied().collect();
            self.index.change_quietly(|index| {
                index.learn_node_addresses(node, &addresses, Timestamp::UNIX_EPOCH);
            });
        }
    }

    fn write_if_changed(&mut self) {
        let version = self.index.version();
        let changed = version != self.index_version || Instant::now() < self.unsettled;
        if changed && self.write() {
            self.index_version = version;
        }
    }

    /// Old points of an edge need not be kept one by one, once the index has heard who had which address then.
    fn thin(&mut self) {
        let Some(now) = self.ledger.time() else {
            return;
        };
        let index = self.index.read();
        let thinned = self.ledger.compact(now - LATE, &*index);
        drop(index);
        let kept = self.store.thin(&thinned).map_err(|error| chain(&error));
        self.committing.note(kept);
    }

    /// What is too old is forgotten together with who had which address then.
    fn forget(&mut self) {
        let now = self.ledger.time().unwrap_or(Timestamp::MIN);
        let Ok(before) = now.checked_sub(self.retention) else {
            return;
        };
        if Instant::now() < self.forget_at {
            return;
        }
        self.forget_at = Instant::now() + FORGET;
        let forgotten = self.ledger.forget(before);
        debug!(edges = forgotten.points.len(), %before, "forgotten what was last seen before");
        let kept = self.store.forget(&forgotten).map_err(|error| chain(&error));
        self.committing.note(kept);
        self.index.change_quietly(|index| index.prune(before));
        self.unsettled = Instant::now() + SETTLE;
    }

    fn write(&mut self) -> bool {
        // Collected first: whoever changes the index does not wait for the disk.
        let mut records = Vec::new();
        let collected = write_records(&mut records, &self.ledger, &self.index.read());
        let written = collected.and_then(|()| replace(&self.flows, |to| to.write_all(&records)));
        let described = written.map_err(|error| format!("{}: {error}", self.flows.display()));
        self.writing.note(described).is_some()
    }
}

fn write_records(to: &mut impl Write, ledger: &Ledger, index: &Index) -> io::Result<()> {
    let now = ledger.time().unwrap_or(Timestamp::UNIX_EPOCH);
    let mut outcome = Ok(());
    let mut lines = 0_u64;
    ledger::records(ledger, now, index, &mut |record: FlowRecord| {
        if outcome.is_ok() {
            outcome = flows::write(&mut *to, [lasting(record, index)]);
            lines += 1;
        }
    });
    debug!(lines, "flow records written");
    outcome
}

/// Replaces the file at `path` by what `write` writes, so that a reader finds the old one or the new one, whole.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    let mut buffer = BufWriter::new(file.as_file_mut());
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flows.jsonl");
        replace(&path, |to| to.write_all(b"first\n")).unwrap();
        let failed = replace(&path, |to| {
            to.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
