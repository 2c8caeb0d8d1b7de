//! `kubectl-netpol uninstall`: takes away what netpol put into a cluster, in an order in which nothing is left behind.
//!
//! First the controller stands still, so that it repairs nothing; then its policies go; then every node's kernel side; then
//! what the aggregator made for itself; then all the rest. What people decided stays: the LearnedPolicies and their definition.

mod made;
mod nodes;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use netpol_common::GROUP;
use netpol_common::names::cluster::{
    AGENT_DAEMON_SET, AGGREGATOR_DEPLOYMENT, MODE_LABEL, NAMESPACE, PLURAL,
};
use serde_json::json;

use super::cluster::{ClusterFlags, waiting};
use super::learned::{self, FIELD_MANAGER};
use super::output::{note, print, warn};
use super::progress::Waiting;
use crate::cluster::access::{Right, require};
use crate::cluster::manifests::{self, Part};
use crate::cluster::{Cluster, ClusterError, Session};
use crate::controller::uninstall::{ours, remove_ours};

/// How often it is looked whether something has gone.
const PAUSE: Duration = Duration::from_secs(1);

/// Remove netpol from the cluster: its policies first, then what it attached on every node, then its own objects
///
/// The LearnedPolicies and their definition stay, since they hold what people approved and rejected.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Stop the controller, remove the policies, detach every node and delete what the aggregator made for itself, but none
    /// of the objects that netpol was installed with: somebody else does, as Helm, which runs this before it uninstalls
    #[arg(long, env = "NETPOL_EFFECTS_ONLY")]
    effects_only: bool,
    /// Ask the API server whether it would do it, and change nothing
    #[arg(long, env = "NETPOL_DRY_RUN")]
    dry_run: bool,
    /// Go on although some nodes do not answer: what netpol attached there stays until `netpol-agent detach` or a reboot
    #[arg(long, env = "NETPOL_LEAVE_NODES")]
    leave_nodes: bool,
    /// How long to wait for each step, as in 90s or 10m
    #[arg(
        long,
        env = "NETPOL_TIMEOUT",
        value_name = "TIME",
        default_value = "5m",
        value_parser = super::mode::time
    )]
    timeout: Duration,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.cluster.netpol_namespace != NAMESPACE && !self.effects_only {
            bail!(
                "this command removes what `install` put into namespace {NAMESPACE}: use helm uninstall for another one"
            );
        }
        let parts = manifests::parts()?;
        let session = self.cluster.open()?;
        session.wait(self.require_rights(session.cluster()))?;
        self.undo(&session)?;
        if self.effects_only {
            note("left", "netpol's own objects, to be deleted now");
            return Ok(ExitCode::SUCCESS);
        }
        for part in parts
            .iter()
            .rev()
            .filter(|part| !part.is("CustomResourceDefinition"))
        {
            if session.wait(self.remove(session.cluster(), part))? {
                say(format_args!("{part} deleted{}", self.dry()))?;
            }
        }
        self.tell_what_stays(&session);
        Ok(ExitCode::SUCCESS)
    }

    /// Takes back what netpol does to the cluster and its nodes.
    fn undo(&self, session: &Session) -> anyhow::Result<()> {
        let cluster = session.cluster();
        self.stop_controller(session)?;
        let policies = waiting("removing policies", || {
            session.wait(self.remove_policies(cluster))
        })?;
        say(format_args!(
            "{policies} policies of netpol's removed{}",
            self.dry()
        ))?;
        self.detach(session)?;
        self.remove_made(session)
    }

    /// Deletes what the aggregator made for itself, once it is gone and no agent needs it.
    fn remove_made(&self, session: &Session) -> anyhow::Result<()> {
        let made = session.wait(made::remove(session.cluster(), self.dry_run))?;
        for object in made.removed {
            say(format_args!("{object} deleted{}", self.dry()))?;
        }
        // What is left in a namespace that goes is not left.
        for object in made.kept.iter().filter(|_| self.effects_only) {
            note(
                "left",
                format_args!("{object}, which netpol did not make, or cert-manager took over"),
            );
        }
        Ok(())
    }

    fn dry(&self) -> &'static str {
        if self.dry_run {
            " (server dry run)"
        } else {
            ""
        }
    }

    /// Asks for what nobody wants to find missing halfway.
    async fn require_rights(&self, cluster: &Cluster) -> Result<(), ClusterError> {
        let right = |verb, (group, resource), name| Right {
            verb,
            group,
            resource,
            namespace: None,
            name,
        };
        let own = |verb, kind, name| Right {
            namespace: Some(&cluster.netpol_namespace),
            ..right(verb, kind, name)
        };
        let policies = ("networking.k8s.io", "networkpolicies");
        let (deployments, daemon_sets) = (("apps", "deployments"), ("apps", "daemonsets"));
        let mut rights = vec![
            own("patch", deployments, Some(AGGREGATOR_DEPLOYMENT)),
            right("list", policies, None),
            right("delete", policies, None),
            own("list", ("", "pods"), None),
            own("get", daemon_sets, Some(AGENT_DAEMON_SET)),
            own("patch", daemon_sets, Some(AGENT_DAEMON_SET)),
        ];
        rights.extend(made::rights(&cluster.netpol_namespace));
        if !self.effects_only {
            rights.extend([
                own("delete", daemon_sets, Some(AGENT_DAEMON_SET)),
                right("delete", ("", "namespaces"), Some(NAMESPACE)),
            ]);
        }
        for right in rights {
            require(cluster, right).await?;
        }
        Ok(())
    }

    /// Sets the aggregator to no replicas, and waits until it is gone: it would put back every policy of its own.
    fn stop_controller(&self, session: &Session) -> anyhow::Result<()> {
        let cluster = session.cluster();
        let namespace = &cluster.netpol_namespace;
        let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
        let parameters = PatchParams {
            dry_run: self.dry_run,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
        let patched = api.patch(AGGREGATOR_DEPLOYMENT, &parameters, &patch);
        let action =
            format!("patch deployments.apps {AGGREGATOR_DEPLOYMENT:?} in namespace {namespace:?}");
        match session.wait(cluster.ask(action, patched)) {
            Err(error) if error.is_not_found() => return Ok(()),
            patched => drop(patched?),
        }
        say(format_args!(
            "deployment.apps/{AGGREGATOR_DEPLOYMENT} scaled to nothing{}",
            self.dry()
        ))?;
        if self.dry_run {
            return Ok(());
        }
        let shown = Waiting::new("waiting until the aggregator is gone");
        let until = Instant::now() + self.timeout;
        while session.wait(pods(cluster, AGGREGATOR_DEPLOYMENT))? > 0 {
            if Instant::now() >= until {
                bail!(
                    "the aggregator's pods do not end: look at `kubectl -n {namespace} get pods`, and run this again"
                );
            }
            session.sleep(PAUSE);
        }
        drop(shown);
        Ok(())
    }

    /// Removes the policies that netpol applied, and no others. Returns how many.
    async fn remove_policies(&self, cluster: &Cluster) -> Result<usize, ClusterError> {
        let patient = Cluster {
            patience: self.timeout,
            ..cluster.clone()
        };
        let client = &patient.client;
        if self.dry_run {
            let listed = patient.ask("list networkpolicies.networking.k8s.io", ours(client));
            return Ok(listed.await?.len());
        }
        let removed = patient.ask(
            "delete networkpolicies.networking.k8s.io",
            remove_ours(client),
        );
        Ok(removed.await?.len())
    }

    /// Has every node's agent detach from the kernel.
    fn detach(&self, session: &Session) -> anyhow::Result<()> {
        if self.dry_run {
            return say("every node's agent would detach from its kernel (not part of a dry run)");
        }
        let shown = Waiting::new("detaching on every node");
        let done = nodes::detach(session, self.timeout, |done, of| {
            shown.now(format!("detached on {done} of {of} nodes"));
        })?;
        drop(shown);
        let Some(nodes) = done else {
            return Ok(());
        };
        say(format_args!(
            "daemonset.apps/{AGENT_DAEMON_SET}: detached on {} nodes",
            nodes.done
        ))?;
        let Some(left) = nodes.left() else {
            return Ok(());
        };
        if self.leave_nodes {
            warn(format_args!(
                "not detached on {left}: run `netpol-agent detach --discard` there, or reboot; it only counts, and \
                 changes no packet"
            ));
            return Ok(());
        }
        bail!("not detached in time on {left}: run this again, or leave them with --leave-nodes")
    }

    /// Deletes a part. Returns whether it was there.
    async fn remove(&self, cluster: &Cluster, part: &Part) -> Result<bool, ClusterError> {
        let parameters = DeleteParams {
            dry_run: self.dry_run,
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let name = part.object.name_any();
        let api = part.api(cluster);
        let deleted = api.delete(&name, &parameters);
        match cluster.ask(format!("delete {part}"), deleted).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tell_what_stays(&self, session: &Session) {
        let learned = session.wait(learned::list(session.cluster(), None));
        let count = learned.map_or(0, |learned| learned.len());
        note(
            "left",
            format_args!(
                "customresourcedefinition {PLURAL}.{GROUP} and its {count} LearnedPolicies, which hold what people decided: \
                 `kubectl delete crd {PLURAL}.{GROUP}` deletes them all; and the labels {MODE_LABEL} of namespaces, which \
                 do nothing without netpol"
            ),
        );
    }
}

/// How many pods of that name there are.
async fn pods(cluster: &Cluster, name: &str) -> Result<usize, ClusterError> {
    let namespace = &cluster.netpol_namespace;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labels = format!("app.kubernetes.io/name={name}");
    let parameters = ListParams::default().labels(&labels);
    let listed = api.list(&parameters);
    let listed = cluster.ask(format!("list pods in namespace {namespace:?}"), listed);
    Ok(listed.await?.items.len())
}

fn say(words: impl std::fmt::Display) -> anyhow::Result<()> {
    print(format!("{words}\n").as_bytes())
}
