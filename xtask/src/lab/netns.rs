//! Network namespaces by name: made, entered and removed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::command;

/// Where `ip netns` keeps its names.
const DIRECTORY: &str = "/run/netns";

/// The path that holds the namespace of that name open.
#[must_use]
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes the namespace, with its loopback interface up.
///
/// # Errors
///
/// If the name is taken or the process lacks the privilege.
pub(super) fn add(name: &str) -> Result<()> {
    command::run(Command::new("ip").args(["netns", "add", name]))?;
    command::run(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]))
}

/// Removes the name; the namespace goes with its last process. A name that is not there is none to remove.
///
/// # Errors
///
/// If the name is there and cannot be removed.
pub(super) fn remove(name: &str) -> Result<()> {
    if !path(name).exists() {
        return Ok(());
    }
    command::run(Command::new("ip").args(["netns", "del", name]))
}

/// Every name that begins with `prefix`.
#[must_use]
pub(super) fn names(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

/// Moves the calling thread into the namespace.
///
/// # Errors
///
/// If there is no such namespace or the process lacks the privilege.
pub(super) fn enter(path: &Path) -> Result<()> {
    let file = File::open(path)
        .with_context(|| format!("open the network namespace {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("enter the network namespace {}", path.display()))
}

/// Runs `work` on a thread of its own inside the namespace; processes that it starts begin there.
///
/// # Errors
///
/// If the namespace cannot be entered, or what `work` returns.
pub(super) fn within<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(&path(name))?;
                work()
            })
            .join()
            .map_err(|_| anyhow!("a thread in the network namespace {name} panicked"))?
    })
}

/// Sets kernel parameters (`net.…` with dots as slashes) of the namespace.
///
/// # Errors
///
/// Names the parameter that could not be set.
pub(super) fn sysctl(name: &str, settings: &[(&str, &str)]) -> Result<()> {
    within(name, || {
        for (key, value) in settings {
            std::fs::write(Path::new("/proc/sys").join(key), value)
                .with_context(|| format!("set {key} in the network namespace {name}"))?;
        }
        Ok(())
    })
}

/// Applies nftables rules in the namespace, all or none.
///
/// # Errors
///
/// If `nft` does not accept them.
pub(super) fn nft(name: &str, rules: &str) -> Result<()> {
    within(name, || {
        command::output_with_input(Command::new("nft").args(["-f", "-"]), rules).map(drop)
    })
}

/// The processes with a thread whose network namespace bears one of these names.
#[must_use]
pub(super) fn processes(names: &[String]) -> Vec<i32> {
    let inodes: Vec<u64> = names.iter().filter_map(|name| inode(&path(name))).collect();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| threads(*pid).any(|inode| inodes.contains(&inode)))
        .collect()
}

/// The network namespaces of a process's threads: one that observes nodes has threads in each of theirs.
fn threads(pid: i32) -> impl Iterator<Item = u64> {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| inode(&task.path().join("ns/net")))
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}
