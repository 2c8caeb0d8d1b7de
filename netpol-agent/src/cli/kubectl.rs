//! `kubectl-netpol`: the command for people.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{check, connectivity, diff, explain, flows, generate, graph, output, status};

/// Learn NetworkPolicies from real traffic.
#[derive(Debug, Parser)]
#[command(name = netpol_common::COMMAND, version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    global: output::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Connectivity(connectivity::Arguments),
    Diff(diff::Arguments),
    Explain(explain::Arguments),
    Flows(flows::Arguments),
    Generate(generate::Arguments),
    Graph(graph::Arguments),
    Status(status::Arguments),
}

/// Runs the command and tells the exit code: 0, 1 where a yes/no question is answered no, 2 on an error.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.global.apply();
    output::report(arguments.command.run())
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(arguments) => arguments.run(),
            Self::Connectivity(arguments) => arguments.run(),
            Self::Diff(arguments) => arguments.run(),
            Self::Explain(arguments) => arguments.run(),
            Self::Flows(arguments) => arguments.run(),
            Self::Generate(arguments) => arguments.run(),
            Self::Graph(arguments) => arguments.run(),
            Self::Status(arguments) => arguments.run(),
        }
    }
}
