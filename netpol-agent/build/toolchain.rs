//! Which toolchain can build the kernel program here.

use std::path::Path;
use std::process::{Command, Stdio};

/// The rustup name of the toolchain made of Debian's packages.
pub(crate) const DEBIAN: &str = "bpf";

/// What was found on this machine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    /// A rustup toolchain `nightly` with the component `rust-src`.
    pub(crate) nightly_with_source: bool,
    /// A rustup toolchain [`DEBIAN`] with a ready `core` for the bpf target.
    pub(crate) debian: bool,
    /// `bpf-linker` on the path.
    pub(crate) linker: bool,
}

/// The toolchain to build with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    /// `nightly`, building `core` itself.
    Nightly,
    /// [`DEBIAN`], whose `core` is ready.
    Debian,
}

/// Chooses a toolchain.
///
/// # Errors
///
/// What to install, if there is none.
pub(crate) fn choose(found: &Found) -> Result<Choice, String> {
    let choice = match (found.nightly_with_source, found.debian) {
        (true, _) => Some(Choice::Nightly),
        (false, true) => Some(Choice::Debian),
        (false, false) => None,
    };
    let missing: Vec<&str> = [
        choice.is_none().then_some(
            "a toolchain for the bpf target: either `rustup toolchain install nightly --component rust-src`, or on \
             Debian 12 `apt-get install rustc-web libstd-rust-web-dev-bpf` and `rustup toolchain link bpf /usr`",
        ),
        (!found.linker).then_some(
            "bpf-linker: `cargo install bpf-linker@0.13.0` (on Debian 12 with `llvm-22-dev libpolly-22-dev \
             zlib1g-dev libzstd-dev libxml2-dev` and `LLVM_PREFIX=/usr/lib/llvm-22`, `--no-default-features \
             --features llvm-22`)",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    match choice {
        Some(choice) if missing.is_empty() => Ok(choice),
        _ => Err(format!(
            "the kernel program cannot be built here; `cargo xtask setup` installs what is missing, which is {} \
             (without the kernel program: `cargo build -p netpol-agent --no-default-features`)",
            missing.join("; and ")
        )),
    }
}

/// Looks at what this machine has. Installs nothing.
pub(crate) fn probe() -> Found {
    let has = |toolchain: &str, path: &str| {
        sysroot(toolchain).is_some_and(|root| Path::new(&root).join(path).is_dir())
    };
    Found {
        nightly_with_source: has("nightly", "lib/rustlib/src/rust/library/core"),
        debian: has(DEBIAN, "lib/rustlib/bpfel-unknown-none"),
        linker: succeeds(Command::new("bpf-linker").arg("--version")),
    }
}

fn sysroot(toolchain: &str) -> Option<String> {
    let output = Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

// A build script has no tests of its own; those of `xtask`, which uses this file too, run them.
#[cfg(test)]
mod tests {
    use super::*;

    fn found(nightly_with_source: bool, debian: bool, linker: bool) -> Found {
        Found {
            nightly_with_source,
            debian,
            linker,
        }
    }

    #[test]
    fn a_nightly_with_source_is_preferred_to_debian() {
        assert_eq!(choose(&found(true, true, true)), Ok(Choice::Nightly));
        assert_eq!(choose(&found(true, false, true)), Ok(Choice::Nightly));
        assert_eq!(choose(&found(false, true, true)), Ok(Choice::Debian));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        let (toolchain, linker) = (
            "rustup toolchain install nightly",
            "cargo install bpf-linker",
        );
        for (found, toolchain_missing, linker_missing) in [
            (found(false, false, false), true, true),
            (found(false, false, true), true, false),
            (found(true, false, false), false, true),
            (found(false, true, false), false, true),
        ] {
            let error = choose(&found).unwrap_err();
            assert_eq!(error.contains(toolchain), toolchain_missing, "{error}");
            assert_eq!(error.contains(linker), linker_missing, "{error}");
            assert!(
                error.contains("cargo xtask setup") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
