//! `kubectl-netpol diff`: what becomes allowed and what denied from one set of policies to another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::cluster::NamespaceFlags;
use super::inputs::check_stdin;
use super::learned;
use super::origin::{Objects, Origin, Policies};
use super::output::print;
use super::parties;
use super::policies;
use super::reading::ReadingFlags;
use super::wording;
use crate::inventory::Inventory;
use crate::policy::diff::{Change, Difference, Latent, diff};
use crate::policy::evaluate::{Way, World};

/// Tell what becomes allowed and what denied from policies A to policies B; exit with 1 if anything does
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The policies before: a file, a directory, or - for stdin. With only one of the two given, those in force are
    /// the policies before; with none, those that netpol proposes are the policies after
    #[arg(value_name = "A", env = "NETPOL_DIFF_A")]
    first: Option<PathBuf>,
    /// The policies after: a file, a directory, or - for stdin
    #[arg(value_name = "B", env = "NETPOL_DIFF_B", requires = "first")]
    second: Option<PathBuf>,
    #[command(flatten)]
    objects: Objects,
    #[command(flatten)]
    namespaces: NamespaceFlags,
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
        let given = self.first.iter().chain(&self.second);
        check_stdin(self.objects.inventory.iter().chain(given))?;
        let mut origin = self.objects.open()?;
        let in_force = match self.second {
            Some(_) => Policies::Aside,
            None => Policies::InForce,
        };
        let mut inventory = origin.inventory(in_force)?;
        let (before, after) = self.sides(&origin, &inventory)?;
        let world = World::of(&inventory.take_index());
        let found = diff(&world, &before, &after, self.reading.reading());
        let text = match self.output {
            Format::Text => words(&found),
            Format::Json => json(&found),
        };
        print(text.as_bytes())?;
        Ok(ExitCode::from(u8::from(!found.is_empty())))
    }

    /// The policies before and after.
    fn sides(&self, origin: &Origin<'_>, inventory: &Inventory) -> anyhow::Result<Sides> {
        let in_force = || {
            let sourced = inventory.policies.iter();
            sourced.map(|each| each.policy.clone()).collect()
        };
        match (&self.first, &self.second, origin) {
            (Some(before), Some(after), _) => Ok((load(before)?, load(after)?)),
            (Some(after), None, _) => {
                policies::tell_others(&inventory.other_policies);
                Ok((in_force(), load(after)?))
            }
            (None, _, Origin::Files(_)) => {
                bail!(
                    "name the policies to compare: two files or directories, or one to compare with those in the inventory"
                )
            }
            (None, _, Origin::Cluster(live)) => {
                let namespace = self.namespaces.of(&live.session);
                let cluster = live.session.cluster();
                let learned = learned::list(cluster, namespace.as_deref());
                let proposed = learned::proposals(&live.session.wait(learned)?);
                let before: Vec<NetworkPolicy> = in_force();
                let after = replaced(&before, proposed);
                Ok((before, after))
            }
        }
    }
}

/// The policies before and after.
type Sides = (Vec<NetworkPolicy>, Vec<NetworkPolicy>);

/// Policies with others of the same name in their place, and those that are new.
fn replaced(policies: &[NetworkPolicy], by: Vec<NetworkPolicy>) -> Vec<NetworkPolicy> {
    let key = |policy: &NetworkPolicy| {
        let metadata = &policy.metadata;
        (metadata.namespace.clone(), metadata.name.clone())
    };
    let names: BTreeSet<_> = by.iter().map(key).collect();
    let kept = policies
        .iter()
        .filter(|policy| !names.contains(&key(policy)));
    kept.cloned().chain(by).collect()
}

fn load(path: &Path) -> anyhow::Result<Vec<NetworkPolicy>> {
    let read = policies::read(&[path.to_owned()])?;
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
