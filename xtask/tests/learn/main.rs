//! From packets to policies: what an agent learns in the lab is exactly the lab's truth, and so are the policies.

mod policies;

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use xtask::agent::Agent;
use xtask::build::{Profile, Programs, programs};
use xtask::lab::Options;
use xtask::lab::cni::Plugin;
use xtask::lab::scenario::{self, Phase, Step};
use xtask::learn::{self, Run};

/// The step in the middle of which the agent is killed.
const CRASH: &str = "a burst of short connections";
/// The step before which another one takes over: until then no pod starts, and pods are all that needs an agent.
const RETURN: &str = "a Job whose pods take over another pod's former address";

/// What a test runs with. Its directory is kept, to be looked at when something differs.
fn set_up(name: &str, plugin: Plugin) -> Result<(Options, Programs, PathBuf)> {
    let directory = xtask::workspace().join("target/learn").join(name);
    let _ = fs::remove_dir_all(&directory);
    let options = Options {
        name: format!("learn-{name}-{}", std::process::id()),
        plugin,
        xtask: PathBuf::from(env!("CARGO_BIN_EXE_xtask")),
    };
    Ok((options, programs(Profile::Debug)?, directory))
}

/// Plays the scenario before an agent and judges the graph and the policies.
fn learn(plugin: Plugin, arguments: &[&str]) -> Result<()> {
    let (options, programs, directory) = set_up(plugin.name(), plugin)?;
    let learned = learn::learn(options, &programs, &directory, arguments, |_| ())?;
    learn::judge(&learned)?;
    policies::judge(&programs, &learned)
}

#[test]
fn the_truth_is_learned_over_ptp() {
    learn(Plugin::Ptp, &[]).unwrap();
}

#[test]
fn the_truth_is_learned_over_bridge_by_clsact() {
    learn(Plugin::Bridge, &["--attach", "clsact"]).unwrap();
}

#[test]
fn the_truth_is_learned_though_the_agent_is_killed_twice() {
    crash("crash", Plugin::Ptp, &[]).unwrap();
}

#[test]
fn the_truth_is_learned_by_clsact_over_bridge_though_the_agent_is_killed_twice() {
    crash("crash-bridge", Plugin::Bridge, &["--attach", "clsact"]).unwrap();
}

/// Kills the agent under traffic, again as soon as the next one is ready, and judges what the third one has.
fn crash(name: &str, plugin: Plugin, arguments: &[&str]) -> Result<()> {
    let (options, programs, directory) = set_up(name, plugin)?;
    let mut run = Run::begin(options, &programs, &directory, arguments, |_| ())?;
    for step in scenario::steps().filter(|step| step.phase == Phase::During) {
        if step.name == RETURN {
            run.start()?;
            run.take_agent()?.kill()?;
            run.start()?;
        }
        match step.name {
            CRASH => play_and_kill(&mut run, step)?,
            _ => run.play(step)?,
        }
    }
    run.act(Phase::Late, |_| ())?;
    learn::judge(&run.finish()?)
}

fn play_and_kill(run: &mut Run, step: &Step) -> Result<()> {
    let agent = run.take_agent()?;
    std::thread::scope(|scope| {
        let killed = scope.spawn(|| kill_soon(agent));
        run.play(step)?;
        killed.join().ok().context("the killer panicked")?
    })
}

/// The result must not depend on the moment, which is in the middle of the burst more often than not.
fn kill_soon(agent: Agent) -> Result<()> {
    sleep(Duration::from_millis(30));
    agent.kill()
}
