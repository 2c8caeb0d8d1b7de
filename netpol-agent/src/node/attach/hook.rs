//! The two places of an interface where packets are seen, and the program for each.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::programs::SchedClassifier;

use super::error::AttachError;
use crate::kernel;

/// A place in the host's side of a veth where packets are seen.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Hook {
    /// Packets that the interface receives: they come from the pod.
    Ingress,
    /// Packets that the interface sends: they go to the pod.
    Egress,
}

/// The two loaded classifiers, as descriptors that stay open as long as they may be attached anew.
#[derive(Debug)]
pub struct Programs {
    /// Sees what the pod sends; attached to [`Hook::Ingress`].
    pub from_pod: OwnedFd,
    /// Sees what is sent to the pod; attached to [`Hook::Egress`].
    pub to_pod: OwnedFd,
}

impl Hook {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Its name in pins and filters.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Ingress => "in",
            Self::Egress => "out",
        }
    }

    /// The hook whose name in pins and filters is `text`.
    #[must_use]
    pub fn from_short(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.short() == text)
    }
}

impl Programs {
    /// The program for `hook`.
    #[must_use]
    pub fn on(&self, hook: Hook) -> BorrowedFd<'_> {
        match hook {
            Hook::Ingress => self.from_pod.as_fd(),
            Hook::Egress => self.to_pod.as_fd(),
        }
    }
}

impl TryFrom<kernel::Programs<'_>> for Programs {
    type Error = AttachError;

    fn try_from(programs: kernel::Programs<'_>) -> Result<Self, Self::Error> {
        Ok(Self {
            from_pod: duplicate(programs.from_pod).map_err(AttachError::Programs)?,
            to_pod: duplicate(programs.to_pod).map_err(AttachError::Programs)?,
        })
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

fn duplicate(program: &SchedClassifier) -> io::Result<OwnedFd> {
    let descriptor = program.fd().map_err(io::Error::other)?;
    descriptor.as_fd().try_clone_to_owned()
}
