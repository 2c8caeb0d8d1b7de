//! `cargo xtask deploy`: from the chart to what is committed beside it.
//!
//! The chart is the source. The plain manifests are its templates, rendered with the default values; hooks, which Helm
//! runs when it uninstalls, go into a folder beside theirs, so that nobody who applies a folder with all that is below it runs
//! them. The chart's
//! template of the custom resource is itself made, from the Rust types, and so is the table of values in its README.

pub mod chart;
pub mod crd;
pub mod template;
pub mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{say, workspace};
use chart::{Chart, Rendered};

/// What every made file says first.
const MADE: &str = "# Made by `cargo xtask deploy` from deploy/chart: change that instead.\n";

/// Where the chart is, below the workspace.
#[must_use]
pub fn chart_directory() -> PathBuf {
    workspace().join("deploy/chart")
}

/// Writes everything that is made, and removes manifests whose template is gone.
///
/// # Errors
///
/// If the chart is not as it must be, or a file cannot be written.
pub fn run() -> Result<()> {
    let deploy = workspace().join("deploy");
    let made = made(&chart_directory())?;
    for stale in stale(&deploy, &made)? {
        fs::remove_file(&stale).with_context(|| format!("remove {}", stale.display()))?;
    }
    for (path, text) in &made {
        let path = deploy.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    say::progress(format_args!("wrote {} files below deploy", made.len()));
    Ok(())
}

/// Every file that is made, by its path below `deploy`.
///
/// # Errors
///
/// If the chart is not as it must be.
pub fn made(chart: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let definition = crd::template()?;
    let rendered = Chart::read(chart)?.with_template(crd::TEMPLATE, &definition);
    let rendered = rendered.render(rendered.values())?;
    let mut files: BTreeMap<PathBuf, String> = rendered
        .iter()
        .map(|rendered| (rendered.path(), rendered.file()))
        .collect();
    files.insert(Path::new("chart").join(crd::TEMPLATE), definition);
    let readme = chart.join("README.md");
    let text = fs::read_to_string(&readme).with_context(|| format!("read {}", readme.display()))?;
    let table = values::table(&chart.join("values.yaml"))?;
    let text = values::with_table(&text, &table).context("read the chart's README")?;
    files.insert("chart/README.md".into(), text);
    Ok(files)
}

/// Manifests on disk that nothing makes any more.
///
/// # Errors
///
/// If a folder cannot be listed.
pub fn stale(deploy: &Path, made: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [Path::new(MANIFESTS), Path::new(HOOKS)] {
        let Ok(entries) = fs::read_dir(deploy.join(folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", folder.display()))?;
            let path = entry.path();
            if path.is_file() && !made.contains_key(&folder.join(entry.file_name())) {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

const MANIFESTS: &str = "manifests";
const HOOKS: &str = "uninstall";

impl Rendered {
    /// Where the manifest is kept, below `deploy`.
    fn path(&self) -> PathBuf {
        let folder = if self.hook { HOOKS } else { MANIFESTS };
        Path::new(folder).join(&self.name)
    }

    fn file(&self) -> String {
        format!("{MADE}{}", self.text)
    }
}
