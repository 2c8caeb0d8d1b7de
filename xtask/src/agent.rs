//! A node agent that observes a lab.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command;
use crate::lab::Lab;
use crate::lab::topology::Node;

/// How long the agent may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it logs when all nodes are observed.
const READY: &str = "ready";

/// How the agent is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of `netpol-agent`.
    pub program: PathBuf,
    /// Its state directory, where `flows.jsonl` comes to be.
    pub state: PathBuf,
    /// Arguments besides those that the lab needs.
    pub arguments: Vec<String>,
}

/// A running agent. It is killed when dropped.
#[derive(Debug)]
pub struct Agent {
    process: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts an agent that observes both nodes, and waits until it does.
    ///
    /// # Errors
    ///
    /// If it ends or is not ready in time; the message holds the end of its log.
    pub fn start(settings: &Settings, lab: &Lab) -> Result<Self> {
        fs::create_dir_all(&settings.state)
            .with_context(|| format!("make {}", settings.state.display()))?;
        let log = new_log(&settings.state);
        let errors = File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let mut command = settings.command(lab);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        let process = command
            .spawn()
            .with_context(|| format!("start {}", command::line(&command)))?;
        let mut agent = Self { process, log };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Stops the agent in order.
    ///
    /// # Errors
    ///
    /// If it does not stop in time or fails.
    pub fn stop(mut self) -> Result<()> {
        kill(self.pid()?, Signal::SIGTERM).context("stop the agent")?;
        let status = self.wait()?;
        if !status.success() {
            bail!("the agent failed ({status}): {}", self.last_words());
        }
        Ok(())
    }

    /// Kills the agent as a crash would.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill().context("kill the agent")?;
        self.wait().map(drop)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().context("look after the agent")? {
                bail!("the agent ended ({status}): {}", self.last_words());
            }
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if log.lines().any(|line| line.contains(READY)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the agent is not ready; its log is {}", self.log.display());
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().context("wait for the agent")? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the agent does not stop; its log is {}", self.log.display());
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.process.id())?))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A log for each start: what an earlier agent said must not be taken for this one's words.
fn new_log(state: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let log = state.join(format!("agent-{number}.log"));
        if !log.exists() {
            return log;
        }
        number += 1;
    }
}

impl Settings {
    fn command(&self, lab: &Lab) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["node", "--standalone"]);
        self.place(&mut command, lab);
        command
    }

    /// Removes what an agent of this lab has attached and pinned. An agent that was stopped in order has kept what it
    /// counted.
    ///
    /// # Errors
    ///
    /// If the agent's own command for that fails.
    pub fn detach(&self, lab: &Lab) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["detach", "--discard"]);
        self.place(&mut command, lab);
        command::run(&mut command)
    }

    /// Adds the arguments that say where the agent works: its sources, its instance, its BPF file system, its nodes.
    fn place(&self, command: &mut Command, lab: &Lab) {
        command
            .arg("--inventory")
            .arg(lab.inventory())
            .arg("--state-dir")
            .arg(&self.state)
            .arg("--cni-cache")
            .arg(lab.cni_cache().join("results"))
            .args(["--instance", lab.tag(), "--bpffs"])
            .arg(lab.bpffs());
        for node in Node::ALL {
            let namespace = lab.node_namespace(node);
            command
                .arg("--node")
                .arg(format!("{}={}", node.name(), namespace.display()));
        }
        command.args(&self.arguments);
    }
}

/// The flow records of an agent with that state directory.
#[must_use]
pub fn flows(state: &Path) -> PathBuf {
    state.join("flows.jsonl")
}
