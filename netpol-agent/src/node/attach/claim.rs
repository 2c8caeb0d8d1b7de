//! One agent for each instance: whoever comes second is told so, and a holder that was killed keeps nobody out.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::AttachError;
use super::pins::{Instance, PinRoot, make_directory};

/// The right to attach and pin as an instance, for as long as this lives, or the process.
///
/// It is a lock on the directory of the pins, whichever network namespace they belong to, and a name in the network
/// namespace, which filters belong to: the kernel frees both when their holder dies.
pub struct Claim {
    _pins: Option<Flock<File>>,
    _name: UnixListener,
}

/// The longest name of an abstract socket, less our prefix.
const LONGEST: usize = 90;

impl Claim {
    /// Claims `instance` in the calling thread's network namespace, and its directory of pins if there are any to be.
    ///
    /// # Errors
    ///
    /// [`AttachError::Claimed`] if another process has it, or [`AttachError::Pin`] if the directory cannot be made.
    pub fn new(instance: &Instance, pins: Option<&PinRoot>) -> Result<Self, AttachError> {
        let name = reserve(instance)?;
        let pins = pins.map(|root| {
            make_directory(root.directory())?;
            lock(instance, root.directory())
        });
        Ok(Self {
            _pins: pins.transpose()?,
            _name: name,
        })
    }

    /// Claims `instance` likewise, to remove what it left: no directory is made.
    ///
    /// # Errors
    ///
    /// As [`Claim::new`].
    pub fn of_what_is_there(instance: &Instance, pins: &PinRoot) -> Result<Self, AttachError> {
        let there = pins.directory().is_dir().then_some(pins);
        Self::new(instance, there)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").finish_non_exhaustive()
    }
}

fn reserve(instance: &Instance) -> Result<UnixListener, AttachError> {
    let name = format!("netpol/{}", instance.shortened(LONGEST));
    let address = SocketAddr::from_abstract_name(name);
    let bound = address.and_then(|address| UnixListener::bind_addr(&address));
    bound.map_err(|error| refused(instance, &error, "this network namespace", Path::new("")))
}

fn lock(instance: &Instance, directory: &Path) -> Result<Flock<File>, AttachError> {
    let place = directory.display().to_string();
    let failed = |error: &io::Error| refused(instance, error, &place, directory);
    let file = File::open(directory).map_err(|error| failed(&error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| failed(&io::Error::from(errno)))
}

fn refused(instance: &Instance, error: &io::Error, place: &str, path: &Path) -> AttachError {
    match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::WouldBlock => AttachError::Claimed {
            instance: instance.clone(),
            place: place.to_owned(),
        },
        _ => AttachError::Pin {
            action: "lock",
            path: path.to_owned(),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_claimed_once_at_a_time() {
        let instance: Instance = format!("claim-{}", std::process::id()).parse().unwrap();
        let other: Instance = format!("{instance}.b").parse().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = PinRoot::new(directory.path(), &instance);
        let held = Claim::of_what_is_there(&instance, &root).unwrap();
        assert!(!root.directory().exists());
        let second = Claim::new(&instance, Some(&root)).unwrap_err();
        assert!(matches!(second, AttachError::Claimed { .. }), "{second}");
        drop(held);
        let held = Claim::new(&instance, Some(&root)).unwrap();
        let elsewhere = lock(&instance, root.directory()).unwrap_err().to_string();
        assert!(
            elsewhere.contains(root.directory().to_str().unwrap())
                && elsewhere.contains("--instance"),
            "{elsewhere}"
        );
        let _beside = Claim::new(&other, Some(&PinRoot::new(directory.path(), &other))).unwrap();
        drop(held);
        Claim::new(&instance, Some(&root)).unwrap();
    }

    #[test]
    fn the_longest_instance_has_a_name() {
        let long: Instance = "a".repeat(180).parse().unwrap();
        let _held = Claim::new(&long, None).unwrap();
    }
}
