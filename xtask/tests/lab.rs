//! The lab by itself: it comes up, its traffic is as scripted, and nothing of it stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use xtask::lab::cni::Plugin;
use xtask::lab::scenario::{self, Phase, Stage};
use xtask::lab::state::{self, State};
use xtask::lab::{Lab, Options};

/// The path of the xtask binary.
const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

fn options(name: &str, plugin: Plugin) -> Options {
    Options {
        name: unique(name),
        plugin,
        xtask: PathBuf::from(XTASK),
    }
}

fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Everything in the kernel that bears the tag.
fn remains(tag: &str) -> BTreeSet<PathBuf> {
    ["/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(tag))
        })
        .collect()
}

/// Whether a BPF file system is mounted below the directory.
fn has_bpffs(directory: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    assert!(
        !mounts.is_empty(),
        "the mounts of this process cannot be read"
    );
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        let (path, kind) = (fields.nth(1), fields.next());
        kind == Some("bpf") && path.is_some_and(|path| Path::new(path).starts_with(directory))
    })
}

/// Every step up to the end of the agent's run; each client checks what becomes of its attempts.
fn play(plugin: Plugin) -> Result<()> {
    let lab = Lab::up(options(plugin.name(), plugin))?;
    let (tag, directory) = (lab.tag().to_owned(), lab.directory().to_owned());
    let mut stage = Stage::set(lab)?;
    for phase in [Phase::Before, Phase::During] {
        scenario::act(&mut stage, phase, |_| ())?;
    }
    stage.lab.down()?;
    assert_eq!(remains(&tag), BTreeSet::new());
    assert!(!directory.exists());
    Ok(())
}

#[test]
fn the_script_plays_over_ptp() {
    play(Plugin::Ptp).unwrap();
}

#[test]
fn the_script_plays_over_bridge() {
    play(Plugin::Bridge).unwrap();
}

#[test]
fn two_labs_are_up_at_once_and_each_has_its_own() {
    let first = Lab::up(options("twin-a", Plugin::Ptp)).unwrap();
    let second = Lab::up(options("twin-b", Plugin::Bridge)).unwrap();
    assert_ne!(first.tag(), second.tag());
    let again = Lab::up(options("twin-a", Plugin::Ptp)).unwrap_err();
    assert!(again.to_string().contains("is up"), "{again}");
    let tag = first.tag().to_owned();
    first.down().unwrap();
    assert_eq!(remains(&tag), BTreeSet::new());
    assert!(!remains(second.tag()).is_empty());
    second.down().unwrap();
}

#[test]
fn a_lab_goes_when_its_owner_is_killed() {
    let directory = keep("killed").unwrap();
    let state = State::load(&directory).unwrap();
    assert!(!remains(&state.tag).is_empty());
    assert!(has_bpffs(&directory));
    kill(state.owner.pid).unwrap();
    wait_until_gone(&directory).unwrap();
    assert!(!has_bpffs(&directory));
    assert_eq!(remains(&state.tag), BTreeSet::new());
}

#[test]
fn what_owner_and_guard_leave_behind_is_cleared_by_the_next_lab() {
    let directory = keep("orphan").unwrap();
    let state = State::load(&directory).unwrap();
    kill(state.guard.unwrap().pid).unwrap();
    kill(state.owner.pid).unwrap();
    let orphaned = || State::load(&directory).is_ok_and(|state| state.orphaned());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !orphaned() && Instant::now() < deadline {
        sleep(Duration::from_millis(20));
    }
    assert!(!remains(&state.tag).is_empty());
    assert!(has_bpffs(&directory));
    Lab::up(options("after-orphan", Plugin::Ptp))
        .unwrap()
        .down()
        .unwrap();
    assert_eq!(remains(&state.tag), BTreeSet::new());
    assert!(!has_bpffs(&directory));
    assert!(!directory.exists());
}

#[test]
fn the_command_line_brings_a_lab_up_and_takes_it_away() {
    let name = unique("cli");
    let run = |words: &[&str]| Command::new(XTASK).args(words).output().unwrap();
    let up = run(&["lab", "up", "--name", &name, "--cni", "bridge"]);
    let text = String::from_utf8_lossy(&up.stdout).into_owned();
    assert!(
        up.status.success(),
        "{}",
        String::from_utf8_lossy(&up.stderr)
    );
    assert!(text.contains(&format!("{name} up: bridge")), "{text}");
    let state = State::load(&state::directory(&name).unwrap()).unwrap();
    assert!(run(&["lab", "down", "--name", &name]).status.success());
    assert_eq!(remains(&state.tag), BTreeSet::new());
    let again = run(&["lab", "down", "--name", &name]);
    assert_eq!(again.status.code(), Some(2));
}

/// A lab in a process of its own, and its directory.
fn keep(name: &str) -> Result<PathBuf> {
    let name = unique(name);
    let mut keeper = Command::new(XTASK)
        .args(["lab-keep", "--name", &name, "--cni", "ptp"])
        .stdout(Stdio::null())
        .spawn()?;
    let directory = state::directory(&name)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !State::load(&directory).is_ok_and(|state| state.ready) {
        if Instant::now() > deadline || keeper.try_wait()?.is_some() {
            bail!("the lab {name} does not come up");
        }
        sleep(Duration::from_millis(20));
    }
    // Reaped, so that its end can be seen.
    std::thread::spawn(move || keeper.wait());
    Ok(directory)
}

fn kill(pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()?;
    status.success().then_some(()).context("kill")
}

fn wait_until_gone(directory: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.exists() {
        if Instant::now() > deadline {
            bail!("{} is still there", directory.display());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
