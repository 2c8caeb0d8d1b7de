//! Batches that the aggregator will never take, kept for people to look at.
//!
//! JSON Lines, one batch each with the reason. When the file is full it takes the place of the one before it, so that at
//! most twice the limit is on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::observe::Batch;

/// Bytes after which a new file is begun.
const LIMIT: u64 = 8 << 20;

/// Where refused batches go.
#[derive(Clone, Debug)]
pub struct Quarantine {
    path: PathBuf,
    limit: u64,
}

/// A line of the file.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<'a> {
    /// When it was put aside.
    pub time: Timestamp,
    /// What the aggregator said, or what is wrong with the record.
    pub reason: &'a str,
    /// The batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<&'a Batch>,
    /// A record that cannot be read any more, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

impl Quarantine {
    /// A file at `path`, which need not be there.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, limit: LIMIT }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an entry, durably.
    ///
    /// # Errors
    ///
    /// Whatever the system answers; then the batch stays in the spool.
    pub fn put(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let held = fs::metadata(&self.path).map_or(0, |file| file.len());
        if held > 0 && held + line.len() as u64 > self.limit {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            fs::rename(&self.path, before)?;
        }
        let mut file = self.open()?;
        file.write_all(&line)?;
        file.sync_all()
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::spool::examples::batch;
    use super::*;

    #[test]
    fn entries_are_kept_within_bounds_and_the_newest_stay() {
        let directory = tempfile::tempdir().unwrap();
        let quarantine = Quarantine {
            path: directory.path().join("refused.jsonl"),
            limit: 10_000,
        };
        for sequence in 1..=50 {
            let batch = batch(sequence, 3);
            let entry = Entry {
                time: Timestamp::UNIX_EPOCH,
                reason: "the aggregator answered with status 400",
                batch: Some(&batch),
                damaged: None,
            };
            quarantine.put(&entry).unwrap();
        }
        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        let (new, old) = (read("refused.jsonl"), read("refused.jsonl.1"));
        assert!(new.len() <= 10_000 && old.len() <= 10_000);
        let last: serde_json::Value = serde_json::from_str(new.lines().last().unwrap()).unwrap();
        assert_eq!(last["batch"]["sequence"], 50);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn bytes_are_written_as_digits() {
        assert_eq!(hexadecimal(&[0, 10, 255]), "000aff");
    }
}
