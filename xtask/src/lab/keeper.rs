//! Labs that outlive the command that made them: a keeper process owns each.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};

use super::cni::Plugin;
use super::scenario::Stage;
use super::state::{self, State};
use super::topology::Node;
use super::{Lab, Options, guard, peer, reap};
use crate::say;

/// How long a lab may take to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// Brings a lab up with its cast and leaves it to a keeper.
///
/// # Errors
///
/// If it does not come up.
pub fn up(name: &str, plugin: Plugin, xtask: &Path) -> Result<()> {
    state::directory(name)?;
    fs::create_dir_all(state::root()).context("make the directory of labs")?;
    // Not our own standard error: whoever reads that would wait for the keeper to close it.
    let log = log(name);
    let errors = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let mut keeper = Command::new(xtask)
        .args(["lab-keep", "--name", name, "--cni", plugin.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("start the lab's keeper")?;
    let out = keeper
        .stdout
        .take()
        .ok_or_else(|| anyhow!("the lab's keeper has no output"))?;
    let mut line = String::new();
    BufReader::new(out)
        .read_line(&mut line)
        .context("wait for the lab")?;
    if line.trim() != peer::serve::READY {
        let why = fs::read_to_string(&log).unwrap_or_default();
        bail!("the lab {name} did not come up: {}", why.trim());
    }
    status(Some(name))
}

/// What the keeper does: makes the lab and keeps it until it is killed; the guard then takes it away.
///
/// # Errors
///
/// If the lab does not come up.
pub fn keep(options: Options) -> Result<()> {
    setsid().context("begin a session")?;
    let _stage = Stage::set(Lab::up(options)?)?;
    peer::announce(peer::serve::READY)?;
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// Ends a lab, or clears up what is left of one.
///
/// # Errors
///
/// If there is none of that name, or it does not go.
pub fn down(name: &str) -> Result<()> {
    let directory = state::directory(name)?;
    let state = State::load(&directory).with_context(|| format!("no lab named {name} is up"))?;
    if state.owner.alive() {
        let pid = Pid::from_raw(i32::try_from(state.owner.pid)?);
        kill(pid, Signal::SIGTERM).context("end the lab's owner")?;
    }
    // A lab that was not made by `up` has none.
    let _ = fs::remove_file(log(name));
    let deadline = Instant::now() + PATIENCE;
    while directory.join("state.json").exists() {
        if state.orphaned() {
            return guard::take_away(&directory);
        }
        if Instant::now() > deadline {
            bail!(
                "the lab {name} does not go; its owner is process {}",
                state.owner.pid
            );
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Prints one lab, or all.
///
/// # Errors
///
/// If a lab's record cannot be read.
pub fn status(name: Option<&str>) -> Result<()> {
    for (directory, state) in state::all() {
        let state = state?;
        if name.is_some_and(|name| name != state.name) {
            continue;
        }
        let health = match (state.orphaned(), state.ready) {
            (true, _) => "orphaned",
            (false, true) => "up",
            (false, false) => "coming up",
        };
        say::result(format_args!(
            "{} {health}: {}, process {}, tag {}, in {}",
            state.name,
            state.cni,
            state.owner.pid,
            state.tag,
            directory.display()
        ));
        print_nodes(&state, &directory);
    }
    Ok(())
}

/// Clears up every lab whose owner and guard are gone.
///
/// # Errors
///
/// If something of one cannot be removed.
pub fn clear() -> Result<()> {
    reap()
}

/// What the keeper of a lab has to complain of.
fn log(name: &str) -> PathBuf {
    state::root().join(format!("{name}.log"))
}

fn print_nodes(state: &State, directory: &Path) {
    for node in Node::ALL {
        let namespace = super::netns::path(&format!("{}{}", state.tag, node.name()));
        say::result(format_args!(
            "  node {}: {}",
            node.name(),
            namespace.display()
        ));
    }
    let pods = fs::read_dir(directory.join("cni/cache/results")).map_or(0, Iterator::count);
    say::result(format_args!(
        "  {pods} pods on veths; inventory.yaml, cni/cache in {}",
        directory.display()
    ));
}
