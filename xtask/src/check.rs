//! `cargo xtask test` and `cargo xtask fmt-check`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, say, setup, workspace};

/// One run of tests.
struct Run {
    what: &'static str,
    /// What follows `cargo test`.
    arguments: &'static [&'static str],
    /// How many random cases each property is tested with, if not as many as it states.
    cases: Option<&'static str>,
}

const RUNS: [Run; 3] = [
    Run {
        what: "every test of the workspace",
        arguments: &["--workspace"],
        cases: None,
    },
    Run {
        what: "the pure code without aya and the kernel crate",
        arguments: &["--package", "netpol-agent", "--no-default-features"],
        cases: None,
    },
    Run {
        what: "every property of the policy engine, in ten thousand random cases each",
        arguments: &[
            "--package",
            "netpol-agent",
            "--no-default-features",
            "--profile",
            "promises",
            "--lib",
            "policy::",
        ],
        cases: Some("10000"),
    },
];

/// Sets up, then runs every test, those that need privileges too. A test that cannot run fails; only what compares with
/// Helm, which Debian does not have, says that it did not run.
///
/// # Errors
///
/// If set-up or any test fails.
pub fn test() -> Result<()> {
    setup::for_tests()?;
    for run in RUNS {
        say::progress(format_args!("test: {}", run.what));
        let mut cargo = Command::new("cargo");
        cargo
            .args(["test", "--locked"])
            .args(run.arguments)
            .envs(run.cases.map(|cases| ("PROPTEST_CASES", cases)))
            .current_dir(workspace());
        command::stream(&mut cargo).with_context(|| format!("test {}", run.what))?;
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
