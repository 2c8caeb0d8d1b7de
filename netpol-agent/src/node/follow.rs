//! Following an inventory on disk: what changes there changes in the index.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tracing::{info, warn};

use super::shared::SharedIndex;
use super::trouble::{Trouble, chain};
use crate::inventory::{self, InventoryError};

/// What tells one version of a file from another: modification time, size and inode. An error is a version too.
type Version = Result<(i64, i64, u64, u64), io::ErrorKind>;

/// An inventory, and its version that was read last.
#[derive(Debug)]
pub struct Follower {
    paths: Vec<PathBuf>,
    versions: BTreeMap<PathBuf, Version>,
    reading: Trouble,
}

impl Follower {
    /// Reads the inventory for the first time, into `index`. What it says holds from ever, as far as its own times
    /// do not say otherwise.
    ///
    /// # Errors
    ///
    /// [`InventoryError`].
    pub fn start(paths: Vec<PathBuf>, index: &SharedIndex) -> Result<Self, InventoryError> {
        let mut follower = Self {
            versions: versions(&paths),
            paths,
            reading: Trouble::new("reading the inventory"),
        };
        follower.read(index, Timestamp::UNIX_EPOCH)?;
        Ok(follower)
    }

    /// Reads the inventory again if it has changed. What cannot be read leaves the index as it is, and is said once.
    pub fn look(&mut self, index: &SharedIndex, now: Timestamp) {
        let versions = versions(&self.paths);
        if versions == self.versions {
            return;
        }
        self.versions = versions;
        let outcome = self.read(index, now);
        let described = outcome.map_err(|error| chain(&error));
        if self.reading.note(described).is_some() {
            info!("the inventory was read again");
        }
    }

    fn read(&mut self, index: &SharedIndex, at: Timestamp) -> Result<(), InventoryError> {
        let inventory = inventory::read(&self.paths)?;
        for warning in &inventory.warnings {
            warn!("{warning}");
        }
        index.change(|index| index.reset(inventory.objects, at));
        Ok(())
    }
}

/// The versions of all files below `paths`.
fn versions(paths: &[PathBuf]) -> BTreeMap<PathBuf, Version> {
    let mut versions = BTreeMap::new();
    paths.iter().for_each(|path| visit(path, &mut versions));
    versions
}

fn visit(path: &Path, versions: &mut BTreeMap<PathBuf, Version>) {
    let metadata = fs::metadata(path);
    let is_directory = metadata.as_ref().is_ok_and(Metadata::is_dir);
    versions.insert(path.to_owned(), version(metadata));
    let entries = is_directory.then(|| fs::read_dir(path).ok()).flatten();
    for entry in entries.into_iter().flatten().flatten() {
        visit(&entry.path(), versions);
    }
}

fn version(metadata: io::Result<Metadata>) -> Version {
    let metadata = metadata.map_err(|error| error.kind())?;
    Ok((
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.size(),
        metadata.ino(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Index;

    const POD: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ";

    fn names(index: &SharedIndex) -> Vec<String> {
        index.read().namespaces().into_keys().collect()
    }

    fn put(directory: &Path, name: &str) {
        let temporary = directory.join("new");
        fs::write(&temporary, format!("{POD}{name}\n")).unwrap();
        fs::rename(temporary, directory.join("inventory.yaml")).unwrap();
    }

    #[test]
    fn a_changed_inventory_changes_the_index_and_a_broken_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let index = SharedIndex::new(Index::default());
        put(directory.path(), "shop");
        let path = directory.path().join("inventory.yaml");
        let mut follower = Follower::start(vec![path.clone()], &index).unwrap();
        assert_eq!(names(&index), ["shop"]);
        put(directory.path(), "depot");
        follower.look(&index, Timestamp::now());
        assert_eq!(names(&index), ["depot"]);
        let version = index.version();
        for broken in ["{", "kind: Namespace\napiVersion: v1\nmetadata: 7\n"] {
            fs::write(&path, broken).unwrap();
            follower.look(&index, Timestamp::now());
            assert_eq!(
                (names(&index), index.version()),
                (vec!["depot".to_owned()], version)
            );
        }
        put(directory.path(), "shop");
        follower.look(&index, Timestamp::now());
        assert_eq!(names(&index), ["shop"]);
    }

    #[test]
    fn a_missing_inventory_is_an_error_at_the_start() {
        let index = SharedIndex::new(Index::default());
        let path = PathBuf::from("/nonexistent/inventory.yaml");
        assert!(Follower::start(vec![path], &index).is_err());
    }
}
