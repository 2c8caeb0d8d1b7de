//! What is written down about a lab before anything of it is made, so that it can be taken away by anyone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// A process by id and start time: an id alone may come to mean another process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks since boot.
    pub started: u64,
}

/// The record of a lab: `state.json` in its directory.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    /// The lab's name, as people call it.
    pub name: String,
    /// What the names of everything that this lab makes in the kernel begin with.
    pub tag: String,
    /// The CNI plugin.
    pub cni: String,
    /// The process that the lab lives for.
    pub owner: ProcessId,
    /// The process that takes the lab away when the owner is gone.
    pub guard: Option<ProcessId>,
    /// Whether everything is in place.
    pub ready: bool,
}

impl ProcessId {
    /// The calling process.
    ///
    /// # Errors
    ///
    /// If `/proc` is not mounted.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id()).context("read the start time of this process from /proc")
    }

    /// The process with that id, if there is one that has not ended.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses, which may itself hold blanks and parentheses.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// Whether that very process still runs.
    #[must_use]
    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

impl State {
    /// The record in `directory`.
    ///
    /// # Errors
    ///
    /// If there is none or it cannot be read.
    pub fn load(directory: &Path) -> Result<Self> {
        let path = directory.join("state.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("decode {}", path.display()))
    }

    /// Writes the record into `directory`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        replace(&directory.join("state.json"), &text)
    }

    /// Whether nobody is left to take the lab away.
    #[must_use]
    pub fn orphaned(&self) -> bool {
        !self.owner.alive() && !self.guard.is_some_and(ProcessId::alive)
    }
}

/// The directory of all labs.
#[must_use]
pub fn root() -> PathBuf {
    crate::workspace().join("target/lab")
}

/// The directory of the lab of that name.
///
/// # Errors
///
/// If the name would not be a plain directory name.
pub fn directory(name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        bail!("a lab's name is made of letters, digits and '-', which {name:?} is not");
    }
    Ok(root().join(name))
}

/// Every lab that is written down, readable or not.
#[must_use]
pub fn all() -> Vec<(PathBuf, Result<State>)> {
    let Ok(entries) = fs::read_dir(root()) else {
        return Vec::new();
    };
    let mut directories: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    directories.sort();
    directories
        .into_iter()
        .filter(|directory| directory.join("state.json").exists())
        .map(|directory| {
            let state = State::load(&directory);
            (directory, state)
        })
        .collect()
}

/// Puts a file in place at once: a reader sees the old text or the new one.
///
/// # Errors
///
/// If it cannot be written beside the path or renamed onto it.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text).with_context(|| format!("write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_start_time_is_another_process() {
        let own = ProcessId::own().unwrap();
        assert!(own.alive());
        let earlier = ProcessId {
            started: own.started - 1,
            ..own
        };
        assert!(!earlier.alive());
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", "..", "a/b", "a.b"] {
            assert!(directory(name).is_err(), "{name:?}");
        }
        assert!(directory("demo-1").is_ok());
    }
}
