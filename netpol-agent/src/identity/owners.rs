//! From a pod to its workload: the topmost owner that outlives a rollout or a run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use netpol_common::names::WorkloadName;

use super::objects::{ObjectKey, Owner, OwnerReference, Pod};
use super::runs;

/// Labels by which a ReplicaSet's pods bear the hash that ends its name, and who put it there.
const HASH_LABELS: [(&str, &str); 2] = [
    ("pod-template-hash", "Deployment"),
    ("rollouts-pod-template-hash", "Rollout"),
];
/// How far apart the minute in a Job's name and its pod's creation may be for the name to be a CronJob's doing.
const CRON_DRIFT_MINUTES: i64 = 24 * 60;

/// Every owner known, present or gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    records: BTreeMap<WorkloadName, (Owner, Option<Timestamp>)>,
}

impl Owners {
    /// Takes in an owner.
    pub(super) fn apply(&mut self, owner: Owner) {
        self.records.insert(owner.name.clone(), (owner, None));
    }

    /// Whether it is there just so.
    pub(super) fn is_present(&self, owner: &Owner) -> bool {
        let known = self.records.get(&owner.name);
        known.is_some_and(|(known, gone)| gone.is_none() && known == owner)
    }

    /// The key of every owner.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.records.keys().cloned().map(ObjectKey::Owner)
    }

    /// All that is known of an owner.
    pub(super) fn record(&self, name: &WorkloadName) -> Option<&(Owner, Option<Timestamp>)> {
        self.records.get(name)
    }

    /// Takes back what an earlier process knew of an owner.
    pub(super) fn restore(&mut self, known: (Owner, Option<Timestamp>), at: Option<Timestamp>) {
        let (owner, gone) = known;
        let known = self.records.entry(owner.name.clone());
        known.or_insert((owner, gone.or(at)));
    }

    /// Ends an owner. Whose its pods were stays known.
    pub(super) fn delete(&mut self, name: &WorkloadName, at: Timestamp) {
        if let Some((_, gone)) = self.records.get_mut(name) {
            gone.get_or_insert(at);
        }
    }

    /// The present owners, of one namespace or of all.
    pub(super) fn present<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Owner> {
        let first = WorkloadName::new(namespace.unwrap_or_default(), "", "");
        let inside = move |(name, _): &(&WorkloadName, _)| {
            namespace.is_none_or(|namespace| name.namespace == namespace)
        };
        let range = self.records.range(first..).take_while(inside);
        range
            .filter(|(_, (_, gone))| gone.is_none())
            .map(|(_, (owner, _))| owner)
    }

    /// Forgets the owners that were gone by `before` and that no pod in `needed` refers to, and tells which.
    pub(super) fn prune(
        &mut self,
        before: Timestamp,
        needed: &BTreeSet<WorkloadName>,
    ) -> Vec<ObjectKey> {
        let ended = |name: &WorkloadName, (_, gone): &mut (Owner, Option<Timestamp>)| {
            gone.is_some_and(|at| at <= before) && !needed.contains(name)
        };
        let forgotten = self.records.extract_if(.., ended);
        forgotten.map(|(name, _)| ObjectKey::Owner(name)).collect()
    }

    /// The workload of a pod.
    pub(super) fn workload_of(&self, pod: &Pod) -> WorkloadName {
        let name = |kind: String, name: String| WorkloadName::new(&pod.name.namespace, kind, name);
        let Some(owner) = &pod.owner else {
            let generated = pod.generate_name.as_deref();
            let stable = generated.map(|prefix| runs::group("Pod", &pod.name.name, Some(prefix)));
            return name(
                "Pod".to_owned(),
                stable.unwrap_or_else(|| pod.name.name.clone()),
            );
        };
        match kind_of(owner).as_str() {
            "ReplicaSet" => self.of_replica_set(pod, &owner.name),
            "Job" => self.of_job(pod, &owner.name),
            "Node" => name("Pod".to_owned(), without_node(&pod.name.name, &owner.name)),
            kind @ ("Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "CronJob"
            | "ReplicationController") => name(kind.to_owned(), owner.name.clone()),
            kind => name(kind.to_owned(), runs::group(kind, &owner.name, None)),
        }
    }

    /// The workload that an owner is, or is a part of, whether or not it has pods.
    pub(super) fn workload_of_owner(&self, owner: &Owner) -> WorkloadName {
        let (namespace, kind) = (&owner.name.namespace, owner.name.kind.as_str());
        match (kind, &owner.owner) {
            ("ReplicaSet", Some(above)) => {
                WorkloadName::new(namespace, kind_of(above), &above.name)
            }
            ("Job", above) => job_group(owner, above.as_ref()),
            _ => owner.name.clone(),
        }
    }

    fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<&Owner> {
        let name = WorkloadName::new(namespace, kind, name);
        self.records.get(&name).map(|(owner, _)| owner)
    }

    /// A ReplicaSet that is known says who owns it. For one that is not, the hash that ends its name and that its
    /// pods bear as a label tells the Deployment or Rollout.
    fn of_replica_set(&self, pod: &Pod, name: &str) -> WorkloadName {
        let namespace = &pod.name.namespace;
        if let Some(owner) = self.get(namespace, "ReplicaSet", name) {
            return self.workload_of_owner(owner);
        }
        let above = HASH_LABELS.iter().find_map(|(label, kind)| {
            let prefix = name.strip_suffix(pod.labels.get(*label)?)?;
            Some((*kind, prefix.strip_suffix('-')?))
        });
        let (kind, name) = above.unwrap_or(("ReplicaSet", name));
        WorkloadName::new(namespace, kind, name)
    }

    /// A Job that is known says who owns it. One that is not is a CronJob's if its name is one that a CronJob of the
    /// inventory would give, or ends in the minute about which its pod was made.
    fn of_job(&self, pod: &Pod, name: &str) -> WorkloadName {
        let namespace = &pod.name.namespace;
        if let Some(owner) = self.get(namespace, "Job", name) {
            return self.workload_of_owner(owner);
        }
        if let Some((cron, minute)) = runs::cron_job(name) {
            let made = pod.created.map(|created| created.as_second() / 60);
            let near = made.is_some_and(|made| (made - minute).abs() <= CRON_DRIFT_MINUTES);
            if near || self.get(namespace, "CronJob", cron).is_some() {
                return WorkloadName::new(namespace, "CronJob", cron);
            }
        }
        WorkloadName::new(namespace, "Job", runs::group("Job", name, None))
    }
}

