//! What the kernel crate is built with.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow};

use self::toolchain::{Choice, choose, probe};
use crate::{command, say, workspace};

#[path = "../../../netpol-agent/build/toolchain.rs"]
mod toolchain;

/// The version of the linker that goes with Debian's LLVM.
const LINKER: &str = "bpf-linker@0.13.0";

/// Debian's way: a compiler with a ready `core` for the bpf target, and what its linker is made of.
const PACKAGES: &[&str] = &[
    "libpolly-22-dev",
    "libstd-rust-web-dev-bpf",
    "libxml2-dev",
    "libzstd-dev",
    "llvm-22-dev",
    "rustc-web",
    "zlib1g-dev",
];

/// The packages that building the kernel crate needs here: none where it can be built already or where nightly does.
pub(super) fn packages() -> &'static [&'static str] {
    let found = probe();
    if choose(&found).is_ok() || found.nightly_with_source {
        return &[];
    }
    PACKAGES
}

/// Makes the toolchain and the linker ready. Tells whether anything was to be done.
pub(super) fn prepare() -> Result<bool> {
    let found = probe();
    if choose(&found).is_ok() {
        return Ok(false);
    }
    if !found.nightly_with_source && !found.debian {
        say::progress("set-up: linking the toolchain `bpf` to Debian's compiler");
        let mut link = Command::new("rustup");
        command::run(link.args(["toolchain", "link", toolchain::DEBIAN, "/usr"]))
            .context("link the toolchain; rustup is needed for that")?;
    }
    if !found.linker {
        install_linker(found.nightly_with_source)?;
    }
    check()?;
    Ok(true)
}

/// Checks that the kernel crate can be built.
pub(super) fn check() -> Result<()> {
    let (Choice::Nightly | Choice::Debian) =
        choose(&probe()).map_err(|missing| anyhow!(missing))?;
    Ok(())
}

fn install_linker(nightly: bool) -> Result<()> {
    say::progress(format_args!("set-up: building {LINKER}"));
    let mut install = Command::new("cargo");
    install
        .args(["install", "--locked", LINKER])
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    if !nightly {
        install
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", "/usr/lib/llvm-22");
    }
    command::stream(&mut install).context("build bpf-linker")
}
