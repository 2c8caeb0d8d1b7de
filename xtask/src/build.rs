//! `cargo xtask build`: the two programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{command, setup, workspace};

/// What static programs are built for, and how: symbols are left out, since an image is downloaded by every node.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC_FLAGS: &str = "-C target-feature=+crt-static -C strip=symbols";

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
    Ok(Programs::in_directory(&directory))
}

/// Builds both programs so that they need nothing from where they run, in a target directory of their own: flags of the
/// compiler would make cargo build everything else anew. Build scripts, which run here, are not given the flags.
///
/// # Errors
///
/// As [`programs`].
pub fn static_programs(profile: Profile) -> Result<Programs> {
    setup::check_kernel()?;
    let target = workspace().join("target/static");
    let mut cargo = cargo_in(profile, &target);
    cargo
        .args(["--bin", "netpol-agent", "--bin", netpol_common::COMMAND])
        .args(["--target", STATIC_TARGET])
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            STATIC_FLAGS,
        )
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::stream(&mut cargo)?;
    let directory = target.join(STATIC_TARGET).join(profile.directory());
    Ok(Programs::in_directory(&directory))
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

impl Programs {
    fn in_directory(directory: &Path) -> Self {
        Self {
            agent: directory.join("netpol-agent"),
            kubectl: directory.join(netpol_common::COMMAND),
        }
    }
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
    cargo_in(profile, &workspace().join("target"))
}

fn cargo_in(profile: Profile, target: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "build",
            "--locked",
            "--package",
            "netpol-agent",
            "--target-dir",
        ])
        .arg(target)
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
