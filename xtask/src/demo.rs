//! `cargo xtask demo`: the whole way from packets to policies in the lab, checked against its truth.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build::{self, Profile, Programs};
use crate::lab::Options;
use crate::lab::cni::Plugin;
use crate::learn::{Learned, judge, learn};
use crate::{command, say, setup, workspace};

/// Sets up, builds, and shows a run over that plugin.
///
/// # Errors
///
/// If anything fails, or the learned graph is not the lab's truth.
pub fn run(plugin: Plugin, xtask: &Path) -> Result<()> {
    setup::run()?;
    say::progress("demo: building");
    let programs = build::programs(Profile::Release)?;
    let directory = workspace().join("target/demo").join(plugin.name());
    clear(&directory)?;
    let options = Options {
        name: format!("demo-{}-{}", plugin.name(), std::process::id()),
        plugin,
        xtask: xtask.to_owned(),
    };
    let learned = learn(options, &programs, &directory, &[], |step| {
        say::progress(format_args!("demo: {step}"));
    })?;
    show(&programs, &learned, &directory)?;
    judge(&learned)?;
    say::result(format_args!(
        "The learned graph is exactly the lab's truth. It, the flow records, the inventory and the policies are in {}.",
        directory.display()
    ));
    Ok(())
}

/// Prints graph and policies and writes them beside what they were made from.
fn show(programs: &Programs, learned: &Learned, directory: &Path) -> Result<()> {
    say::result(kubectl(programs, learned, &["graph"])?);
    let mermaid = kubectl(programs, learned, &["graph", "--output", "mermaid"])?;
    fs::write(directory.join("graph.mmd"), mermaid).context("write graph.mmd")?;
    say::result(kubectl(programs, learned, &["generate"])?);
    let policies = directory.join("policies").display().to_string();
    kubectl(programs, learned, &["generate", "--out-dir", &policies]).map(drop)
}

/// What `kubectl-netpol` writes about what was learned.
///
/// # Errors
///
/// If it fails.
pub fn kubectl(programs: &Programs, learned: &Learned, words: &[&str]) -> Result<String> {
    let mut kubectl = Command::new(&programs.kubectl);
    kubectl
        .args(words)
        .arg("--inventory")
        .arg(&learned.inventory)
        .arg("--flows")
        .arg(&learned.flows);
    command::output(&mut kubectl)
}

/// Removes what an earlier run left.
fn clear(directory: &Path) -> Result<()> {
    match directory.exists() {
        true => {
            fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))
        }
        false => Ok(()),
    }
}
