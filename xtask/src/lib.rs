//! Set-up, build, lab, demo, test and bench of netpol, as a library for the end-to-end tests.

pub mod agent;
pub mod bench;
pub mod build;
pub mod check;
pub mod command;
pub mod compare;
pub mod demo;
pub mod deploy;
pub mod image;
pub mod lab;
pub mod learn;
pub mod say;
pub mod setup;

use std::path::{Path, PathBuf};

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
