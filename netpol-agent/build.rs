//! Embeds the manifests, and builds the kernel program for the bpf target, so that the library can embed it.

#[path = "build/manifests.rs"]
mod manifests;
#[cfg(feature = "ebpf")]
#[path = "build/toolchain.rs"]
mod toolchain;

#[cfg(feature = "ebpf")]
fn main() -> anyhow::Result<()> {
    manifests::embed()?;
    program::build()
}

#[cfg(not(feature = "ebpf"))]
fn main() -> anyhow::Result<()> {
    manifests::embed()
}

#[cfg(feature = "ebpf")]
mod program {
    use std::path::Path;

    use anyhow::{Context as _, anyhow};
    use aya_build::{Package, Toolchain, build_ebpf};

    use super::toolchain::{self, Choice};

    /// The benchmark measures by classifiers of its own; debug builds log.
    fn features() -> &'static [&'static str] {
        let debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
        match (cfg!(feature = "bench"), debug) {
            (true, _) => &["program", "bench"],
            (false, true) => &["program", "log"],
            (false, false) => &["program"],
        }
    }

    pub(super) fn build() -> anyhow::Result<()> {
        let choice = toolchain::choose(&toolchain::probe()).map_err(|missing| anyhow!(missing))?;
        if choice == Choice::Debian {
            // The two crates with inline assembly of the bpf target, which is unstable.
            let crates = "aya_ebpf,netpol_ebpf";
            // SAFETY: a build script has one thread, and nothing has read the environment yet.
            unsafe { std::env::set_var("RUSTC_BOOTSTRAP", crates) };
        }
        let manifest = std::env::var("CARGO_MANIFEST_DIR").context("cargo sets it")?;
        let source = Path::new(&manifest).join("../netpol-ebpf/src");
        let source = source
            .to_str()
            .context("the path of the kernel crate is not UTF-8")?;
        build_ebpf(
            [Package {
                name: "netpol-ebpf",
                root_dir: source,
                no_default_features: false,
                features: features(),
            }],
            match choice {
                Choice::Nightly => Toolchain::Nightly,
                Choice::Debian => Toolchain::Custom(toolchain::DEBIAN),
            },
        )
        .context("building the kernel program; `cargo xtask setup` checks what it needs")
    }
}
