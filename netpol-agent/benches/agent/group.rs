//! A memory control group, of the first or the second version, and a directory: what outlives a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Where the controllers of both versions are usually mounted.
const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";
const MIB: f64 = (1 << 20) as f64;
/// Waits for its input to end; then the group is removed once its processes have ended, and the directory.
const GUARD: &str = "cat; n=0; while ! rmdir \"$0\" && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done 2>/dev/null; rm -rf \"$1\"";

/// A group and a directory, removed when this is dropped, or when this process ends in any other way.
pub(crate) struct Group {
    path: PathBuf,
    directory: PathBuf,
    /// The files that tell what is used, and the name of what nobody uses.
    used: &'static str,
    idle: &'static str,
    guard: Child,
}

impl Group {
    /// Makes both. To be called before namespaces are made, which the guard would keep.
    pub(crate) fn new() -> Result<Self> {
        let name = format!("netpol-bench-{}", std::process::id());
        let (top, used, idle) = match Path::new(FIRST).is_dir() {
            true => (FIRST, "memory.usage_in_bytes", "total_inactive_file "),
            false => (SECOND, "memory.current", "inactive_file "),
        };
        let (path, directory) = (Path::new(top).join(&name), std::env::temp_dir().join(&name));
        // A session of its own: what a terminal sends to this program's group does not reach the guard.
        let mut guard = Command::new("setsid");
        guard
            .args(["sh", "-c", GUARD])
            .args([&path, &directory])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let guard = guard.spawn().context("setsid (util-linux)")?;
        let group = Self {
            path,
            directory,
            used,
            idle,
            guard,
        };
        fs::create_dir(&group.directory)?;
        fs::create_dir(&group.path).with_context(|| {
            let path = group.path.display();
            format!("make the memory control group {path} (are you root?)")
        })?;
        Ok(group)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that takes the ids of processes.
    pub(crate) fn processes(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// MiB that are used, the kernel's memory included: without files that nobody uses, and with them.
    pub(crate) fn usage(&self) -> Result<(f64, f64)> {
        let read =
            |name: &str| fs::read_to_string(self.path.join(name)).with_context(|| name.to_owned());
        let whole: f64 = read(self.used)?.trim().parse()?;
        let stat = read("memory.stat")?;
        let idle = stat.lines().find_map(|line| line.strip_prefix(self.idle));
        let idle: f64 = idle.context(self.idle)?.trim().parse()?;
        Ok(((whole - idle) / MIB, whole / MIB))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It has said what it could not do.
        let _ended = self.guard.wait();
    }
}
