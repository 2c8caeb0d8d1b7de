//! Workloads: owners of pods, and what their controllers make of them.

use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use serde_json::{Map, Value, json};

use super::{metadata, suffix, uid};

/// A pair of a label's key and value.
pub type Label = (&'static str, &'static str);

/// What kind of owner a workload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `apps/v1` Deployment, with a ReplicaSet between it and its pods.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `batch/v1` Job.
    Job,
    /// `batch/v1` CronJob, with a Job per run.
    CronJob,
    /// A custom resource with a new name for every run, of kind `Workflow`.
    Workflow,
    /// A pod without an owner.
    Bare,
}

/// A workload of the lab's cast.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// Its selector, and the labels of its pods as far as people write them.
    pub labels: &'static [Label],
    /// Named container ports.
    pub ports: &'static [(&'static str, Protocol, u16)],
    /// Whether its pods use their node's network.
    pub host_network: bool,
}

/// The direct owner of a pod.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: String,
}

impl Kind {
    fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
            Self::Workflow => "argoproj.io/v1alpha1",
            Self::Bare => "v1",
        }
    }

    /// The kind's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Workflow => "Workflow",
            Self::Bare => "Pod",
        }
    }
}

impl Workload {
    /// The name under which the flow graph is to hold it.
    #[must_use]
    pub fn graph_name(&self) -> WorkloadName {
        WorkloadName::new(self.namespace, self.kind.name(), self.name)
    }

    /// The direct owner of the pods of run `run`; the run only matters for kinds with an object per run.
    pub(super) fn pod_owner(&self, run: u32) -> Option<Owner> {
        let (kind, name) = match self.kind {
            Kind::Bare => return None,
            Kind::Deployment => ("ReplicaSet", format!("{}-{}", self.name, self.revision())),
            Kind::CronJob => ("Job", format!("{}-{}", self.name, 29_100_000 + run)),
            Kind::Workflow => ("Workflow", self.run_name(run)),
            kind => (kind.name(), self.name.to_owned()),
        };
        let api_version = self.kind.api_version();
        Some(Owner {
            api_version,
            kind,
            name,
        })
    }

    /// The name of the pod `pod` of run `run`.
    pub(super) fn pod_name(&self, run: u32, pod: u32) -> String {
        let seed = format!("{}/{}/{run}/{pod}", self.namespace, self.name);
        match (self.kind, self.pod_owner(run)) {
            (Kind::StatefulSet, _) => format!("{}-{pod}", self.name),
            (_, Some(owner)) => format!("{}-{}", owner.name, suffix(&seed, 5)),
            (_, None) => self.name.to_owned(),
        }
    }

    /// All labels of a pod, those of its controllers included.
    pub(super) fn pod_labels(&self, run: u32, pod: u32, tag: &str) -> Map<String, Value> {
        let mut labels = pairs(self.labels);
        let mut add = |key: &str, value: String| labels.insert(key.to_owned(), value.into());
        match self.kind {
            Kind::Deployment => {
                add("pod-template-hash", self.revision());
            }
            Kind::StatefulSet => {
                add("apps.kubernetes.io/pod-index", pod.to_string());
                add("controller-revision-hash", self.revision());
                add(
                    "statefulset.kubernetes.io/pod-name",
                    self.pod_name(run, pod),
                );
            }
            Kind::DaemonSet => {
                add("controller-revision-hash", self.revision());
                add("pod-template-generation", "1".to_owned());
            }
            Kind::Job | Kind::CronJob => {
                for (key, value) in self.job_labels(run, tag) {
                    add(key, value);
                }
            }
            Kind::Workflow => {
                add("workflows.argoproj.io/completed", "false".to_owned());
                add("workflows.argoproj.io/workflow", self.run_name(run));
            }
            Kind::Bare => {}
        }
        labels
    }

    /// The objects of the workload itself: the owner, and a ReplicaSet where there is one. Objects of single runs
    /// come with [`Workload::run_object`].
    pub(super) fn objects(&self, replicas: u32, created: Timestamp, tag: &str) -> Vec<Value> {
        let template = self.template(&pairs(self.labels));
        match self.kind {
            Kind::Deployment => {
                let selector = json!({"matchLabels": pairs(self.labels)});
                let spec =
                    json!({"replicas": replicas, "selector": selector, "template": template});
                vec![
                    self.object(spec, created, tag),
                    self.replica_set(replicas, created, tag),
                ]
            }
            Kind::StatefulSet => {
                let spec = json!({
                    "replicas": replicas, "serviceName": self.name,
                    "selector": {"matchLabels": pairs(self.labels)}, "template": template,
                });
                vec![self.object(spec, created, tag)]
            }
            Kind::DaemonSet => {
                let selector = json!({"matchLabels": pairs(self.labels)});
                let spec = json!({"selector": selector, "template": template});
                vec![self.object(spec, created, tag)]
            }
            Kind::CronJob => {
                let job = json!({"metadata": {}, "spec": {"template": template}});
                let spec = json!({"schedule": "*/5 * * * *", "jobTemplate": job});
                vec![self.object(spec, created, tag)]
            }
            Kind::Job => vec![self.job(self.name, 0, None, created, tag)],
            Kind::Workflow | Kind::Bare => Vec::new(),
        }
    }

