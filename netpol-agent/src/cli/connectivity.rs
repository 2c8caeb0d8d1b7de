//! `kubectl-netpol connectivity`: all that policies allow.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::inputs::check_stdin;
use super::origin::Objects;
use super::output::print;
use super::parties;
use super::policies::PolicyFlag;
use super::reading::ReadingFlags;
use crate::policy::connectivity::{Connectivity, connectivity};
use crate::policy::evaluate::World;

/// List all that policies allow between workloads, and between workloads and addresses
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    objects: Objects,
    #[command(flatten)]
    policies: PolicyFlag,
    #[command(flatten)]
    reading: ReadingFlags,
    /// How to print it
    #[arg(
        long,
        short,
        env = "NETPOL_CONNECTIVITY_OUTPUT",
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table
    Table,
    /// One JSON list
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        check_stdin(self.objects.inventory.iter().chain(&self.policies.policies))?;
        let mut inventory = self.objects.read(self.policies.wanted())?;
        let policies = self.policies.load(&inventory)?;
        let world = World::of(&inventory.take_index());
        let found = connectivity(&world, &policies, self.reading.reading());
        let text = match self.output {
            Format::Table => table(&found),
            Format::Json => json(&found),
        };
        print(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn json(found: &Connectivity) -> String {
    let entries = found.entries();
    parties::list(entries.map(|entry| parties::json(entry.from, entry.to, entry.ports)))
}

/// Addresses of which the same is said share a row.
fn table(found: &Connectivity) -> String {
    let entries = found.entries();
    let parts = entries.map(|entry| (entry.from, entry.to, entry.ports));
    let rows = parties::joined(parts).into_iter();
    parties::table(["FROM", "TO", "PORTS"], rows)
}
