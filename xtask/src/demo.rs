//! `cargo xtask demo`: the whole way from packets to policies in the lab, checked against its truth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::agent::{self, Agent, Settings};
use crate::build::{self, Profile, Programs};
use crate::lab::cni::Plugin;
use crate::lab::scenario::{self, Phase, Stage};
use crate::lab::{Lab, Options};
use crate::{command, compare, say, setup, workspace};

/// What a run in the lab leaves behind.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The inventory at its end.
    pub inventory: PathBuf,
    /// What the agent saw.
    pub flows: PathBuf,
}

/// Sets up, builds, and shows a run over that plugin.
///
/// # Errors
///
/// If anything fails, or the learned graph is not the lab's truth.
pub fn run(plugin: Plugin, xtask: &Path) -> Result<()> {
    setup::run()?;
    say::progress("demo: building");
    let programs = build::programs(Profile::Release)?;
    let directory = workspace().join("target/demo").join(plugin.name());
    clear(&directory)?;
    let options = Options {
        name: format!("demo-{}-{}", plugin.name(), std::process::id()),
        plugin,
        xtask: xtask.to_owned(),
    };
    let learned = learn(options, &programs, &directory, &[], |step| {
        say::progress(format_args!("demo: {step}"));
    })?;
    show(&programs, &learned, &directory)?;
    judge(&learned)?;
    say::result(format_args!(
        "The learned graph is exactly the lab's truth. It, the flow records, the inventory and the policies are in {}.",
        directory.display()
    ));
    Ok(())
}

/// Plays the whole scenario before an agent and keeps what it learned in `directory`.
///
/// # Errors
///
/// If the lab, a step or the agent fails.
pub fn learn(
    options: Options,
    programs: &Programs,
    directory: &Path,
    arguments: &[&str],
    mut progress: impl FnMut(&str),
) -> Result<Learned> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    progress("two nodes, their pods and services");
    let mut stage = Stage::set(Lab::up(options)?)?;
    scenario::act(&mut stage, Phase::Before, &mut progress)?;
    let settings = Settings {
        program: programs.agent.clone(),
        state: directory.join("agent"),
        arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
    };
    progress("the agent starts");
    let agent = Agent::start(&settings, &stage.lab)?;
    scenario::act(&mut stage, Phase::During, &mut progress)?;
    scenario::act(&mut stage, Phase::Late, &mut progress)?;
    progress("the agent stops");
    agent.stop()?;
    settings.detach(&stage.lab)?;
    let learned = keep(&stage.lab, &settings.state, directory)?;
    stage.lab.down()?;
    Ok(learned)
}

/// Checks that what was learned is exactly the lab's truth.
///
/// # Errors
///
/// Lists every difference.
pub fn judge(learned: &Learned) -> Result<()> {
    let graph = compare::learned(&learned.inventory, &learned.flows)?;
    let differences = compare::differences(&scenario::truth(), &graph);
    if !differences.is_empty() {
        bail!(
            "the learned graph differs from the lab's truth in {} places:\n  {}",
            differences.len(),
            differences.join("\n  ")
        );
    }
    Ok(())
}

fn keep(lab: &Lab, state: &Path, directory: &Path) -> Result<Learned> {
    let learned = Learned {
        inventory: directory.join("inventory.yaml"),
        flows: directory.join("flows.jsonl"),
    };
    for (from, to) in [
        (lab.inventory(), &learned.inventory),
        (agent::flows(state), &learned.flows),
    ] {
        fs::copy(&from, to).with_context(|| format!("keep {}", from.display()))?;
    }
    Ok(learned)
}

/// Prints graph and policies and writes them beside what they were made from.
fn show(programs: &Programs, learned: &Learned, directory: &Path) -> Result<()> {
    say::result(kubectl(programs, learned, &["graph"])?);
    let mermaid = kubectl(programs, learned, &["graph", "--output", "mermaid"])?;
    fs::write(directory.join("graph.mmd"), mermaid).context("write graph.mmd")?;
    say::result(kubectl(programs, learned, &["generate"])?);
    let policies = directory.join("policies").display().to_string();
    kubectl(programs, learned, &["generate", "--out-dir", &policies]).map(drop)
}

fn kubectl(programs: &Programs, learned: &Learned, words: &[&str]) -> Result<String> {
    let mut kubectl = Command::new(&programs.kubectl);
    kubectl
        .args(words)
        .arg("--inventory")
        .arg(&learned.inventory)
        .arg("--flows")
        .arg(&learned.flows);
    command::output(&mut kubectl)
}

/// Removes what an earlier run left.
fn clear(directory: &Path) -> Result<()> {
    match directory.exists() {
        true => {
            fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))
        }
        false => Ok(()),
    }
}
