//! Why classifiers cannot be attached, and what to do about it.

use std::path::PathBuf;

use nix::errno::Errno;

use super::decide::{MINIMUM_KERNEL, TCX_KERNEL};
use super::hook::Hook;
use super::pins::Instance;
use crate::node::netlink::NetlinkError;
use crate::node::probe::{Capability, KernelVersion};

/// Why classifiers cannot be attached or detached. The message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// `uname` tells a release that does not begin with two numbers.
    #[error("cannot tell the kernel's version from its release {release:?}")]
    UnknownKernel {
        /// The release as `uname` tells it.
        release: String,
    },
    /// Older than [`MINIMUM_KERNEL`].
    #[error("Linux {found} is too old: netpol needs Linux {MINIMUM_KERNEL} or newer on the node")]
    KernelTooOld {
        /// The running kernel.
        found: KernelVersion,
    },
    /// No bpf(2).
    #[error(
        "this kernel was built without BPF: it needs CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS"
    )]
    NoBpf,
    /// Not allowed to load and attach.
    #[error(
        "user {user} may not observe packets: grant {}, or run as root",
        missing.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
    )]
    MissingCapabilities {
        /// What has to be granted.
        missing: Vec<Capability>,
        /// The effective user.
        user: u32,
    },
    /// Loading fails although every capability is there.
    #[error("cannot load a BPF program: {}{}", errno.desc(), refusal(*errno))]
    BpfRefused {
        /// What bpf(2) answered.
        errno: Errno,
    },
    /// TCX was asked for and the kernel is older than [`TCX_KERNEL`].
    #[error(
        "Linux {found} has no TCX, which came with {TCX_KERNEL}: use --attach auto or --attach clsact"
    )]
    NoTcx {
        /// The running kernel.
        found: KernelVersion,
    },
    /// The kernel is new enough for TCX, but refuses it.
    #[error("this kernel refuses TCX ({}): it was built without CONFIG_NET_XGRESS", errno.desc())]
    TcxRefused {
        /// What bpf(2) answered.
        errno: Errno,
    },
    /// Not fit for a directory in bpffs.
    #[error(
        "{name:?} cannot name an instance: 1 to 180 letters, digits, '-' and '.', the first a letter or a digit"
    )]
    InvalidInstance {
        /// What was given.
        name: String,
    },
    /// Another agent holds the instance.
    #[error(
        "another agent uses the instance {instance} in {place}: stop it, or name another one with --instance"
    )]
    Claimed {
        /// The instance.
        instance: Instance,
        /// Where.
        place: String,
    },
    /// The programs are not loaded, or there is no descriptor left.
    #[error("cannot keep the loaded programs open: {0}")]
    Programs(#[source] std::io::Error),
    /// bpffs refuses a file or directory.
    #[error("cannot {action} {}: {}{}", path.display(), errno.desc(), pin_advice(*errno))]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The TCX hook of an interface refuses.
    #[error("cannot {action} on the {hook} TCX hook of interface {ifindex}: {}{}", errno.desc(), tcx_advice(*errno))]
    Tcx {
        /// What was tried.
        action: &'static str,
        /// The interface.
        ifindex: u32,
        /// Which of its hooks.
        hook: Hook,
        /// What bpf(2) answered.
        errno: Errno,
    },
    /// Traffic control refuses.
    #[error(
        "cannot {action} on interface {ifindex}: {source}{}",
        clsact_advice(source)
    )]
    Clsact {
        /// What was tried.
        action: &'static str,
        /// The interface.
        ifindex: u32,
        /// What the kernel answered.
        source: NetlinkError,
    },
    /// Somebody's `ingress` qdisc stands where clsact would.
    #[error(
        "interface {ifindex} has an ingress qdisc of another program, so that there is no room for clsact: \
         remove it, or use --attach tcx on Linux {TCX_KERNEL}"
    )]
    IngressQdisc {
        /// The interface.
        ifindex: u32,
    },
    /// A netlink request that concerns no interface.
    #[error("cannot list {what}: {source}")]
    List {
        /// What was asked for.
        what: &'static str,
        /// What the kernel answered.
        source: NetlinkError,
    },
}

impl AttachError {
    /// Whether the interface has gone: a normal race between its removal and our notice of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Tcx { errno, .. } => *errno == Errno::ENODEV,
            Self::Clsact { source, .. } => refused(source) == Some(Errno::ENODEV),
            _ => false,
        }
    }
}

/// The error number of a refusal.
pub(super) fn refused(error: &NetlinkError) -> Option<Errno> {
    match error {
        NetlinkError::Refused(error) => error.raw_os_error().map(Errno::from_raw),
        _ => None,
    }
}

fn refusal(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => {
            "; every capability is there, so look at the seccomp profile, the security module, kernel lockdown, and \
             whether this is a user namespace"
        }
        _ => "",
    }
}

fn pin_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => {
            "; run as the owner of the BPF file system, or choose another with --bpffs"
        }
        Errno::EROFS => "; mount the BPF file system writable",
        _ => "",
    }
}

fn tcx_advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "; grant CAP_BPF and CAP_NET_ADMIN",
        Errno::EEXIST => "; this very program is attached there already",
        Errno::EOPNOTSUPP | Errno::EINVAL => "; use --attach clsact",
        Errno::ERANGE => "; 64 programs are attached there already, which is the most that fit",
        _ => "",
    }
}

fn clsact_advice(error: &NetlinkError) -> &'static str {
    match refused(error) {
        Some(Errno::EPERM) => "; grant CAP_NET_ADMIN",
        Some(Errno::ENOENT) => "; load the modules sch_ingress and cls_bpf",
        Some(Errno::EOPNOTSUPP) => {
            "; its clsact qdisc may share a filter block with other interfaces: use --attach tcx"
        }
        _ => "",
    }
}