/// The kind that an owner reference names. One that merely shares its name with a built-in kind is written with its
/// group, as in `Job.batch.volcano.sh`.
pub(super) fn kind_of(reference: &OwnerReference) -> String {
    let group = reference
        .api_version
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    let home = match reference.kind.as_str() {
        "Pod" | "Node" | "ReplicationController" => "",
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps",
        "Job" | "CronJob" => "batch",
        _ => group,
    };
    if group == home || reference.api_version.is_empty() {
        return reference.kind.clone();
    }
    format!("{}.{group}", reference.kind)
}

/// Jobs without an owner, and Jobs of an owner that is itself a run, are grouped by their stable names.
fn job_group(job: &Owner, above: Option<&OwnerReference>) -> WorkloadName {
    let namespace = &job.name.namespace;
    let Some(above) = above else {
        let name = runs::group("Job", &job.name.name, job.generate_name.as_deref());
        return WorkloadName::new(namespace, "Job", name);
    };
    let kind = kind_of(above);
    let name = match kind.as_str() {
        "CronJob" => above.name.clone(),
        kind => runs::group(kind, &above.name, None),
    };
    WorkloadName::new(namespace, kind, name)
}

/// The name of a static pod less its node's, which the kubelet appends: one workload on every node.
fn without_node(pod: &str, node: &str) -> String {
    let stem = pod
        .strip_suffix(node)
        .and_then(|stem| stem.strip_suffix('-'));
    stem.filter(|stem| !stem.is_empty())
        .unwrap_or(pod)
        .to_owned()
}
