//! `kubectl-netpol learn`, `audit` and `enforce`: what is done in a namespace.
//!
//! The label of the namespace says it, so that the API server judges who may and its audit log tells who did.

mod force;
mod foretell;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use netpol_common::names::cluster::MODE_LABEL;
use serde_json::json;

use super::cluster::{ClusterFlags, waiting};
use super::learned::{self, FIELD_MANAGER};
use super::output::{print, warn};
use crate::cluster::access::{Right, require};
use crate::cluster::{Cluster, ClusterError};
use crate::control::Namespace as Said;
use crate::crd::Mode;

/// What is done in a namespace from now on.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The namespace
    #[arg(value_name = "NAMESPACE", env = "NETPOL_NAMESPACE")]
    namespace: String,
    /// Wait until every workload of the namespace is there, and tell which are refused and why
    #[arg(long, env = "NETPOL_WAIT")]
    wait: bool,
    /// How long to wait, as in 90s or 10m; enforcing goes in steps
    #[arg(
        long,
        env = "NETPOL_TIMEOUT",
        value_name = "TIME",
        default_value = "15m",
        value_parser = time
    )]
    timeout: Duration,
    /// Ask the API server whether it would do it, and change nothing
    #[arg(long, env = "NETPOL_DRY_RUN", conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Arguments {
    pub(super) fn run(self, mode: Mode) -> anyhow::Result<ExitCode> {
        let session = self.cluster.open()?;
        let cluster = session.cluster();
        let (done, said) = waiting("labelling the namespace", || {
            session.wait(self.label(cluster, mode))
        })?;
        print(done.as_bytes())?;
        let learned = session.wait(learned::list(cluster, Some(&self.namespace)));
        match learned {
            Ok(learned) if learned.is_empty() => warn(format_args!(
                "namespace {} has no LearnedPolicy yet: they come as traffic is seen",
                self.namespace
            )),
            Ok(learned) if !self.wait && mode == Mode::Enforce => {
                foretell::foretell(&learned, &self.namespace, &said);
            }
            Ok(_) => {}
            Err(error) if self.wait => return Err(error.into()),
            Err(error) => warn(format_args!("what becomes of it cannot be told: {error}")),
        }
        if self.wait {
            let asked = wait::Asked {
                namespace: &self.namespace,
                mode,
                force: said.force,
            };
            return wait::wait(&session, &asked, self.timeout);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Sets the label. Returns what to say of it, and what else people say about the namespace.
    async fn label(&self, cluster: &Cluster, mode: Mode) -> anyhow::Result<(String, Said)> {
        let name = &self.namespace;
        let known = learned::namespace(cluster, name).await;
        let known = known.map_err(|error| match error {
            ClusterError::NotFound { .. } => anyhow::anyhow!("there is no namespace {name:?}"),
            error => error.into(),
        })?;
        let right = Right {
            verb: "patch",
            group: "",
            resource: "namespaces",
            namespace: None,
            name: Some(name),
        };
        require(cluster, right).await?;
        let said = Said::of(&known.metadata);
        if said.mode.as_deref() == Some(mode.word()) {
            let done = format!(
                "namespace/{name} is labelled {MODE_LABEL}={} already\n",
                mode.word()
            );
            return Ok((done, said));
        }
        let api: Api<Namespace> = Api::all(cluster.client.clone());
        let patch = Patch::Merge(json!({"metadata": {"labels": {MODE_LABEL: mode.word()}}}));
        let parameters = PatchParams {
            dry_run: self.dry_run,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = api.patch(name, &parameters, &patch);
        cluster.ask(right, patched).await?;
        let dry = if self.dry_run {
            " (server dry run)"
        } else {
            ""
        };
        let was = said
            .mode
            .as_deref()
            .unwrap_or("no label, which means learn");
        let done = format!(
            "namespace/{name} labelled {MODE_LABEL}={} (it had {was}){dry}\n",
            mode.word()
        );
        Ok((done, said))
    }
}

/// A time as in `90s`, `10m` or `1h`.
pub(super) fn time(text: &str) -> anyhow::Result<Duration> {
    let at = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => bail!("give a number and s, m or h, as in 90s"),
    };
    let number: u64 = number
        .parse()
        .context("give a number and s, m or h, as in 90s")?;
    match number.checked_mul(seconds) {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => bail!("give a time from 1s to 24h"),
    }
}
