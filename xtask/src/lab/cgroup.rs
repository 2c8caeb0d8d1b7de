//! Control groups of pods, named as a kubelet with the cgroupfs driver names them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where the unified hierarchy is mounted, if it is.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, path, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// Makes the control group of a container of the pod; nothing where there is no unified hierarchy.
///
/// # Errors
///
/// If it cannot be made.
pub(super) fn make(tag: &str, pod_uid: &str, container: &str) -> Result<Option<PathBuf>> {
    let Some(mount) = mount() else {
        return Ok(None);
    };
    let path = mount
        .join(tag)
        .join("kubepods/burstable")
        .join(format!("pod{pod_uid}"))
        .join(container);
    fs::create_dir_all(&path)
        .with_context(|| format!("make the control group {}", path.display()))?;
    Ok(Some(path))
}

/// Removes every control group of the lab; its processes must have ended.
///
/// # Errors
///
/// If one is still in use.
pub(super) fn remove(tag: &str) -> Result<()> {
    match mount().map(|mount| mount.join(tag)) {
        Some(top) if top.exists() => remove_tree(&top),
        _ => Ok(()),
    }
}

/// Removes a group after those within it: the files in them belong to the kernel.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)
        .with_context(|| format!("read {}", path.display()))?
        .flatten()
    {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path).with_context(|| format!("remove the control group {}", path.display()))
}
