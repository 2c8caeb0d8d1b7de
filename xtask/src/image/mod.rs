//! `cargo xtask image`: the container image as an OCI archive, made without an engine and without a network.
//!
//! It holds what the Dockerfile puts into an image: both programs, linked statically, and one line of configuration for
//! their resolver. The same programs make the same bytes: no time, no owner and no order of this machine goes in.

pub mod archive;
pub mod elf;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::build::{self, Profile, Programs};
use crate::deploy::chart::Chart;
use crate::deploy::chart_directory;
use crate::{say, workspace};
use archive::Entry;

/// What the image's files are called, and what the container runs.
pub const ENTRYPOINT: &str = "/netpol-agent";
/// Who the container runs as, unless its pod says otherwise: nobody in particular, and not root.
pub const USER: &str = "65532:65532";
/// Where the C library's resolver looks names up, so that it does not hang on what its version does without being told.
const RESOLVER: &str = "hosts: files dns\n";

/// Builds the programs and writes the archive, and the same files for the Dockerfile beside it.
///
/// # Errors
///
/// If the build fails, a program is not static, or a file cannot be written.
pub fn run(output: Option<PathBuf>) -> Result<()> {
    let directory = workspace().join("target/image");
    let output = output.unwrap_or_else(|| directory.join("netpol-agent.oci.tar"));
    let entries = entries(&build::static_programs(Profile::Release)?)?;
    stage(&entries, &directory.join("root"))?;
    let reference = reference()?;
    let image = archive::image(&reference, &entries)?;
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    fs::write(&output, &image.bytes).with_context(|| format!("write {}", output.display()))?;
    say::progress(format_args!(
        "wrote {} ({:.1} MiB): {reference}, {}",
        output.display(),
        mib(image.bytes.len()),
        image.digest
    ));
    Ok(())
}

fn mib(bytes: usize) -> f64 {
    // A size of some megabytes is exact in a double.
    bytes as f64 / f64::from(1 << 20)
}

/// The files of the image.
///
/// # Errors
///
/// If a program cannot be read, or is not static.
pub fn entries(programs: &Programs) -> Result<Vec<Entry>> {
    Ok(vec![
        Entry::directory("etc"),
        Entry::file("etc/nsswitch.conf", 0o644, RESOLVER.into()),
        program("kubectl-netpol", &programs.kubectl)?,
        program("netpol-agent", &programs.agent)?,
    ])
}

fn program(name: &str, path: &Path) -> Result<Entry> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if let Some(needed) = elf::needs(&bytes).with_context(|| format!("read {}", path.display()))? {
        bail!(
            "{} is not static: it needs {needed}, which an image made from scratch does not have",
            path.display()
        );
    }
    Ok(Entry::file(name, 0o755, bytes))
}

/// The image's whole name: the chart's default, as a node's container runtime spells it.
///
/// # Errors
///
/// If the chart does not say.
pub fn reference() -> Result<String> {
    let chart = Chart::read(&chart_directory())?;
    let repository = chart.values()["image"]["repository"]
        .as_str()
        .context("values.yaml has no image.repository")?;
    let first = repository.split('/').next().unwrap_or_default();
    // What has no host in front is taken to be of this registry, by every runtime.
    let host = if first.contains(['.', ':']) {
        ""
    } else {
        "docker.io/"
    };
    Ok(format!("{host}{repository}:{}", chart.app_version()?))
}

/// Writes the image's files to a folder, for the Dockerfile.
fn stage(entries: &[Entry], root: &Path) -> Result<()> {
    for entry in entries {
        let path = root.join(&entry.path);
        match &entry.content {
            None => fs::create_dir_all(&path),
            Some(content) => fs::create_dir_all(root).and_then(|()| fs::write(&path, content)),
        }
        .with_context(|| format!("write {}", path.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(entry.mode);
        fs::set_permissions(&path, mode)
            .with_context(|| format!("set the mode of {}", path.display()))?;
    }
    Ok(())
}
