//! `netpol-agent`: the command for nodes and clusters.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::aggregator::Aggregator;
use super::detach::Detach;
use super::node::Node;
use super::output;

/// Observe nodes, and learn who talks to whom.
#[derive(Debug, Parser)]
#[command(name = "netpol-agent", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    log: Log,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Node(Box<Node>),
    Aggregator(Box<Aggregator>),
    Detach(Box<Detach>),
}

/// What is logged, and how.
#[derive(clap::Args, Debug)]
struct Log {
    /// Which log lines go to stderr: off, error, warn, info, debug, trace, or a filter such as `netpol_agent=debug`
    #[arg(
        long,
        env = "NETPOL_LOG",
        global = true,
        default_value = "info,rusqlite_migration=warn",
        value_name = "FILTER"
    )]
    log: EnvFilter,
    /// How log lines look
    #[arg(
        long,
        env = "NETPOL_LOG_FORMAT",
        global = true,
        default_value = "human",
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Runs the command and tells the exit code: 0, or 2 on an error.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.log.apply();
    output::report(arguments.command.run())
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Node(node) => node.run(),
            Self::Aggregator(aggregator) => aggregator.run(),
            Self::Detach(detach) => detach.run(),
        }
    }
}

impl Log {
    fn apply(self) {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.log)
            .with_writer(io::stderr)
            .with_ansi(output::Colour::Auto.wanted(&io::stderr()));
        // Only the first subscriber of a process counts; there is no other here.
        let _first = match self.log_format {
            LogFormat::Human => lines.try_init(),
            LogFormat::Json => lines.json().try_init(),
        };
    }
}

/// This machine's name: how its node is named in the Kubernetes API unless somebody chose otherwise.
///
/// # Errors
///
/// The system does not tell.
pub fn host_name() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {path}: give --node"))?;
    Ok(name.trim().to_owned())
}
