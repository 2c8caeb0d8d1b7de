//! `kubectl-netpol install`: the manifests that the program holds, applied.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, ValidationDirective};
use kube::core::DynamicObject;
use netpol_common::names::cluster::NAMESPACE;
use serde_json::{Value, json};

use super::cluster::{ClusterFlags, waiting};
use super::learned::FIELD_MANAGER;
use super::output::print;
use super::progress::Waiting;
use crate::cluster::manifests::{self, Part};
use crate::cluster::{Cluster, ClusterError, Session};

/// How often it is looked whether everything runs.
const PAUSE: Duration = Duration::from_secs(1);

/// Install netpol into the cluster, or bring what is installed to this version
///
/// Nothing is applied before the API server has accepted all of it in a dry run. Once installed, netpol learns; it puts
/// no policy into force before a namespace says so.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The image to run instead of the one of this version
    #[arg(long, env = "NETPOL_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// Ask the API server whether it would accept everything, and change nothing
    #[arg(long, env = "NETPOL_DRY_RUN")]
    dry_run: bool,
    /// Do not wait until everything runs
    #[arg(long, env = "NETPOL_NO_WAIT")]
    no_wait: bool,
    /// How long to wait, as in 90s or 10m
    #[arg(
        long,
        env = "NETPOL_TIMEOUT",
        value_name = "TIME",
        default_value = "5m",
        value_parser = super::mode::time
    )]
    timeout: Duration,
    /// Take over fields that somebody else has set
    #[arg(long, env = "NETPOL_FORCE_CONFLICTS")]
    force_conflicts: bool,
    #[command(flatten)]
    cluster: ClusterFlags,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.cluster.netpol_namespace != NAMESPACE {
            bail!(
                "this command installs into namespace {NAMESPACE}: use the chart for another one"
            );
        }
        let parts = self.parts()?;
        let session = self.cluster.open()?;
        let until = Instant::now() + self.timeout;
        waiting("asking whether all of it would be accepted", || {
            self.try_all(&session, &parts)
        })?;
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        for part in &parts {
            let applied = self.apply(session.cluster(), part, false);
            session.wait(applied)?;
            print(format!("{part} serverside-applied\n").as_bytes())?;
        }
        if !self.no_wait {
            until_ready(&session, &parts, until)?;
            print(
                b"netpol is installed and learns; `kubectl netpol status -A` tells how far it is\n",
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn parts(&self) -> anyhow::Result<Vec<Part>> {
        let mut parts = manifests::parts()?;
        if let Some(image) = &self.image {
            parts
                .iter_mut()
                .for_each(|part| set_image(&mut part.object, image));
        }
        Ok(parts)
    }

    /// Has everything checked before anything is changed.
    fn try_all(&self, session: &Session, parts: &[Part]) -> anyhow::Result<()> {
        let cluster = session.cluster();
        let there = session.wait(has_namespace(cluster))?;
        for part in parts {
            // What is in a namespace that is not there yet cannot be checked, and so is not known to be wrong.
            if part.namespaced && !there {
                continue;
            }
            session.wait(self.apply(cluster, part, true))?;
            if self.dry_run {
                print(format!("{part} serverside-applied (server dry run)\n").as_bytes())?;
            }
        }
        Ok(())
    }

    async fn apply(&self, cluster: &Cluster, part: &Part, dry_run: bool) -> anyhow::Result<()> {
        let parameters = PatchParams {
            dry_run,
            force: self.force_conflicts,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let name = part.object.name_any();
        let api = part.api(cluster);
        let patch = Patch::Apply(&part.object);
        let applied = async {
            match api.patch(&name, &parameters, &patch).await {
                Err(error) if only_ours(&error) => {
                    let forced = parameters.clone().force();
                    api.patch(&name, &forced, &patch).await
                }
                applied => applied,
            }
        };
        let applied = cluster.ask(format!("patch {part}"), applied).await;
        match applied {
            Err(error) if error.is_conflict() => Err(error).context(
                "somebody else has set some of it: look at who, then take it over with --force-conflicts",
            ),
            applied => applied.map(drop).map_err(Into::into),
        }
    }
}

/// Whether something is not applied because we ourselves have set it otherwise, and for no other reason: an uninstall that
/// was given up has changed what the DaemonSet runs and how many replicas there are.
fn only_ours(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut causes = causes.peekable();
    let ours = format!("conflict with {FIELD_MANAGER:?}");
    status.code == 409
        && causes.peek().is_some()
        && causes.all(|cause| {
            let after = cause.message.strip_prefix(&ours);
            after.is_some_and(|after| after.is_empty() || after.starts_with(' '))
        })
}

/// Whether netpol's namespace is there.
async fn has_namespace(cluster: &Cluster) -> Result<bool, ClusterError> {
    match super::learned::namespace(cluster, NAMESPACE).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives another image to whatever runs netpol's own.
fn set_image(object: &mut DynamicObject, image: &str) {
    for list in ["containers", "initContainers"] {
        let path = format!("/spec/template/spec/{list}");
        let containers = object.data.pointer_mut(&path).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            container["image"] = json!(image);
        }
    }
}

/// Waits until the API server says that all parts are there and run.
fn until_ready(session: &Session, parts: &[Part], until: Instant) -> anyhow::Result<()> {
    let shown = Waiting::new("waiting until everything runs");
    loop {
        let mut missing = Vec::new();
        for part in parts {
            let name = part.object.name_any();
            let api = part.api(session.cluster());
            let found = session.cluster().ask(format!("get {part}"), api.get(&name));
            let lacks = lacking(&part.resource.kind, &session.wait(found)?);
            missing.extend(lacks.map(|lacks| format!("{part} {lacks}")));
        }
        let Some(first) = missing.first() else {
            return Ok(());
        };
        if Instant::now() >= until {
            bail!(
                "{first}, and time is up: look at `kubectl -n {NAMESPACE} get pods`, or wait longer with --timeout"
            );
        }
        shown.now(first.clone());
        session.sleep(PAUSE);
    }
}

/// What an object still lacks before it does its work.
fn lacking(kind: &str, object: &DynamicObject) -> Option<String> {
    let (data, status) = (&object.data, &object.data["status"]);
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
    match kind {
        "CustomResourceDefinition" => {
            let conditions = status["conditions"].as_array();
            let established = conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            });
            (!established).then(|| "is not established".to_owned())
        }
        "Deployment" => {
            let wanted = data["spec"]["replicas"].as_u64().unwrap_or(1);
            let updated = number("updatedReplicas").min(number("availableReplicas"));
            (updated < wanted || is_stale(object))
                .then(|| format!("has {updated} of {wanted} replicas ready"))
        }
        "DaemonSet" => {
            let wanted = number("desiredNumberScheduled");
            let ready = number("numberReady").min(number("updatedNumberScheduled"));
            (ready < wanted || is_stale(object))
                .then(|| format!("is ready on {ready} of {wanted} nodes"))
        }
        _ => None,
    }
}

