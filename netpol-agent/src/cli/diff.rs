//! `kubectl-netpol diff`: what becomes allowed and what denied from one set of policies to another.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::inputs::check_stdin;
use super::output::{print, warn};
use super::parties;
use super::policies;
use super::reading::ReadingFlags;
use super::wording;
use crate::inventory;
use crate::policy::diff::{Change, Difference, Latent, diff};
use crate::policy::evaluate::{Way, World};

/// Tell what becomes allowed and what denied from policies A to policies B; exit with 1 if anything does
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The policies before: a file, a directory, or - for stdin
    #[arg(value_name = "A", env = "NETPOL_DIFF_A")]
    before: PathBuf,
    /// The policies after: a file, a directory, or - for stdin
    #[arg(value_name = "B", env = "NETPOL_DIFF_B")]
    after: PathBuf,
    /// Kubernetes objects: a file, a directory, or - for stdin; may be repeated. Policies among them do not count
    #[arg(
        long,
        short = 'i',
        env = "NETPOL_INVENTORY",
        value_name = "PATH",
        required = true
    )]
    inventory: Vec<PathBuf>,
    #[command(flatten)]
    reading: ReadingFlags,
    /// How to print it
    #[arg(
        long,
        short,
        env = "NETPOL_DIFF_OUTPUT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Words
    Text,
    /// One JSON document
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        check_stdin(self.inventory.iter().chain([&self.before, &self.after]))?;
        let mut inventory = inventory::read(&self.inventory)?;
        inventory.warnings.iter().for_each(warn);
        let (before, after) = (load(self.before)?, load(self.after)?);
        let world = World::of(&inventory.take_index());
        let found = diff(&world, &before, &after, self.reading.reading());
        let text = match self.output {
            Format::Text => words(&found),
            Format::Json => json(&found),
        };
        print(text.as_bytes())?;
        Ok(ExitCode::from(u8::from(!found.is_empty())))
    }
}

fn load(path: PathBuf) -> anyhow::Result<Vec<NetworkPolicy>> {
    let read = policies::read(&[path])?;
    policies::tell_others(&read.other_policies);
    Ok(read.policies.into_iter().map(|each| each.policy).collect())
}

fn json(found: &Difference) -> String {
    let changes = |changes: &[Change]| -> Vec<Value> { changes.iter().map(change).collect() };
    let latent = found.latent.iter().map(|latent| {
        let mut entry = change(&latent.change);
        entry["direction"] = json!(direction(latent.way));
        entry["change"] = json!(if latent.allows { "allowed" } else { "denied" });
        entry
    });
    let document = json!({
        "becomesAllowed": changes(&found.allowed),
        "becomesDenied": changes(&found.denied),
        "latent": latent.collect::<Vec<Value>>(),
    });
    format!("{document:#}\n")
}

fn change(change: &Change) -> Value {
    parties::json(&change.from, &change.to, &change.ports)
}

fn words(found: &Difference) -> String {
    let mut text = String::new();
    section(&mut text, "Becomes allowed:", &sentences(&found.allowed));
    section(&mut text, "Becomes denied:", &sentences(&found.denied));
    if found.is_empty() {
        text.push_str("No connection becomes allowed or denied.\n");
    }
    let latent: Vec<String> = found.latent.iter().map(latent).collect();
    section(&mut text, LATENT, &latent);
    text
}

const LATENT: &str = "Changes at one end only; the other end denies it before and after:";

fn section(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        text.push_str(&format!("{title}\n"));
        lines
            .iter()
            .for_each(|line| text.push_str(&format!("  {line}\n")));
    }
}

/// One line for each pair of workloads, and for each workload with all addresses of which the same is said.
fn sentences(changes: &[Change]) -> Vec<String> {
    let parts = changes
        .iter()
        .map(|change| (&change.from, &change.to, &change.ports));
    let joined = parties::joined(parts).into_iter();
    let line = |[from, to, ports]: [String; 3]| format!("{from} to {to}: {ports}");
    joined.map(line).collect()
}

fn latent(latent: &Latent) -> String {
    let verb = if latent.allows {
        "newly allows"
    } else {
        "no longer allows"
    };
    let Change { from, to, ports } = &latent.change;
    let (way, ports) = (direction(latent.way), wording::ports(ports));
    format!("{way} {verb} {from} to {to}: {ports}")
}

fn direction(way: Way) -> &'static str {
    match way {
        Way::Ingress => "ingress",
        Way::Egress => "egress",
    }
}
