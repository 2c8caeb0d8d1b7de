//! `kubectl-netpol completion`: what makes a shell complete the command's words.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use netpol_common::COMMAND;

use super::kubectl;
use super::output::print;

/// Print a script that makes a shell complete subcommands and flags of kubectl-netpol
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL", env = "NETPOL_SHELL")]
    shell: Shell,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        let mut command = kubectl::Arguments::command();
        generate(self.shell, &mut command, COMMAND, &mut script);
        print(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
