//! A run of the whole scenario in the lab before an agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::agent::{self, Agent, Settings};
use crate::build::Programs;
use crate::compare;
use crate::lab::scenario::{self, Phase, Stage, Step};
use crate::lab::{Lab, Options};

/// What a run in the lab leaves behind.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The inventory at its end.
    pub inventory: PathBuf,
    /// What the agent saw.
    pub flows: PathBuf,
}

/// A lab with an agent, somewhere in the scenario.
#[derive(Debug)]
pub struct Run {
    // Dropped before the lab that it observes.
    agent: Option<Agent>,
    stage: Stage,
    settings: Settings,
    directory: PathBuf,
}

impl Run {
    /// Sets the stage, plays what is older than the agent, and starts it. What it learns is kept in `directory`.
    ///
    /// # Errors
    ///
    /// If the lab, a step or the agent fails.
    pub fn begin(
        options: Options,
        programs: &Programs,
        directory: &Path,
        arguments: &[&str],
        mut progress: impl FnMut(&str),
    ) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        progress("two nodes, their pods and services");
        let settings = Settings {
            program: programs.agent.clone(),
            state: directory.join("agent"),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        };
        let mut run = Self {
            agent: None,
            stage: Stage::set(Lab::up(options)?)?,
            settings,
            directory: directory.to_owned(),
        };
        run.act(Phase::Before, &mut progress)?;
        progress("the agent starts");
        run.start()?;
        Ok(run)
    }

    /// Plays all steps of a phase.
    ///
    /// # Errors
    ///
    /// If a step fails.
    pub fn act(&mut self, phase: Phase, progress: impl FnMut(&str)) -> Result<()> {
        scenario::act(&mut self.stage, phase, progress)
    }

    /// Plays one step.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn play(&mut self, step: &Step) -> Result<()> {
        step.play(&mut self.stage)
    }

    /// Starts the agent with what an earlier one has left.
    ///
    /// # Errors
    ///
    /// If it is not ready in time.
    pub fn start(&mut self) -> Result<()> {
        self.agent = Some(Agent::start(&self.settings, &self.stage.lab)?);
        Ok(())
    }

    /// Takes the running agent out, to be stopped or killed while steps are played.
    ///
    /// # Errors
    ///
    /// If none runs.
    pub fn take_agent(&mut self) -> Result<Agent> {
        self.agent.take().context("no agent runs")
    }

    /// Stops the agent, takes the lab away and keeps what was learned.
    ///
    /// # Errors
    ///
    /// If one of these fails.
    pub fn finish(mut self) -> Result<Learned> {
        self.take_agent()?.stop()?;
        self.settings.detach(&self.stage.lab)?;
        let learned = keep(&self.stage.lab, &self.settings.state, &self.directory)?;
        self.stage.lab.down()?;
        Ok(learned)
    }
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
    let mut run = Run::begin(options, programs, directory, arguments, &mut progress)?;
    run.act(Phase::During, &mut progress)?;
    run.act(Phase::Late, &mut progress)?;
    progress("the agent stops");
    run.finish()
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
