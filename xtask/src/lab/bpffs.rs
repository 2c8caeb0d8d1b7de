//! The lab's own BPF file system: what an agent pins there survives the agent, and goes with the lab.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Where it is mounted.
#[must_use]
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("bpf")
}

/// Mounts it in the lab's directory.
///
/// # Errors
///
/// If the process lacks the privilege, or the kernel has no BPF file system.
pub(super) fn make(directory: &Path) -> Result<()> {
    let path = path(directory);
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    mount(
        Some("bpf"),
        &path,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| format!("mount a BPF file system on {}", path.display()))
}

/// Unmounts it, which lets go of everything pinned there. One that is not mounted is none to unmount.
///
/// # Errors
///
/// If it is mounted and cannot be unmounted.
pub(super) fn remove(directory: &Path) -> Result<()> {
    let path = path(directory);
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("unmount {}", path.display())),
    }
}
