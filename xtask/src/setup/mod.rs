//! `cargo xtask setup`: everything that building, the lab and the tests need, and nothing that is there already.
//!
//! It never downloads a compiler toolchain: the kernel crate is built by a rustup nightly with `rust-src` where there
//! is one, else by Debian's packages.

mod apt;
mod kernel;

use anyhow::Result;

use crate::say;

/// What the lab and the end-to-end tests run.
const LAB: &[&str] = &[
    "containernetworking-plugins",
    "dnsmasq-base",
    "iproute2",
    "nftables",
    "nginx-light",
    "postgresql",
    "redis-server",
];

/// Installs whatever is missing.
///
/// # Errors
///
/// If something is missing and cannot be had here; the message says what to install.
pub fn run() -> Result<()> {
    let mut wanted = LAB.to_vec();
    wanted.extend(kernel::packages());
    let installed = apt::install(&wanted)?;
    let built = kernel::prepare()?;
    if installed || built {
        say::progress("set-up: done");
    }
    Ok(())
}

/// Checks that the kernel crate can be built here.
///
/// # Errors
///
/// Names what to install.
pub fn check_kernel() -> Result<()> {
    kernel::check()
}
