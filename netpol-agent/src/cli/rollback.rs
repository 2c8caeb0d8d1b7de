//! `kubectl-netpol rollback`: takes policies off without leaving the mode, and puts them on again.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::cluster::{ClusterFlags, NamespaceFlags, waiting};
use super::learned::{self, name_of, workload_of};
use super::output::print;
use crate::cluster::access::require;
use crate::crd::{LearnedPolicy, LearnedPolicySpec};

/// Take the policies of workloads off and keep them off, whatever the mode of their namespace; --undo puts them on again
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Workloads as Kind/name, or LearnedPolicies by name
    #[arg(
        value_name = "WORKLOAD",
        env = "NETPOL_WORKLOAD",
        value_delimiter = ',',
        required_unless_present = "every"
    )]
    workloads: Vec<String>,
    /// Every workload of the namespace
    #[arg(long, env = "NETPOL_EVERY", conflicts_with = "workloads")]
    every: bool,
    /// Let the policies be applied again, also those that were taken off automatically
    #[arg(long, env = "NETPOL_UNDO")]
    undo: bool,
    /// Ask the API server whether it would do it, and change nothing
    #[arg(long, env = "NETPOL_DRY_RUN")]
    dry_run: bool,
    #[command(flatten)]
    namespaces: NamespaceFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let session = self.cluster.open()?;
        let namespace = self.namespaces.of(&session);
        let cluster = session.cluster();
        let learned = waiting("reading the LearnedPolicies", || {
            session.wait(learned::list(cluster, namespace.as_deref()))
        })?;
        for learned in self.chosen(&learned)? {
            let name = name_of(learned);
            session.wait(require(cluster, learned::right(&name)))?;
            let change = learned::change(cluster, &name, self.dry_run, |spec, known| {
                self.write(spec, known);
            });
            let said = match (session.wait(change)?, self.undo) {
                (true, true) => "may be applied again",
                (true, false) => "is taken off, and stays off until --undo",
                (false, true) => "is not rolled back",
                (false, false) => "is rolled back already",
            };
            let dry = if self.dry_run {
                " (server dry run)"
            } else {
                ""
            };
            let line = format!(
                "learnedpolicy/{} in {}: the policy {said}{dry}\n",
                name.name, name.namespace
            );
            print(line.as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn chosen<'a>(&self, learned: &'a [LearnedPolicy]) -> anyhow::Result<Vec<&'a LearnedPolicy>> {
        if self.every {
            return Ok(learned.iter().collect());
        }
        let mut unknown: BTreeSet<&str> = self.workloads.iter().map(String::as_str).collect();
        let mut chosen = Vec::new();
        for learned in learned {
            let names = [name_of(learned).name, workload_of(learned)];
            if self
                .workloads
                .iter()
                .any(|workload| names.contains(workload))
            {
                unknown.retain(|name| !names.iter().any(|own| own == name));
                chosen.push(learned);
            }
        }
        match unknown.first() {
            None => Ok(chosen),
            Some(first) => bail!(
                "no workload {first:?} has a LearnedPolicy here: `kubectl get lp -A` lists them; -n says where to look"
            ),
        }
    }

    fn write(&self, spec: &mut LearnedPolicySpec, known: &LearnedPolicy) {
        if !self.undo {
            spec.roll_back = Some(true);
            return;
        }
        spec.roll_back = None;
        let rollback = known
            .status
            .as_ref()
            .and_then(|status| status.rollback.as_ref());
        if let Some(rollback) = rollback {
            spec.acknowledged_rollback = Some(rollback.id.clone());
        }
    }
}