/// Whether the status is that of an earlier version of the object.
fn is_stale(object: &DynamicObject) -> bool {
    let observed = object.data["status"]["observedGeneration"].as_i64();
    observed < object.metadata.generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_run_yet_says_what_it_lacks() {
        let cases = [
            ("Service", json!({}), None),
            (
                "CustomResourceDefinition",
                json!({}),
                Some("is not established"),
            ),
            (
                "CustomResourceDefinition",
                json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}}),
                None,
            ),
            (
                "Deployment",
                json!({"spec": {"replicas": 1}}),
                Some("has 0 of 1 replicas ready"),
            ),
            (
                "Deployment",
                json!({"spec": {"replicas": 2}, "status":
                    {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
                Some("has 1 of 2 replicas ready"),
            ),
            (
                "Deployment",
                json!({"status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}}),
                None,
            ),
            ("DaemonSet", json!({}), Some("is ready on 0 of 0 nodes")),
            (
                "DaemonSet",
                json!({"status": {"observedGeneration": 1, "desiredNumberScheduled": 3,
                    "updatedNumberScheduled": 3, "numberReady": 2}}),
                Some("is ready on 2 of 3 nodes"),
            ),
        ];
        for (kind, data, expected) in cases {
            let mut data = data;
            data["metadata"] = json!({"name": "x", "generation": 1});
            let object = serde_json::from_value(data).unwrap();
            assert_eq!(
                lacking(kind, &object).as_deref(),
                expected,
                "{kind} {object:?}"
            );
        }
    }

    #[test]
    fn another_image_goes_into_every_container() {
        let object = json!({
            "metadata": {"name": "x"},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "old"}]}}},
        });
        let mut object: DynamicObject = serde_json::from_value(object).unwrap();
        set_image(&mut object, "new");
        assert_eq!(
            object.data["spec"]["template"]["spec"]["containers"][0]["image"],
            "new"
        );
    }
}
