//! `cargo xtask setup`: everything that building, the lab and the tests need, and nothing that is there already.
//!
//! It never downloads a compiler toolchain: the kernel crate is built by a rustup nightly with `rust-src` where there
//! is one, else by Debian's packages.

mod apt;
mod kernel;
mod schemathesis;

use anyhow::Result;

use crate::say;

/// What the lab and the demo run.
const LAB: &[&str] = &[
    "containernetworking-plugins",
    "dnsmasq-base",
    "iproute2",
    "nftables",
    "nginx-light",
    "redis-server",
];

/// What only tests run.
const TESTS: &[&str] = &["postgresql", "python3-venv"];

/// Installs whatever is missing of what building and the lab need.
///
/// # Errors
///
/// If something is missing and cannot be had here; the message says what to install.
pub fn run() -> Result<()> {
    say_if(prepare(LAB)?);
    Ok(())
}

/// The same, with what the tests need besides.
///
/// # Errors
///
/// As [`run`].
pub fn for_tests() -> Result<()> {
    let prepared = prepare(&[LAB, TESTS].concat())?;
    let made = schemathesis::prepare()?;
    say_if(prepared || made);
    Ok(())
}

/// Tells whether something was missing.
fn prepare(packages: &[&'static str]) -> Result<bool> {
    let mut wanted = packages.to_vec();
    wanted.extend(kernel::packages());
    let installed = apt::install(&wanted)?;
    let built = kernel::prepare()?;
    Ok(installed || built)
}

fn say_if(done: bool) {
    if done {
        say::progress("set-up: done");
    }
}

/// Checks that the kernel crate can be built here.
///
/// # Errors
///
/// Names what to install.
pub fn check_kernel() -> Result<()> {
    kernel::check()
}
