//! `flows.jsonl`: the flow records of what is kept, written again whenever they may have changed.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tempfile::NamedTempFile;
use tracing::debug;

use crate::keeper::{Changes, Handle};
use crate::trouble::Trouble;

/// How often flow records are written.
const WRITE: Duration = Duration::from_secs(10);

/// The file, and what it is written from.
#[derive(Debug)]
pub struct FlowFile {
    path: PathBuf,
    keeper: Handle,
    changes: Changes,
    writing: Trouble,
}

impl FlowFile {
    /// Records will be written to `path`.
    #[must_use]
    pub fn new(path: PathBuf, keeper: Handle) -> Self {
        Self {
            path,
            keeper,
            changes: Changes::default(),
            writing: Trouble::new("writing flow records"),
        }
    }

    /// Writes records now and then until the sender of `stop` is gone, and then a last time.
    pub fn run(mut self, stop: &Receiver<()>) {
        while stop.recv_timeout(WRITE) == Err(RecvTimeoutError::Timeout) {
            let version = self.keeper.revision();
            if self.changes.any(&self.keeper) && self.write() {
                self.changes.note(version);
            }
        }
        self.write();
    }

    fn write(&mut self) -> bool {
        let written = replace(&self.path, |to| self.keeper.write_records(to));
        let described = written.map_err(|error| format!("{}: {error}", self.path.display()));
        let lines = self.writing.note(described);
        debug!(lines, "flow records written");
        lines.is_some()
    }
}

/// Replaces the file at `path` by what `write` writes, so that a reader finds the old one or the new one, whole.
fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<T>,
) -> io::Result<T> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    let mut buffer = BufWriter::new(file.as_file_mut());
    let written = write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()?;
    Ok(written)
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
            Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
