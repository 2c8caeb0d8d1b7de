//! A memory control group, of the first or the second version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where the controllers of both versions are usually mounted.
const FIRST: &str = "/sys/fs/cgroup/memory";
const SECOND: &str = "/sys/fs/cgroup";
const MIB: f64 = (1 << 20) as f64;

/// A group, removed when it is dropped.
pub(crate) struct Group {
    path: PathBuf,
    /// The files that tell what is used, and the name of what nobody uses.
    used: &'static str,
    idle: &'static str,
}

impl Group {
    pub(crate) fn new() -> Result<Self> {
        let name = format!("netpol-bench-{}", std::process::id());
        let (top, used, idle) = match Path::new(FIRST).is_dir() {
            true => (FIRST, "memory.usage_in_bytes", "total_inactive_file "),
            false => (SECOND, "memory.current", "inactive_file "),
        };
        let path = Path::new(top).join(name);
        fs::create_dir(&path).with_context(|| {
            format!(
                "make the memory control group {} (are you root?)",
                path.display()
            )
        })?;
        Ok(Self { path, used, idle })
    }

    /// The file that takes the ids of processes.
    pub(crate) fn processes(&self) -> String {
        self.path.join("cgroup.procs").display().to_string()
    }

    /// MiB that are used: without files that nobody uses, and with them.
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
        // The last process may take a moment to leave it.
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
