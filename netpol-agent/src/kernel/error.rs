//! What can go wrong with the kernel side, and what to do about it.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

/// Why the kernel side cannot be opened or used. Every message says what to do or to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The kernel refused for want of rights.
    #[error("no right to {doing}: run as root or with the capabilities CAP_BPF and CAP_NET_ADMIN")]
    NoPrivileges {
        /// What was tried.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// There is no bpf(2) here.
    #[error(
        "this kernel has no bpf(2), or a sandbox forbids it: use a kernel from 5.11 on with CONFIG_BPF_SYSCALL=y and \
         CONFIG_NET_CLS_ACT=y"
    )]
    NoBpf {
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The directory for pins is not on a bpffs.
    #[error(
        "{} is not on a bpffs, so maps cannot be pinned there: mount one (`mount -t bpf bpf /sys/fs/bpf`), or run \
         without pinning",
        path.display()
    )]
    NoBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// The directory for pins cannot be made or read.
    #[error("cannot use {} for pinned maps: look at its rights and its parent", path.display())]
    PinDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A pinned map is not what this program needs.
    #[error(
        "the pinned map {} does not fit this program ({what} is {found}, needed is {needed}): start with the sizes that \
         it was made with, or run `netpol-agent detach` first, which gives up what is pinned",
        path.display()
    )]
    PinnedMapMismatch {
        /// The pin.
        path: PathBuf,
        /// Which property differs.
        what: &'static str,
        /// The property of the pinned map.
        found: u32,
        /// The property that this program needs.
        needed: u32,
    },
    /// The embedded object lacks something, or is of another form than expected: a fault of the build.
    #[error("the embedded kernel program lacks {0}: build again from a clean tree")]
    Object(&'static str),
    /// The object cannot be loaded.
    #[error(
        "cannot load the kernel program: the kernel must be 5.11 or newer; the verifier's words follow"
    )]
    Load(#[source] Box<EbpfError>),
    /// The verifier refused a program.
    #[error(
        "the kernel refused the program {name}: grant CAP_PERFMON if it is missing, and report this with the kernel's \
         version; the verifier's words follow"
    )]
    Program {
        /// The program.
        name: &'static str,
        /// What the verifier says.
        #[source]
        source: Box<ProgramError>,
    },
    /// A look-up or an update of a map failed.
    #[error(
        "the kernel refused to read or write a map: look for another process that changed its rights or froze it"
    )]
    Map(#[from] MapError),
    /// A batched look-up failed.
    #[error("the kernel refused a batched look-up: it needs a kernel from 5.6 on")]
    Batch(#[source] io::Error),
    /// A deletion failed.
    #[error("the kernel refused to delete a map entry")]
    Delete(#[source] io::Error),
    /// An entry could not be made.
    #[error("an edge that is known could not be put into its kernel map")]
    Insert(#[source] io::Error),
    /// No slot is left for an interface.
    #[error(
        "no slot is left for interface {ifindex}: more than {} interfaces with neighbouring indexes are observed; \
         delete unused interfaces",
        netpol_common::abi::INTERFACE_PROBES
    )]
    TooManyInterfaces {
        /// The interface.
        ifindex: u32,
    },
    /// The reader of first sights was asked for twice.
    #[error("the ring of first sights has a reader already: use that one")]
    SightsTaken,
    /// The ring of first sights cannot be read.
    #[error("cannot wait for first sights: the runtime must have I/O enabled")]
    Sights(#[source] io::Error),
    /// No random numbers.
    #[error("the kernel gives no random numbers (getrandom)")]
    Random(#[source] io::Error),
}

impl From<EbpfError> for KernelError {
    fn from(error: EbpfError) -> Self {
        refused(&error, "load the kernel program and make its maps")
            .unwrap_or_else(|| Self::Load(Box::new(error)))
    }
}

impl KernelError {
    /// The error of a program that was not loaded. The verifier answers by the same numbers as missing rights do, but
    /// not without words.
    pub(super) fn program(name: &'static str, error: ProgramError) -> Self {
        let words = match &error {
            ProgramError::LoadError { verifier_log, .. } => verifier_log.to_string(),
            _ => String::new(),
        };
        let no_rights = words
            .is_empty()
            .then(|| refused(&error, "load the kernel program"));
        no_rights.flatten().unwrap_or_else(|| Self::Program {
            name,
            source: Box::new(error),
        })
    }
}

/// The error for a call that the kernel refused for want of rights or of bpf(2) itself, `None` for any other cause.
fn refused(error: &(dyn std::error::Error + 'static), doing: &'static str) -> Option<KernelError> {
    let code = errno(error)?;
    let source = io::Error::from_raw_os_error(code);
    match code {
        libc::EPERM | libc::EACCES => Some(KernelError::NoPrivileges { doing, source }),
        libc::ENOSYS => Some(KernelError::NoBpf { source }),
        _ => None,
    }
}

/// The system's error number somewhere down the chain of causes.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(code) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(code);
        }
        next = error.source();
    }
    None
}
