//! The scenario: what happens in the lab, step by step, and what is true of it.

pub mod cast;
mod hostile;
mod lives;
mod nodes;
mod protocols;
mod services;
mod stage;
pub mod truth;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

pub use self::stage::Stage;
use self::truth::{Expected, Nobody, Truth};

/// When a step happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Before the agent starts.
    Before,
    /// While it runs.
    During,
    /// At the end of its run: in another minute, and long enough after the last unanswered attempt.
    Late,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it is about.
    pub name: &'static str,
    /// When.
    pub phase: Phase,
    act: fn(&mut Stage) -> Result<()>,
    truth: &'static [Expected],
    unresolved: &'static [Nobody],
}

impl Step {
    /// Plays the step.
    ///
    /// # Errors
    ///
    /// Names the step, if something happened in it that is not in the script.
    pub fn play(&self, stage: &mut Stage) -> Result<()> {
        (self.act)(stage).with_context(|| format!("in the step {:?}", self.name))
    }
}

/// After how long an attempt counts as unanswered, and some more for the agent to notice.
const UNANSWERED: Duration = Duration::from_secs(33);

/// Every step, in order.
pub fn steps() -> impl Iterator<Item = &'static Step> {
    [
        services::STEPS,
        protocols::STEPS,
        nodes::STEPS,
        hostile::STEPS,
        lives::STEPS,
    ]
    .into_iter()
    .flatten()
}

/// Acts all steps of a phase, telling `progress` the name of each.
///
/// # Errors
///
/// Names the step in which something happened that is not in the script.
pub fn act(stage: &mut Stage, phase: Phase, mut progress: impl FnMut(&str)) -> Result<()> {
    if phase == Phase::Late {
        progress("wait for the next minute and for the unanswered to be so");
        wait(stage);
    }
    for step in steps().filter(|step| step.phase == phase) {
        progress(step.name);
        step.play(stage)?;
    }
    Ok(())
}

/// What is true of all steps together.
#[must_use]
pub fn truth() -> Truth {
    let mut truth = Truth::default();
    for step in steps() {
        for expected in step.truth {
            truth.add(step.name, expected);
        }
        for nobody in step.unresolved {
            truth.add_nobody(step.name, nobody);
        }
    }
    truth
}

/// Waits until the wall clock shows another minute than at the first one-way datagrams, and until the last
/// unanswered attempt is old enough.
fn wait(stage: &Stage) {
    let ripe = stage.last_unanswered.map(|last| last + UNANSWERED);
    while stage.one_way_minute == Some(minute()) || ripe.is_some_and(|ripe| Instant::now() < ripe) {
        sleep(Duration::from_millis(100));
    }
}

fn minute() -> i64 {
    Timestamp::now().as_second() / 60
}

/// A step while the agent runs.
const fn step(
    name: &'static str,
    act: fn(&mut Stage) -> Result<()>,
    truth: &'static [Expected],
) -> Step {
    Step {
        name,
        phase: Phase::During,
        act,
        truth,
        unresolved: &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let names: Vec<&str> = steps().map(|step| step.name).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
    }

    #[test]
    fn every_expectation_becomes_an_edge() {
        for step in steps() {
            let mut truth = Truth::default();
            for expected in step.truth {
                truth.add(step.name, expected);
            }
            assert_eq!(
                truth.edges.is_empty(),
                step.truth.is_empty(),
                "{}",
                step.name
            );
        }
    }
}
