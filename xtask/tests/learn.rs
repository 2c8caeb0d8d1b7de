//! From packets to policies: what an agent learns in the lab is exactly the lab's truth.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use xtask::build::{Profile, programs};
use xtask::demo;
use xtask::lab::Options;
use xtask::lab::cni::Plugin;

/// Plays the scenario before an agent and compares.
fn learn(plugin: Plugin, arguments: &[&str]) -> Result<()> {
    // Kept, to be looked at when something differs.
    let directory = xtask::workspace().join("target/learn").join(plugin.name());
    let _ = fs::remove_dir_all(&directory);
    let options = Options {
        name: format!("learn-{}-{}", plugin.name(), std::process::id()),
        plugin,
        xtask: PathBuf::from(env!("CARGO_BIN_EXE_xtask")),
    };
    let programs = programs(Profile::Debug)?;
    let learned = demo::learn(options, &programs, &directory, arguments, |_| ())?;
    demo::judge(&learned)
}

#[test]
fn the_truth_is_learned_over_ptp() {
    learn(Plugin::Ptp, &[]).unwrap();
}

#[test]
fn the_truth_is_learned_over_bridge_by_clsact() {
    learn(Plugin::Bridge, &["--attach", "clsact"]).unwrap();
}
