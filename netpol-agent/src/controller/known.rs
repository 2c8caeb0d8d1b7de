//! What the controller's own watches tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use netpol_common::names::cluster::MODE_LABEL;
use netpol_common::names::{ObjectName, WorkloadName};
use tokio::sync::watch;

use super::Options;
use super::follow::{Keep, follow, name_of};
use crate::control::{Live, Namespace, Proposal, applied_by_us};
use crate::crd::LearnedPolicy;

/// Kinds that are watched.
const KINDS: usize = 10;

/// What is known; shared by the watches, the decisions and the writes.
pub(super) struct Known {
    seen: Mutex<Arc<Seen>>,
    changed: watch::Sender<u64>,
}

/// What is known now.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) namespaces: BTreeMap<String, Namespace>,
    pub(super) proposals: BTreeMap<ObjectName, Proposal>,
    pub(super) policies: BTreeMap<ObjectName, Live>,
    pub(super) labels: BTreeMap<WorkloadName, String>,
    pub(super) called: BTreeSet<ObjectName>,
    callers: BTreeMap<(String, String), Vec<ObjectName>>,
    /// Versions of our own writes, of which the watches may tell later, by kind and name.
    expected: BTreeMap<(&'static str, ObjectName), u64>,
    whole: BTreeSet<String>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Known {
    /// What is known now.
    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.lock())
    }

    /// Tells of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until every kind has been listed whole.
    pub(super) async fn whole(&self) {
        let mut changes = self.changes();
        while self.lock().whole.len() < KINDS {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes in the answer to a write of our own, ahead of the watch.
    pub(super) fn wrote_policy(&self, policy: NetworkPolicy) {
        self.expect("policy", &policy);
        let (name, live) = live(policy);
        self.with(|seen| drop(seen.policies.insert(name, live)));
    }

    /// Takes in that a policy was deleted.
    pub(super) fn removed_policy(&self, name: &ObjectName) {
        self.with(|seen| drop(seen.policies.remove(name)));
    }

    /// Takes in the answer to a write of our own, ahead of the watch.
    pub(super) fn wrote_proposal(&self, proposal: LearnedPolicy) {
        self.expect("proposal", &proposal);
        let (name, known) = known(proposal);
        self.with(|seen| drop(seen.proposals.insert(name, known)));
    }

    fn expect(&self, kind: &'static str, object: &impl Resource) {
        if let Some(version) = version(object) {
            let key = (kind, name_of(object));
            self.with(|seen| {
                seen.expected.insert(key, version);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known. Whoever looks at what was known before still does.
    fn with(&self, change: impl FnOnce(&mut Seen)) {
        change(Arc::make_mut(&mut self.lock()));
    }

    /// Changes what is known, and tells everybody.
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        self.with(change);
        self.changed.send_modify(|count| *count += 1);
    }

    /// The same, once a kind has been listed whole.
    fn listed(&self, kind: String, change: impl FnOnce(&mut Seen)) {
        self.change(|seen| {
            change(seen);
            seen.whole.insert(kind);
        });
    }
}

impl Seen {
    /// Whether what a watch says of an object is older than what we wrote ourselves.
    fn is_old(&mut self, kind: &'static str, object: &impl Resource) -> bool {
        let key = (kind, name_of(object));
        let Some(wrote) = self.expected.get(&key) else {
            return false;
        };
        if version(object).is_some_and(|version| version < *wrote) {
            return true;
        }
        self.expected.remove(&key);
        false
    }

    fn count_callers(&mut self) {
        self.called = self.callers.values().flatten().cloned().collect();
    }
}

/// The version of an object as a number: versions of one kind are in the order of their numbers, as KEP-5504 has it.
fn version(object: &impl Resource) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

/// Feeds everything, for ever.
pub(super) async fn feed_all(client: &Client, known: &Known, options: &Options) {
    let all = Config::default().page_size(options.page_size);
    let labelled = all.clone().labels(MODE_LABEL);
    let (whole, own) = (|| all.clone(), || labelled.clone());
    let backoff = options.backoff;
    let (namespaces, policies, proposals) = (Namespaces(known), Policies(known), Proposals(known));
    let (labels, callers) = (Labels(known), Callers(known));
    tokio::join!(
        follow(of(client), whole(), backoff, &namespaces),
        follow(of(client), whole(), backoff, &policies),
        follow(of(client), whole(), backoff, &proposals),
        follow::<PartialObjectMeta<Deployment>>(of(client), own(), backoff, &labels),
        follow::<PartialObjectMeta<StatefulSet>>(of(client), own(), backoff, &labels),
        follow::<PartialObjectMeta<DaemonSet>>(of(client), own(), backoff, &labels),
        follow::<PartialObjectMeta<CronJob>>(of(client), own(), backoff, &labels),
        follow::<ValidatingWebhookConfiguration>(of(client), whole(), backoff, &callers),
        follow::<MutatingWebhookConfiguration>(of(client), whole(), backoff, &callers),
        follow::<APIService>(of(client), whole(), backoff, &callers),
    );
}

fn of<K: Resource<DynamicType = ()>>(client: &Client) -> Api<K> {
    Api::all(client.clone())
}

/// Namespaces, by their metadata.
struct Namespaces<'a>(&'a Known);

impl Keep<PartialObjectMeta<NamespaceObject>> for Namespaces<'_> {
    fn reset(&self, objects: Vec<PartialObjectMeta<NamespaceObject>>) {
        let all = objects
            .iter()
            .map(|object| (name_of(object).name, Namespace::of(&object.metadata)));
        let all = all.collect();
        self.0
            .listed("namespaces".to_owned(), |seen| seen.namespaces = all);
    }

    fn put(&self, object: PartialObjectMeta<NamespaceObject>) {
        let (name, new) = (name_of(&object).name, Namespace::of(&object.metadata));
        self.0
            .change(|seen| drop(seen.namespaces.insert(name, new)));
    }

    fn forget(&self, object: &PartialObjectMeta<NamespaceObject>) {
        let name = name_of(object).name;
        self.0.change(|seen| drop(seen.namespaces.remove(&name)));
    }
}

/// NetworkPolicies. One that does not decode is as if it were not there; making one of its name fails then.
struct Policies<'a>(&'a Known);

impl Keep<DeserializeGuard<NetworkPolicy>> for Policies<'_> {
    fn reset(&self, objects: Vec<DeserializeGuard<NetworkPolicy>>) {
        let all = objects.into_iter().filter_map(|object| object.0.ok());
        let all = all.map(live).collect();
        self.0.listed("policies".to_owned(), |seen| {
            seen.policies = all;
            seen.expected.retain(|(kind, _), _| *kind != "policy");
        });
    }

    fn put(&self, object: DeserializeGuard<NetworkPolicy>) {
        let Ok(policy) = object.0 else { return };
        self.0.change(|seen| {
            if !seen.is_old("policy", &policy) {
                let (name, live) = live(policy);
                seen.policies.insert(name, live);
            }
        });
    }

    fn forget(&self, object: &DeserializeGuard<NetworkPolicy>) {
        let name = name_of(object);
        self.0.change(|seen| {
            let uid = &object.meta().uid;
            let known = seen.policies.get(&name);
            if known.is_none_or(|known| known.policy.metadata.uid == *uid) {
                seen.policies.remove(&name);
                seen.expected.remove(&("policy", name));
            }
        });
    }
}

