//! `kubectl-netpol man`: a manual page for each command, for packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::kubectl;

/// Write a manual page for each command
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Where to write them; made if it is absent
    #[arg(long, value_name = "DIR", env = "NETPOL_OUT_DIR")]
    out_dir: PathBuf,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let dir = &self.out_dir;
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        // The name with a space in it is for people; pages are found by the other.
        let mut command = kubectl::Arguments::command()
            .bin_name(netpol_common::COMMAND)
            .disable_help_subcommand(true);
        command.build();
        write(dir, command.clone())?;
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            write(dir, sub.clone())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(dir: &Path, command: Command) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = dir.join(format!("{name}.1"));
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .and_then(|()| fs::write(&path, page))
        .with_context(|| format!("{} cannot be written", path.display()))
}
