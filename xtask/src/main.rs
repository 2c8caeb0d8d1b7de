//! Set-up, build, lab, demo, test and bench of netpol: `cargo xtask <command>`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use xtask::build::Profile;
use xtask::lab::cni::Plugin;
use xtask::lab::peer::Peer;
use xtask::lab::{self, keeper};
use xtask::{bench, build, check, demo, deploy, image, say, setup};

/// Set-up, build, lab, demo, test and bench of netpol.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what building, the lab and the tests need.
    Setup,
    /// Build target/release/netpol-agent and target/release/kubectl-netpol.
    Build {
        /// Only kubectl-netpol, which needs no kernel crate.
        #[arg(long)]
        cli_only: bool,
    },
    /// Learn from real traffic in the lab, and print the flow graph and the policies.
    Demo {
        /// The CNI plugin: ptp or bridge.
        #[arg(long, default_value = "ptp")]
        cni: Plugin,
    },
    /// A cluster of network namespaces to try things in.
    #[command(subcommand)]
    Lab(LabTask),
    /// Set up, then run every test.
    Test,
    /// Run benchmarks.
    Bench {
        /// The group; all by default.
        group: Option<String>,
    },
    /// Render deploy/chart into deploy/manifests, and make whatever else is made there.
    Deploy,
    /// Build static programs and write them as an OCI archive, without an engine or a network.
    Image {
        /// The archive [default: target/image/netpol-agent.oci.tar].
        #[arg(long, env = "NETPOL_IMAGE_OUTPUT", value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check that every source file is formatted.
    FmtCheck,
    #[command(flatten)]
    Inner(Inner),
}

#[derive(Debug, Subcommand)]
enum LabTask {
    /// Bring a lab up, with its pods and services, until `down`.
    Up(Lab),
    /// Take a lab away.
    Down {
        /// Its name.
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Tell what labs there are.
    Status,
}

#[derive(Debug, clap::Args)]
struct Lab {
    /// Its name.
    #[arg(long, default_value = "default")]
    name: String,
    /// The CNI plugin: ptp or bridge.
    #[arg(long, default_value = "ptp")]
    cni: Plugin,
}

/// What the lab itself runs.
#[derive(Debug, Subcommand)]
enum Inner {
    /// Waits for the end of its input, then takes a lab away.
    #[command(hide = true, name = "lab-guard")]
    Guard {
        /// The lab's directory.
        directory: PathBuf,
    },
    /// Makes a lab and keeps it.
    #[command(hide = true, name = "lab-keep")]
    Keep(Lab),
    /// Becomes a command in a network namespace.
    #[command(hide = true, name = "lab-exec")]
    Exec {
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
    #[command(hide = true, name = "lab-peer", subcommand)]
    Peer(Peer),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::progress(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::for_tests(),
        Task::Build { cli_only: true } => build::cli_only(),
        Task::Build { cli_only: false } => build::programs(Profile::Release).map(drop),
        Task::Demo { cni } => demo::run(cni, &own_path()?),
        Task::Lab(task) => run_lab(task),
        Task::Test => check::test(),
        Task::Bench { group } => bench::run(group.as_deref()),
        Task::Deploy => deploy::run(),
        Task::Image { output } => image::run(output),
        Task::FmtCheck => check::format(),
        Task::Inner(task) => run_inner(task),
    }
}

fn run_lab(task: LabTask) -> Result<()> {
    match task {
        LabTask::Up(Lab { name, cni }) => keeper::up(&name, cni, &own_path()?),
        LabTask::Down { name } => keeper::down(&name),
        LabTask::Status => keeper::status(None),
    }
}

fn run_inner(task: Inner) -> Result<()> {
    match task {
        Inner::Guard { directory } => lab::guard::stand(&directory),
        Inner::Keep(Lab { name, cni }) => keeper::keep(lab::Options {
            name,
            plugin: cni,
            xtask: own_path()?,
        }),
        Inner::Exec {
            netns,
            cgroup,
            words,
        } => lab::process::exec(&netns, cgroup.as_deref(), &words),
        Inner::Peer(peer) => peer.run(),
    }
}

fn own_path() -> Result<PathBuf> {
    std::env::current_exe().context("find the path of xtask")
}
