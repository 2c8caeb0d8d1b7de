//! Set-up, build, lab, demo, test and bench of netpol: `cargo xtask <command>`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::lab::peer::Peer;

/// Set-up, build, lab, demo, test and bench of netpol.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Waits for the end of its input, then takes a lab away.
    #[command(hide = true)]
    LabGuard {
        /// The lab's directory.
        directory: PathBuf,
    },
    /// Becomes a command in a network namespace.
    #[command(hide = true)]
    LabExec {
        /// The namespace.
        #[arg(long)]
        netns: PathBuf,
        /// The control group.
        #[arg(long)]
        cgroup: Option<PathBuf>,
        /// The command.
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// A client or server of the lab.
    #[command(hide = true, subcommand)]
    LabPeer(Peer),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(task: &Task) -> Result<()> {
    match task {
        Task::LabGuard { directory } => xtask::lab::guard::stand(directory),
        Task::LabExec {
            netns,
            cgroup,
            words,
        } => xtask::lab::process::exec(netns, cgroup.as_deref(), words),
        Task::LabPeer(peer) => peer.run(),
    }
}
