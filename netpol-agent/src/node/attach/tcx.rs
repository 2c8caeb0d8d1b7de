//! BPF links on the TCX hooks of an interface.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::AttachError;
use super::fault;
use super::hook::Hook;
use super::pins;
use super::sys;

/// A link that we hold open, and perhaps have pinned.
#[derive(Debug)]
pub(super) struct TcxLink {
    descriptor: OwnedFd,
    id: u32,
    ifindex: u32,
    hook: Hook,
    pin: Option<PathBuf>,
    runs: Copy,
}

/// Which of two loaded copies of our program a link runs. The kernel takes no program twice on one hook, so that it takes
/// two for one link to come before the other without a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Copy {
    First,
    Spare,
}

impl TcxLink {
    /// Attaches `program` in front of what is there, and pins the link.
    ///
    /// What is pinned at that path already is a link that has died: it is replaced.
    pub(super) fn create(
        program: BorrowedFd<'_>,
        ifindex: u32,
        hook: Hook,
        pin: Option<&Path>,
    ) -> Result<Self, AttachError> {
        let failed = refused("attach", ifindex, hook);
        let descriptor = sys::link_create(program, ifindex, hook).map_err(&failed)?;
        let id = sys::link_info(descriptor.as_fd())
            .map_err(&failed)?
            .map_or(0, |info| info.id);
        if let Some(path) = pin {
            write_pin(descriptor.as_fd(), path)?;
        }
        Ok(Self {
            descriptor,
            id,
            ifindex,
            hook,
            pin: pin.map(Path::to_owned),
            runs: Copy::First,
        })
    }

    /// The link pinned at `path`, if it is on this hook of this interface in this thread's network namespace.
    pub(super) fn open(path: &Path, ifindex: u32, hook: Hook) -> Result<Option<Self>, AttachError> {
        let descriptor = match sys::open_pin(path) {
            Ok(descriptor) => descriptor,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(pin_failed("open", path, errno)),
        };
        let info =
            sys::link_info(descriptor.as_fd()).map_err(|errno| pin_failed("read", path, errno))?;
        let Some(info) = info.filter(|info| info.ifindex == ifindex) else {
            return Ok(None);
        };
        let link = Self {
            descriptor,
            id: info.id,
            ifindex,
            hook,
            pin: Some(path.to_owned()),
            runs: Copy::First,
        };
        Ok(link.position()?.is_some().then_some(link))
    }

    /// How many programs are in front of ours; `None` once the link is detached or the interface gone.
    pub(super) fn position(&self) -> Result<Option<usize>, AttachError> {
        match sys::query(self.ifindex, self.hook) {
            Ok(links) => Ok(links.iter().position(|id| *id == self.id)),
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(self.refused("list what is attached")(errno)),
        }
    }

    /// Swaps the program; no packet passes unseen.
    pub(super) fn replace(&self, program: BorrowedFd<'_>) -> Result<(), AttachError> {
        sys::link_update(self.descriptor.as_fd(), program).map_err(self.refused("swap the program"))
    }

    /// Detaches the program, whoever else holds the link, and unpins it.
    pub(super) fn remove(self) -> Result<(), AttachError> {
        sys::link_detach(self.descriptor.as_fd()).map_err(self.refused("detach"))?;
        self.pin.as_deref().map_or(Ok(()), pins::remove_file)
    }

    /// Which copy of the program it runs.
    pub(super) fn runs(&self) -> Copy {
        self.runs
    }

    /// Attaches `other`, the copy that it does not run, in front, and then detaches this one. Whenever the process dies,
    /// one of them is attached and pinned; what passes in between (microseconds) is seen twice rather than never.
    pub(super) fn move_forward(&self, other: BorrowedFd<'_>) -> Result<Self, AttachError> {
        let mut new = Self::create(other, self.ifindex, self.hook, None)?;
        fault::reached("created");
        if let Some(path) = &self.pin {
            let next = pins::next_to(path);
            write_pin(new.descriptor.as_fd(), &next)?;
            fault::reached("pinned");
            pins::rename(&next, path)?;
            fault::reached("renamed");
        }
        sys::link_detach(self.descriptor.as_fd()).map_err(self.refused("detach"))?;
        fault::reached("detached");
        new.pin.clone_from(&self.pin);
        new.runs = match self.runs {
            Copy::First => Copy::Spare,
            Copy::Spare => Copy::First,
        };
        Ok(new)
    }

    /// Detaches and attaches anew in front. What passes in between (microseconds) is not seen.
    pub(super) fn bring_forward(self, program: BorrowedFd<'_>) -> Result<Self, AttachError> {
        let (ifindex, hook, pin) = (self.ifindex, self.hook, self.pin.clone());
        self.remove()?;
        Self::create(program, ifindex, hook, pin.as_deref())
    }

    fn refused(&self, action: &'static str) -> impl Fn(Errno) -> AttachError + use<> {
        refused(action, self.ifindex, self.hook)
    }
}

/// Detaches and unpins whatever link is pinned at `path`, in whichever network namespace. Tells whether it was still
/// attached.
pub(super) fn remove_pinned(path: &Path) -> Result<bool, AttachError> {
    let detach = || {
        let link = sys::open_pin(path)?;
        let attached = sys::link_info(link.as_fd())?.is_some_and(|info| info.ifindex != 0);
        sys::link_detach(link.as_fd())?;
        Ok(attached)
    };
    match detach() {
        Ok(attached) => pins::remove_file(path).map(|()| attached),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(pin_failed("detach", path, errno)),
    }
}

fn write_pin(link: BorrowedFd<'_>, path: &Path) -> Result<(), AttachError> {
    if let Some(directory) = path.parent() {
        pins::make_directory(directory)?;
    }
    pins::remove_file(path)?;
    sys::pin(link, path).map_err(|errno| pin_failed("pin a link at", path, errno))
}

fn pin_failed(action: &'static str, path: &Path, errno: Errno) -> AttachError {
    AttachError::Pin {
        action,
        path: path.to_owned(),
        errno,
    }
}

fn refused(action: &'static str, ifindex: u32, hook: Hook) -> impl Fn(Errno) -> AttachError {
    move |errno| AttachError::Tcx {
        action,
        ifindex,
        hook,
        errno,
    }
}
