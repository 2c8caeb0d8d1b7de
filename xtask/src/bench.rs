//! `cargo xtask bench`: runs benchmarks, which print their figures as lines of JSON, and keeps the latest of each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::lab::state::replace;
use crate::{command, say, setup, workspace};

/// The groups of benchmarks.
const GROUPS: &[Group] = &[
    Group {
        name: "agent",
        targets: &["agent"],
        with_kernel: true,
    },
    Group {
        name: "aggregator",
        targets: &["aggregator"],
        with_kernel: false,
    },
    Group {
        name: "coverage",
        targets: &["coverage"],
        with_kernel: false,
    },
    Group {
        name: "datapath",
        targets: &["datapath", "veth"],
        with_kernel: true,
    },
    Group {
        name: "policy",
        targets: &["policy"],
        with_kernel: false,
    },
];

struct Group {
    name: &'static str,
    /// Its bench targets of `netpol-agent`.
    targets: &'static [&'static str],
    /// Whether it needs the kernel crate and privileges.
    with_kernel: bool,
}

/// One figure.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
}

/// Runs one group, or all, prints a table and keeps the figures in `target/bench/results.jsonl`.
///
/// # Errors
///
/// If there is no such group, a benchmark fails, or prints no figure.
pub fn run(group: Option<&str>) -> Result<()> {
    let chosen: Vec<&Group> = GROUPS
        .iter()
        .filter(|known| group.is_none_or(|group| group == known.name))
        .collect();
    if chosen.is_empty() {
        let known: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        bail!(
            "no group {:?} of benchmarks; there is: {}",
            group.unwrap_or_default(),
            known.join(", ")
        );
    }
    if chosen.iter().any(|group| group.with_kernel) {
        setup::check_kernel()?;
    }
    for group in chosen {
        for target in group.targets {
            let figures = measure(target, group.with_kernel)?;
            if figures.is_empty() {
                bail!("the benchmark {target} printed no figure");
            }
            print(&figures);
            keep(&results(), figures)?;
        }
    }
    Ok(())
}

fn results() -> PathBuf {
    workspace().join("target/bench/results.jsonl")
}

fn measure(target: &str, with_kernel: bool) -> Result<Vec<Figure>> {
    let features: &[&str] = match with_kernel {
        true => &["--features", "bench"],
        false => &["--no-default-features"],
    };
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "bench",
            "--locked",
            "--package",
            "netpol-agent",
            "--bench",
            target,
        ])
        .args(features)
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo
        .output()
        .with_context(|| format!("start {}", command::line(&cargo)))?;
    if !output.status.success() {
        bail!("the benchmark {target} failed ({})", output.status);
    }
    Ok(figures(&String::from_utf8_lossy(&output.stdout)))
}

/// The figures among the lines; other lines are for people.
fn figures(text: &str) -> Vec<Figure> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn print(figures: &[Figure]) {
    let width = figures
        .iter()
        .map(|figure| figure.name.len())
        .max()
        .unwrap_or_default();
    for Figure { name, value, unit } in figures {
        say::result(format_args!("{name:width$}  {value:>14.3}  {unit}"));
    }
}

/// Replaces the figures of the same names in the file.
fn keep(path: &Path, new: Vec<Figure>) -> Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    let all: BTreeMap<String, Figure> = figures(&old)
        .into_iter()
        .chain(new)
        .map(|figure| (figure.name.clone(), figure))
        .collect();
    let mut text = String::new();
    for figure in all.values() {
        text.push_str(&serde_json::to_string(figure)?);
        text.push('\n');
    }
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    replace(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_figure_replaces_the_earlier_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bench/results.jsonl");
        let lines = |text: &str| keep(&path, figures(text)).unwrap();
        lines("warming up\n{\"name\":\"b\",\"value\":1.5,\"unit\":\"ns\"}\n");
        lines(
            "{\"name\":\"a\",\"value\":2.0,\"unit\":\"ns\"}\n{\"name\":\"b\",\"value\":3.0,\"unit\":\"ns\"}\n",
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"name\":\"a\",\"value\":2.0,\"unit\":\"ns\"}\n{\"name\":\"b\",\"value\":3.0,\"unit\":\"ns\"}\n"
        );
    }
}
