//! What this kernel, this process and this mount table allow. Nothing is changed by asking.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access, geteuid, gettid};

use super::attach::sys;

/// Major and minor version of a kernel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KernelVersion {
    major: u32,
    minor: u32,
}

/// A capability that observing depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capability {
    /// Attaching to interfaces, and netlink.
    NetAdmin,
    /// Stands in for [`Capability::Bpf`] and [`Capability::Perfmon`].
    SysAdmin,
    /// Loading without guards against speculation.
    Perfmon,
    /// Loading programs and making maps.
    Bpf,
}

/// A set of capabilities, as the bits of `CapEff` in `/proc/<pid>/status`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities(u64);

/// What came of trying something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trial {
    /// The kernel did it.
    Works,
    /// The kernel refused.
    Fails(Errno),
}

/// Whether maps and links can be pinned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bpffs {
    /// A BPF file system, writable.
    Ready,
    /// No path was given.
    NotWanted,
    /// Nothing there, or another file system.
    NotMounted {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A BPF file system that is read-only or another user's.
    NotWritable {
        /// Where it is mounted.
        path: PathBuf,
        /// Why it cannot be written to.
        errno: Errno,
    },
}

/// Everything that [`super::attach::decide`] goes by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbeResults {
    /// The kernel's release as `uname` tells it.
    pub release: String,
    /// The effective user.
    pub effective_user: u32,
    /// The effective capabilities of the calling thread.
    pub capabilities: Capabilities,
    /// Loading a classifier of two instructions.
    pub load: Trial,
    /// Asking the loopback for its TCX programs.
    pub tcx: Trial,
    /// The state of the BPF file system.
    pub bpffs: Bpffs,
}

/// Asks the kernel, on behalf of the calling thread and in its network namespace.
///
/// `bpffs` is where a BPF file system is expected; `None` if nothing is to be pinned.
#[must_use]
pub fn probe(bpffs: Option<&Path>) -> ProbeResults {
    ProbeResults {
        release: release(),
        effective_user: geteuid().as_raw(),
        capabilities: Capabilities::of_this_thread(),
        load: Trial::of(sys::load_pass()),
        tcx: Trial::of(sys::query(LOOPBACK, super::attach::Hook::Ingress)),
        bpffs: bpffs.map_or(Bpffs::NotWanted, Bpffs::at),
    }
}

/// The ifindex of `lo` in every network namespace (`LOOPBACK_IFINDEX` in the kernel).
const LOOPBACK: u32 = 1;

impl KernelVersion {
    /// The version `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The version that a release like `6.1.0-28-amd64` begins with.
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some(Self::new(major.parse().ok()?, rest[..end].parse().ok()?))
    }
}

impl Capability {
    /// Its number in `linux/capability.h`.
    fn bit(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
            Self::SysAdmin => 21,
            Self::Perfmon => 38,
            Self::Bpf => 39,
        }
    }
}

impl Capabilities {
    /// The set of `held`.
    #[must_use]
    pub fn of(held: &[Capability]) -> Self {
        Self(
            held.iter()
                .fold(0, |bits, capability| bits | 1 << capability.bit()),
        )
    }

    /// The effective set of the calling thread; empty where `/proc` does not tell.
    #[must_use]
    pub fn of_this_thread() -> Self {
        procfs::process::Process::myself()
            .and_then(|process| process.task_from_tid(gettid().as_raw()))
            .and_then(|thread| thread.status())
            .map_or(Self::default(), |status| Self(status.capeff))
    }

    /// Whether `capability` is in the set.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability.bit() != 0
    }
}

impl Trial {
    fn of<T>(result: Result<T, Errno>) -> Self {
        result.map_or_else(Self::Fails, |_| Self::Works)
    }
}

impl Bpffs {
    /// The state of the BPF file system at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let path = path.to_owned();
        match statfs(&path) {
            Ok(stat) if stat.filesystem_type() == BPF_FS_MAGIC => {}
            _ => return Self::NotMounted { path },
        }
        match access(&path, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => Self::Ready,
            Err(errno) => Self::NotWritable { path, errno },
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        })
    }
}

fn release() -> String {
    nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_up_to_the_minor_version() {
        for (release, expected) in [
            ("6.18.44", Some((6, 18))),
            ("5.11", Some((5, 11))),
            ("5.11-rc3+", Some((5, 11))),
            ("6.1.0-28-amd64", Some((6, 1))),
            ("5.14.0-427.13.1.el9_4.x86_64", Some((5, 14))),
            ("6", None),
            ("6.x", None),
            ("-6.1", None),
            ("99999999999.1", None),
        ] {
            let version = KernelVersion::of_release(release);
            let expected = expected.map(|(major, minor)| KernelVersion::new(major, minor));
            assert_eq!(version, expected, "{release}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(KernelVersion::new(5, 9) < KernelVersion::new(5, 11));
        assert!(KernelVersion::new(5, 19) < KernelVersion::new(6, 0));
    }

    #[test]
    fn another_file_system_is_not_bpffs() {
        let path = PathBuf::from("/proc");
        assert_eq!(Bpffs::at(&path), Bpffs::NotMounted { path });
        let path = PathBuf::from("/proc/none/such");
        assert_eq!(Bpffs::at(&path), Bpffs::NotMounted { path });
    }

    #[test]
    fn the_running_kernel_is_recognised() {
        let probed = probe(None);
        assert!(KernelVersion::of_release(&probed.release).is_some());
        assert_eq!(probed.bpffs, Bpffs::NotWanted);
    }
}