fn live(mut policy: NetworkPolicy) -> (ObjectName, Live) {
    let name = name_of(&policy);
    let applied_by_us = applied_by_us(&policy.metadata);
    policy.metadata.managed_fields = None;
    let live = Live {
        policy,
        applied_by_us,
    };
    (name, live)
}

/// Proposals.
struct Proposals<'a>(&'a Known);

impl Keep<DeserializeGuard<LearnedPolicy>> for Proposals<'_> {
    fn reset(&self, objects: Vec<DeserializeGuard<LearnedPolicy>>) {
        let all = objects.into_iter().filter_map(|object| object.0.ok());
        let all = all.map(known).collect();
        self.0.listed("proposals".to_owned(), |seen| {
            seen.proposals = all;
            seen.expected.retain(|(kind, _), _| *kind != "proposal");
        });
    }

    fn put(&self, object: DeserializeGuard<LearnedPolicy>) {
        let proposal = match object.0 {
            Ok(proposal) => proposal,
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                tracing::warn!(
                    name,
                    error = invalid.error,
                    "a LearnedPolicy does not decode and is skipped"
                );
                return;
            }
        };
        self.0.change(|seen| {
            if !seen.is_old("proposal", &proposal) {
                let (name, new) = known(proposal);
                seen.proposals.insert(name, new);
            }
        });
    }

    fn forget(&self, object: &DeserializeGuard<LearnedPolicy>) {
        let name = name_of(object);
        self.0.change(|seen| {
            let uid = object.meta().uid.as_deref().unwrap_or_default();
            if seen
                .proposals
                .get(&name)
                .is_none_or(|known| known.uid == uid)
            {
                seen.proposals.remove(&name);
                seen.expected.remove(&("proposal", name));
            }
        });
    }
}

