//! `cargo xtask build`: the two programs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{command, setup, workspace};

/// How the programs are built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile {
    /// Quickly.
    Debug,
    /// To be used.
    Release,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `netpol-agent`.
    pub agent: PathBuf,
    /// `kubectl-netpol`.
    pub kubectl: PathBuf,
}

/// Builds both programs.
///
/// # Errors
///
/// If the kernel crate cannot be built here, naming what to install; or if the build fails.
pub fn programs(profile: Profile) -> Result<Programs> {
    setup::check_kernel()?;
    let mut cargo = cargo(profile);
    command::stream(cargo.args(["--bin", "netpol-agent", "--bin", netpol_common::COMMAND]))?;
    let directory = workspace().join("target").join(profile.directory());
    Ok(Programs {
        agent: directory.join("netpol-agent"),
        kubectl: directory.join(netpol_common::COMMAND),
    })
}

/// Builds only the command for people, which needs neither aya nor the kernel crate.
///
/// # Errors
///
/// If the build fails.
pub fn cli_only() -> Result<()> {
    let mut cargo = cargo(Profile::Release);
    cargo.args(["--no-default-features", "--bin", netpol_common::COMMAND]);
    command::stream(&mut cargo)
}

impl Profile {
    fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

fn cargo(profile: Profile) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--locked",
            "--package",
            "netpol-agent",
            "--target-dir",
        ])
        .arg(workspace().join("target"))
        .current_dir(workspace())
        .stdout(std::io::stderr());
    // Set when a test runs this: some crates build anew whenever these change.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    cargo
}
