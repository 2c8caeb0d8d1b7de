//! `kubectl-netpol`: the command for people.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Learn NetworkPolicies from real traffic.
#[derive(Debug, Parser)]
#[command(name = netpol_common::COMMAND, version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {}

/// Runs the command and tells the exit code: 0, 1 where a yes/no question is answered no, 2 on an error.
#[must_use]
pub fn run() -> ExitCode {
    let _arguments = Arguments::parse();
    ExitCode::from(2)
}