fn known(proposal: LearnedPolicy) -> (ObjectName, Proposal) {
    (name_of(&proposal), proposal.into())
}

/// The modes that workloads' own labels ask for.
struct Labels<'a>(&'a Known);

impl<K> Keep<PartialObjectMeta<K>> for Labels<'_>
where
    K: Resource<DynamicType = ()>,
{
    fn reset(&self, objects: Vec<PartialObjectMeta<K>>) {
        let kind = K::kind(&()).into_owned();
        let all: Vec<_> = objects.iter().filter_map(label).collect();
        self.0.listed(format!("labels of {kind}"), |seen| {
            seen.labels.retain(|name, _| name.kind != kind);
            seen.labels.extend(all);
        });
    }

    fn put(&self, object: PartialObjectMeta<K>) {
        let Some((name, value)) = label(&object) else {
            return self.forget(&object);
        };
        self.0.change(|seen| drop(seen.labels.insert(name, value)));
    }

    fn forget(&self, object: &PartialObjectMeta<K>) {
        let name = owner(object);
        self.0.change(|seen| drop(seen.labels.remove(&name)));
    }
}

fn label<K: Resource<DynamicType = ()>>(
    object: &PartialObjectMeta<K>,
) -> Option<(WorkloadName, String)> {
    let value = object.metadata.labels.as_ref()?.get(MODE_LABEL)?;
    Some((owner(object), value.clone()))
}

fn owner<K: Resource<DynamicType = ()>>(object: &PartialObjectMeta<K>) -> WorkloadName {
    let ObjectName { namespace, name } = name_of(object);
    WorkloadName::new(namespace, K::kind(&()), name)
}

/// Objects that name services which the API server calls.
struct Callers<'a>(&'a Known);

/// An object that names services.
trait Calls: Resource<DynamicType = ()> {
    fn services(&self) -> Vec<ObjectName>;
}

impl Calls for ValidatingWebhookConfiguration {
    fn services(&self) -> Vec<ObjectName> {
        let hooks = self.webhooks.iter().flatten();
        let services = hooks.filter_map(|hook| hook.client_config.service.as_ref());
        services
            .map(|service| ObjectName::new(&service.namespace, &service.name))
            .collect()
    }
}

impl Calls for MutatingWebhookConfiguration {
    fn services(&self) -> Vec<ObjectName> {
        let hooks = self.webhooks.iter().flatten();
        let services = hooks.filter_map(|hook| hook.client_config.service.as_ref());
        services
            .map(|service| ObjectName::new(&service.namespace, &service.name))
            .collect()
    }
}

impl Calls for APIService {
    fn services(&self) -> Vec<ObjectName> {
        let spec = self.spec.as_ref();
        let service = spec.and_then(|spec| spec.service.as_ref());
        let named = service.and_then(|service| {
            let namespace = service.namespace.clone()?;
            Some(ObjectName::new(namespace, service.name.clone()?))
        });
        named.into_iter().collect()
    }
}

impl<K: Calls> Keep<K> for Callers<'_> {
    fn reset(&self, objects: Vec<K>) {
        let kind = K::kind(&()).into_owned();
        let all: Vec<_> = objects.iter().map(caller).collect();
        self.0.listed(format!("services of {kind}"), |seen| {
            seen.callers.retain(|(own, _), _| *own != kind);
            seen.callers.extend(all);
            seen.count_callers();
        });
    }

    fn put(&self, object: K) {
        let (key, services) = caller(&object);
        self.0.change(|seen| {
            seen.callers.insert(key, services);
            seen.count_callers();
        });
    }

    fn forget(&self, object: &K) {
        let (key, _) = caller(object);
        self.0.change(|seen| {
            seen.callers.remove(&key);
            seen.count_callers();
        });
    }
}

fn caller<K: Calls>(object: &K) -> ((String, String), Vec<ObjectName>) {
    let key = (K::kind(&()).into_owned(), name_of(object).name);
    (key, object.services())
}
