//! What the controller knows when it decides.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use netpol_common::names::cluster::{
    DEFAULT_DENY_ANNOTATION, FORCE_ANNOTATION, MODE_LABEL, OPTIONS_ANNOTATION, PAUSE_ANNOTATION,
    ROLLBACK_ANNOTATION, UNINSTALL_JOB,
};
use netpol_common::names::{ObjectName, WorkloadName};

use crate::crd::{LearnedPolicy, LearnedPolicySpec, LearnedPolicyStatus, Mode};
use crate::graph::FlowGraph;
use crate::identity::Index;
use crate::observe::Losses;
use crate::policy::Options;
use crate::policy::coverage::Requirements;

/// Everything that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who talked to whom.
    pub graph: &'a FlowGraph,
    /// Who is there.
    pub index: &'a Index,
    /// When the agent of each node last told something.
    pub observers: &'a BTreeMap<String, Option<Timestamp>>,
    /// What agents lost of pods, by the pod's name.
    pub losses: &'a [(ObjectName, Losses)],
    /// What people say about namespaces.
    pub namespaces: &'a BTreeMap<String, Namespace>,
    /// The values of the workloads' own labels.
    pub labels: &'a BTreeMap<WorkloadName, String>,
    /// The proposals.
    pub proposals: &'a BTreeMap<ObjectName, Proposal>,
    /// The NetworkPolicies.
    pub policies: &'a BTreeMap<ObjectName, Live>,
    /// Services that the API server calls: those of webhooks and of aggregated APIs.
    pub called: &'a BTreeSet<ObjectName>,
    /// The time.
    pub now: Timestamp,
}

/// What people say about a namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Namespace {
    /// The label `netpol.io/mode`.
    pub mode: Option<String>,
    /// `netpol.io/force`: what is incomplete or protected is enforced.
    pub force: bool,
    /// `netpol.io/pause`: nothing of ours is applied or repaired.
    pub pause: bool,
    /// `netpol.io/rollback-on`, as it is written.
    pub rollback_on: Option<String>,
    /// `netpol.io/default-deny`.
    pub default_deny: bool,
    /// `netpol.io/options`, as it is written.
    pub options: Option<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// A `LearnedPolicy` that is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposal {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// What people want; nothing, where there is no `spec`.
    pub spec: Option<LearnedPolicySpec>,
    /// What was answered last.
    pub status: LearnedPolicyStatus,
}

/// A `NetworkPolicy` that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The object, without the list of who owns its fields.
    pub policy: NetworkPolicy,
    /// Whether our field manager applied it.
    pub applied_by_us: bool,
}

/// What does not change while the controller runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The namespace that netpol itself runs in.
    pub own_namespace: String,
    /// How policies are written where nobody says otherwise.
    pub options: Options,
    /// What completeness takes.
    pub requirements: Requirements,
    /// After such a silence an agent does not work. A controller that has just begun grants as much to every agent:
    /// while nobody took anything in, agents kept it.
    pub silence: SignedDuration,
    /// How many workloads of a namespace are put into force at once.
    pub step: usize,
    /// For how long those are watched before the next ones.
    pub watch: SignedDuration,
    /// For how long a rollback may follow an apply.
    pub armed: SignedDuration,
    /// How long a proposal without a spec outlives its workload.
    pub linger: SignedDuration,
    /// The same for a pod without an owner, which rarely comes back, and for a proposal of which nothing was ever said.
    pub linger_of_pods: SignedDuration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            own_namespace: netpol_common::names::cluster::NAMESPACE.to_owned(),
            options: Options::default(),
            requirements: Requirements::default(),
            silence: SignedDuration::from_mins(5),
            step: 3,
            watch: SignedDuration::from_mins(2),
            armed: SignedDuration::from_mins(10),
            linger: SignedDuration::from_hours(7 * 24),
            linger_of_pods: SignedDuration::from_hours(1),
        }
    }
}

impl Namespace {
    /// What the labels and annotations of a namespace say.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let value = |all: &Option<BTreeMap<String, String>>, key: &str| {
            all.as_ref().and_then(|all| all.get(key)).cloned()
        };
        let annotation = |key: &str| value(&metadata.annotations, key);
        let is_set = |key: &str| annotation(key).is_some_and(|value| value == "true");
        Self {
            mode: value(&metadata.labels, MODE_LABEL),
            force: is_set(FORCE_ANNOTATION),
            pause: is_set(PAUSE_ANNOTATION),
            rollback_on: annotation(ROLLBACK_ANNOTATION),
            default_deny: is_set(DEFAULT_DENY_ANNOTATION),
            options: annotation(OPTIONS_ANNOTATION),
            terminating: metadata.deletion_timestamp.is_some(),
        }
    }
}

impl From<LearnedPolicy> for Proposal {
    fn from(learned: LearnedPolicy) -> Self {
        let metadata = learned.metadata;
        Self {
            uid: metadata.uid.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            generation: metadata.generation,
            spec: learned.spec.spec,
            status: learned.status.unwrap_or_default().in_order(),
        }
    }
}

impl Settings {
    /// Whether a workload is what takes netpol away: the controller ends before it could say anything of it.
    #[must_use]
    pub(super) fn uninstalls(&self, workload: &WorkloadName) -> bool {
        workload.namespace == self.own_namespace
            && workload.kind == "Job"
            && workload.name == UNINSTALL_JOB
    }
}

impl Facts<'_> {
    /// What people say about a namespace; nothing about one that is not known.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace {
        self.namespaces.get(name).cloned().unwrap_or_default()
    }

    /// The strictest mode that any proposal of a namespace remembers its namespace to have asked for.
    #[must_use]
    pub fn last_mode(&self, namespace: &str) -> Option<Mode> {
        let first = ObjectName::new(namespace, "");
        let own = self.proposals.range(first..);
        let own = own.take_while(|(name, _)| name.namespace == namespace);
        let present = own.filter(|(_, known)| known.status.gone_since.is_none());
        present
            .filter_map(|(_, known)| known.status.namespace_mode)
            .max()
    }

    /// The time so long ago.
    #[must_use]
    pub fn ago(&self, time: SignedDuration) -> Timestamp {
        self.now.saturating_sub(time).unwrap_or(Timestamp::MIN)
    }
}