    /// The object of one run, for kinds that have one per run and that `kubectl get` was asked for.
    pub(super) fn run_object(&self, run: u32, created: Timestamp, tag: &str) -> Option<Value> {
        let owner = self.pod_owner(run)?;
        let reference = json!([{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": self.name,
            "uid": uid(tag, &format!("CronJob/{}/{}", self.namespace, self.name)),
            "controller": true, "blockOwnerDeletion": true,
        }]);
        (self.kind == Kind::CronJob)
            .then(|| self.job(&owner.name, run, Some(reference), created, tag))
    }

    fn object(&self, spec: Value, created: Timestamp, tag: &str) -> Value {
        let (kind, name) = (self.kind.name(), self.name);
        let mut metadata = metadata(kind, self.namespace, name, created, tag);
        metadata["labels"] = pairs(self.labels).into();
        json!({"apiVersion": self.kind.api_version(), "kind": kind, "metadata": metadata, "spec": spec})
    }

    fn replica_set(&self, replicas: u32, created: Timestamp, tag: &str) -> Value {
        let name = format!("{}-{}", self.name, self.revision());
        let mut labels = pairs(self.labels);
        labels.insert("pod-template-hash".to_owned(), self.revision().into());
        let mut metadata = metadata("ReplicaSet", self.namespace, &name, created, tag);
        metadata["labels"] = labels.clone().into();
        metadata["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": self.name,
            "uid": uid(tag, &format!("Deployment/{}/{}", self.namespace, self.name)),
            "controller": true, "blockOwnerDeletion": true,
        }]);
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata,
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels},
                "template": self.template(&labels),
            },
        })
    }

    fn job(
        &self,
        name: &str,
        run: u32,
        owner: Option<Value>,
        created: Timestamp,
        tag: &str,
    ) -> Value {
        let mut labels = pairs(self.labels);
        for (key, value) in self.job_labels(run, tag) {
            labels.insert(key.to_owned(), value.into());
        }
        let mut metadata = metadata("Job", self.namespace, name, created, tag);
        metadata["labels"] = labels.clone().into();
        if let Some(owner) = owner {
            metadata["ownerReferences"] = owner;
        }
        let controller = uid(tag, &format!("Job/{}/{name}", self.namespace));
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": controller}},
                "template": self.template(&labels),
            },
        })
    }

    fn job_labels(&self, run: u32, tag: &str) -> Vec<(&'static str, String)> {
        let job = self
            .pod_owner(run)
            .map_or_else(String::new, |owner| owner.name);
        let controller = uid(tag, &format!("Job/{}/{job}", self.namespace));
        vec![
            ("batch.kubernetes.io/controller-uid", controller.clone()),
            ("batch.kubernetes.io/job-name", job.clone()),
            ("controller-uid", controller),
            ("job-name", job),
        ]
    }

    fn template(&self, labels: &Map<String, Value>) -> Value {
        json!({"metadata": {"labels": labels}, "spec": self.pod_spec()})
    }

    /// The pod specification without what the scheduler adds.
    pub(super) fn pod_spec(&self) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|(name, protocol, port)| {
                json!({"name": name, "protocol": protocol.name(), "containerPort": port})
            })
            .collect();
        let mut container = json!({"name": "main", "image": "lab.invalid/main:1"});
        if !ports.is_empty() {
            container["ports"] = ports.into();
        }
        let mut spec = json!({"containers": [container]});
        if self.host_network {
            spec["hostNetwork"] = true.into();
        }
        spec
    }

    fn revision(&self) -> String {
        suffix(&format!("{}/{}", self.namespace, self.name), 10)
    }

    fn run_name(&self, run: u32) -> String {
        let seed = format!("{}/{}/{run}", self.namespace, self.name);
        format!("{}-{}", self.name, suffix(&seed, 5))
    }
}

fn pairs(labels: &[Label]) -> Map<String, Value> {
    labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect()
}
