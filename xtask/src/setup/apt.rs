//! Debian packages: only what is missing is installed, and no daemon of theirs is started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{command, say};

/// Asked by packages before they start a service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs those of `packages` that are missing. Tells whether there were any.
pub(super) fn install(packages: &[&str]) -> Result<bool> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(false);
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "this is not a Debian system, so set-up cannot install what is missing; install what Debian calls: {list}"
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("packages are missing; as root, run: apt-get install --no-install-recommends {list}");
    }
    say::progress(format_args!("set-up: installing {list}"));
    apt(&["update"]).context("refresh the list of packages")?;
    let _forbidden = Forbidden::new()?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(&arguments)
        .with_context(|| format!("install {list}; Debian 12 with its security updates has them"))?;
    Ok(true)
}

/// Those of `packages` that are not installed.
fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let known = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    absent(packages, &known)
}

/// Those of `packages` that `known`, lines of package and state, does not show as installed.
fn absent<'a>(packages: &[&'a str], known: &str) -> Vec<&'a str> {
    let installed = |package: &str| {
        known
            .lines()
            .any(|line| line.split_once(' ') == Some((package, "installed")))
    };
    packages
        .iter()
        .copied()
        .filter(|package| !installed(package))
        .collect()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.arg("--quiet")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    command::stream(&mut apt)
}

/// While this lives, packages start no services; an administrator's own policy is left as it is.
#[derive(Debug)]
struct Forbidden {
    ours: bool,
}

impl Forbidden {
    fn new() -> Result<Self> {
        let path = Path::new(POLICY);
        if path.exists() {
            return Ok(Self { ours: false });
        }
        fs::write(path, "#!/bin/sh\nexit 101\n").with_context(|| format!("write {POLICY}"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {POLICY} executable"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Forbidden {
    fn drop(&mut self) {
        if self.ours {
            // If it stays, services merely are not started by packages; the next run leaves it alone.
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts_as_present() {
        let known = "nftables installed\nnginx-light config-files\niproute2 installed\n";
        let wanted = ["iproute2", "nginx-light", "nftables", "redis-server"];
        assert_eq!(absent(&wanted, known), ["nginx-light", "redis-server"]);
    }
}
