//! The guard: a process that takes a lab away when its owner lets go of it or dies, however it dies.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};

use super::state::{ProcessId, State};
use super::{bpffs, cgroup, netns};

/// How long processes that were killed may take to vanish.
const PATIENCE: Duration = Duration::from_secs(10);

/// The owner's hold on its guard.
#[derive(Debug)]
pub(super) struct Guard {
    process: Child,
    hold: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard of the lab in `directory`. `xtask` is the path of the xtask binary.
    pub(super) fn start(xtask: &Path, directory: &Path) -> Result<Self> {
        let mut process = Command::new(xtask)
            .arg("lab-guard")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start the lab's guard {}", xtask.display()))?;
        let hold = process.stdin.take();
        Ok(Self { process, hold })
    }

    /// The guard's own identity.
    pub(super) fn id(&self) -> Option<ProcessId> {
        ProcessId::of(self.process.id())
    }

    /// Lets go of the lab and waits until it is gone.
    pub(super) fn release(&mut self) -> Result<()> {
        if self.hold.take().is_none() {
            return Ok(());
        }
        let status = self.process.wait().context("wait for the lab's guard")?;
        if !status.success() {
            bail!("the lab was not taken away completely ({status}); try `cargo xtask lab down`");
        }
        Ok(())
    }
}

/// What the guard process does: waits for its input to end, then takes the lab in `directory` away.
///
/// # Errors
///
/// If something of the lab cannot be removed.
pub fn stand(directory: &Path) -> Result<()> {
    // A session of its own: signals to the owner's group or terminal do not reach the guard.
    setsid().context("begin a session")?;
    let mut nothing = Vec::new();
    std::io::stdin()
        .read_to_end(&mut nothing)
        .context("wait for the owner")?;
    take_away(directory)
}

/// Takes away everything that a lab has made in the kernel, then its record. May be repeated.
///
/// # Errors
///
/// If something cannot be removed; the record then stays.
pub fn take_away(directory: &Path) -> Result<()> {
    let state = State::load(directory)?;
    let namespaces = netns::names(&state.tag);
    end_processes(&namespaces)?;
    for name in &namespaces {
        netns::remove(name)?;
    }
    cgroup::remove(&state.tag)?;
    bpffs::remove(directory)?;
    fs::remove_file(directory.join("state.json")).context("remove the lab's record")?;
    fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))
}

/// Kills every process in these namespaces, all of which are the lab's, and waits until none is left.
pub(super) fn end_processes(namespaces: &[String]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let processes = netns::processes(namespaces);
        if processes.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes {processes:?} of the lab do not end");
        }
        for pid in processes {
            // One that has ended meanwhile is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(20));
    }
}
