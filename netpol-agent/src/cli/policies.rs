//! Which policies a command judges by: those in the inventory, or those that `--policies` names instead.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::origin::Policies;
use super::output::warn;
use crate::inventory::{self, Inventory, OtherPolicy, SourcedPolicy};

/// How many objects of other policy APIs are named one by one.
const NAMED: usize = 10;

/// The flag that every command takes which gives verdicts.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyFlag {
    /// NetworkPolicies to judge by instead of those in the inventory: a file, a directory, or - for stdin; may be
    /// repeated
    #[arg(long, short = 'p', env = "NETPOL_POLICIES", value_name = "PATH")]
    pub policies: Vec<PathBuf>,
}

impl PolicyFlag {
    /// Whether the policies in force are judged by.
    pub(super) fn wanted(&self) -> Policies {
        match self.policies.is_empty() {
            true => Policies::InForce,
            false => Policies::Aside,
        }
    }

    /// The policies to judge by. Tells on stderr what a person should know of them, and names the policies of other
    /// APIs, which no verdict looks at.
    ///
    /// # Errors
    /// What cannot be read, and policies that the API server would reject.
    pub fn load(&self, inventory: &Inventory) -> anyhow::Result<Vec<NetworkPolicy>> {
        let sourced = self.load_sourced(inventory)?;
        Ok(sourced.into_iter().map(|each| each.policy).collect())
    }

    /// As [`load`](Self::load), with the file that each policy came from.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_sourced(&self, inventory: &Inventory) -> anyhow::Result<Vec<SourcedPolicy>> {
        if self.policies.is_empty() {
            tell_others(&inventory.other_policies);
            return Ok(inventory.policies.clone());
        }
        let read = read(&self.policies)?;
        let others = &inventory.other_policies | &read.other_policies;
        tell_others(&others);
        Ok(read.policies)
    }
}

/// Reads policies, and tells on stderr what a person should know of them.
///
/// # Errors
/// As [`PolicyFlag::load`].
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Inventory> {
    let read = inventory::read_policies(paths)?;
    read.warnings.iter().for_each(warn);
    if read.policies.is_empty() {
        let paths: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let paths = paths.join(", ");
        warn(format_args!("policies: no NetworkPolicy in {paths}"));
    }
    Ok(read)
}

/// Names the objects of other policy APIs in one warning.
pub fn tell_others(others: &BTreeSet<OtherPolicy>) {
    if others.is_empty() {
        return;
    }
    let mut named: Vec<String> = others
        .iter()
        .take(NAMED)
        .map(OtherPolicy::to_string)
        .collect();
    if let Some(more @ 1..) = others.len().checked_sub(NAMED) {
        named.push(format!("and {more} more"));
    }
    let named = named.join(", ");
    warn(format_args!(
        "policies of other APIs are not judged, and may allow or deny besides: {named}"
    ));
}
