//! Schemathesis, which a test asks the API of the aggregator with: in a Python environment of its own below `target`.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{command, say, workspace};

/// The package, and everything that it needs, each at one version.
const REQUIREMENTS: &str = include_str!("../../requirements.txt");

/// Installs it unless it is there. Tells whether it was not.
pub(super) fn prepare() -> Result<bool> {
    let environment = workspace().join("target/schemathesis");
    // Written last, so that what was interrupted is made anew.
    let made = environment.join("requirements.txt");
    if fs::read_to_string(&made).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(false);
    }
    say::progress("set-up: installing schemathesis from PyPI");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&environment);
    command::stream(&mut venv).context("make a Python environment")?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-input", "--no-deps"])
        .args(["--disable-pip-version-check", "--only-binary", ":all:"])
        .args(["--requirement", "xtask/requirements.txt"])
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    command::stream(&mut pip).context("install what xtask/requirements.txt lists")?;
    fs::write(&made, REQUIREMENTS).with_context(|| format!("write {}", made.display()))?;
    Ok(true)
}
