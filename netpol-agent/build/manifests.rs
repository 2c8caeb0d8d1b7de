//! Puts the plain manifests into the program, so that it can install what it belongs to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context as _;

/// Where they are, below this crate.
const MANIFESTS: &str = "../deploy/manifests";

/// Writes a list of the manifests, by name, for the library to include.
pub(crate) fn embed() -> anyhow::Result<()> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets it")?);
    let directory = own.join(MANIFESTS);
    println!("cargo:rerun-if-changed={MANIFESTS}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let mut list = String::from("&[\n");
    for path in files(&directory)? {
        let name = path.file_name().context("a file has a name")?;
        writeln!(list, "({name:?}, include_str!({path:?})),")?;
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets it")?);
    fs::write(out.join("manifests.rs"), list).context("writing the list of manifests")
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context("listing the manifests")? {
        let path = entry.context("listing the manifests")?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path.canonicalize().context("finding a manifest")?);
        }
    }
    files.sort();
    Ok(files)
}
