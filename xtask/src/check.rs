//! `cargo xtask test` and `cargo xtask fmt-check`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, say, setup, workspace};

/// How many random cases each promise of the policy engine is tested with.
const CASES: &str = "10000";

/// Sets up, then runs every test, those that need privileges too. Nothing is skipped: a test that cannot run fails.
///
/// # Errors
///
/// If set-up or any test fails.
pub fn test() -> Result<()> {
    setup::run()?;
    let runs: [(&str, &[&str], &[(&str, &str)]); 3] = [
        (
            "every test of the workspace",
            &["test", "--locked", "--workspace"],
            &[],
        ),
        (
            "the pure code without aya and the kernel crate",
            &[
                "test",
                "--locked",
                "--package",
                "netpol-agent",
                "--no-default-features",
            ],
            &[],
        ),
        (
            "every promise of the policy engine, in ten thousand random cases each",
            &[
                "test",
                "--locked",
                "--package",
                "netpol-agent",
                "--no-default-features",
                "--profile",
                "promises",
                "--lib",
                "policy::tests::",
            ],
            &[("PROPTEST_CASES", CASES)],
        ),
    ];
    for (what, arguments, variables) in runs {
        say::progress(format_args!("test: {what}"));
        let mut cargo = Command::new("cargo");
        cargo
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(workspace());
        command::stream(&mut cargo).with_context(|| format!("test {what}"))?;
    }
    Ok(())
}

/// Checks that every source file is formatted.
///
/// # Errors
///
/// If one is not.
pub fn format() -> Result<()> {
    let mut cargo = Command::new("cargo");
    command::stream(
        cargo
            .args(["fmt", "--all", "--check"])
            .current_dir(workspace()),
    )
}
