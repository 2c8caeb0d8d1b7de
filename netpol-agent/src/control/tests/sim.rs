//! A cluster of three workloads, and an API server in a few maps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::FlowRecord;
use serde_json::json;

use crate::control::{
    Change, Decision, Event, Facts, Live, Memory, Namespace, Proposal, Settings, Step, decide,
};
use crate::crd::{ConditionStatus, ConditionType, LearnedPolicySpec, LearnedPolicyStatus};
use crate::graph::{Builder, FlowGraph};
use crate::identity::Index;
use crate::inventory;
use crate::observe::Losses;

/// When the records begin.
const BEGIN: &str = "2026-01-02T00:00:00Z";
/// Hours of records before a test begins.
const HOURS: i64 = 30;

/// Edges that occur in every hour.
pub(super) const USUAL: [&str; 3] = [
    "other/Deployment/ui -> shop/Deployment/web 8080/TCP",
    "shop/Deployment/web -> shop/Deployment/api 8080/TCP",
    "shop/Deployment/api -> shop/Deployment/db 5432/TCP",
];
/// An edge that nobody has seen yet.
pub(super) const NEW: &str = "shop/Deployment/web -> shop/Deployment/db 5432/TCP";

/// The cluster, the API, and the time.
pub(super) struct Sim {
    pub(super) index: Index,
    pub(super) records: Vec<FlowRecord>,
    pub(super) silent: BTreeSet<String>,
    pub(super) losses: Vec<(ObjectName, Losses)>,
    pub(super) namespaces: BTreeMap<String, Namespace>,
    pub(super) labels: BTreeMap<WorkloadName, String>,
    pub(super) proposals: BTreeMap<ObjectName, Proposal>,
    pub(super) policies: BTreeMap<ObjectName, Live>,
    pub(super) called: BTreeSet<ObjectName>,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    pub(super) now: Timestamp,
    pub(super) events: Vec<(ObjectName, Event)>,
    versions: u64,
    graph: Option<FlowGraph>,
}

pub(super) fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn begin() -> Timestamp {
    BEGIN.parse().unwrap()
}

/// A deployment with one pod, which started an hour after the records began.
pub(super) fn deployment(namespace: &str, name: &str, address: &str) -> String {
    let labels = format!("{{app: {name}}}");
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{selector: {{matchLabels: {labels}}}, template: {{metadata: {{labels: {labels}}}, spec: {{containers: []}}}}}}}}\n\
         ---\n\
         {{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: {name}-1, namespace: {namespace}, ownerReferences: \
         [{{apiVersion: apps/v1, kind: Deployment, name: {name}, uid: d, controller: true}}]}}, spec: {{selector: {{}}}}}}\n\
         ---\n\
         {{apiVersion: v1, kind: Pod, metadata: {{name: {name}-1-a, namespace: {namespace}, uid: p-{name}, labels: {labels}, \
         creationTimestamp: \"2026-01-02T01:00:00Z\", ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: \
         {name}-1, uid: r, controller: true}}]}}, spec: {{nodeName: n1, containers: []}}, status: {{phase: Running, \
         startTime: \"2026-01-02T01:00:00Z\", podIP: {address}, podIPs: [{{ip: {address}}}]}}}}\n---\n"
    )
}

fn inventory() -> String {
    let mut text = String::from(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n\
         {apiVersion: v1, kind: Namespace, metadata: {name: other}}\n---\n\
         {apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}\n---\n",
    );
    for (namespace, name, address) in [
        ("shop", "web", "10.1.0.1"),
        ("shop", "api", "10.1.0.2"),
        ("shop", "db", "10.1.0.3"),
        ("other", "ui", "10.1.0.4"),
    ] {
        text.push_str(&deployment(namespace, name, address));
    }
    text
}

impl Sim {
    /// Four workloads that were watched for more than a day, with their usual edges.
    pub(super) fn new() -> Self {
        let index = inventory::parse("the cluster", &inventory())
            .unwrap()
            .index();
        let namespaces = ["shop", "other"].map(|name| (name.to_owned(), Namespace::default()));
        let mut sim = Self {
            index,
            records: Vec::new(),
            silent: BTreeSet::new(),
            losses: Vec::new(),
            namespaces: namespaces.into(),
            labels: BTreeMap::new(),
            proposals: BTreeMap::new(),
            policies: BTreeMap::new(),
            called: BTreeSet::new(),
            settings: Settings::default(),
            memory: Memory::default(),
            now: begin(),
            events: Vec::new(),
            versions: 0,
            graph: None,
        };
        assert_eq!(sim.decide().figures.told, 0, "the controller begins");
        for _ in 0..HOURS {
            sim.now += SignedDuration::from_hours(1);
            USUAL
                .iter()
                .for_each(|edge| sim.see(edge, "established", 1));
        }
        sim
    }

    /// The same, with a mode for the namespace `shop`, and as often decided as it takes.
    pub(super) fn in_mode(mode: &str) -> Self {
        let mut sim = Self::new();
        sim.settle();
        sim.label(mode);
        sim.settle();
        sim
    }

    /// An edge is seen now.
    pub(super) fn see(&mut self, edge: &str, outcome: &str, count: u64) {
        self.record(edge, outcome, count, None);
    }

    /// An edge is seen now by one of its ends only.
    pub(super) fn see_from(&mut self, view: &str, edge: &str) {
        self.record(edge, "established", 1, Some(view));
    }

    fn record(&mut self, edge: &str, outcome: &str, count: u64, view: Option<&str>) {
        let (client, rest) = edge.split_once(" -> ").unwrap();
        let (server, port) = rest.split_once(' ').unwrap();
        let (port, protocol) = port.split_once('/').unwrap();
        let end = |text: &str| match text.contains('/') {
            true => json!({"workload": text}),
            false => json!({"ip": text}),
        };
        let mut record = json!({
            "time": self.now, "last_seen": self.now, "client": end(client), "server": end(server), "protocol": protocol,
            "port": port.parse::<u16>().unwrap(), "outcome": outcome, "count": count,
        });
        if let Some(view) = view {
            record["view"] = json!(view);
        }
        self.records.push(serde_json::from_value(record).unwrap());
        self.graph = None;
    }

    pub(super) fn graph(&mut self) -> FlowGraph {
        let (index, records) = (&self.index, &self.records);
        let build = || {
            let mut builder = Builder::default();
            records.iter().for_each(|record| builder.add(index, record));
            builder.finish(index)
        };
        self.graph.get_or_insert_with(build).clone()
    }

    /// Sets the mode of the namespace `shop`; none takes the label away.
    pub(super) fn label(&mut self, mode: &str) {
        let mode = (!mode.is_empty()).then(|| mode.to_owned());
        self.shop().mode = mode;
    }

    pub(super) fn shop(&mut self) -> &mut Namespace {
        self.namespaces.get_mut("shop").unwrap()
    }

    /// Changes what people want of a proposal of `shop`.
    pub(super) fn want(&mut self, proposal: &str, change: impl FnOnce(&mut LearnedPolicySpec)) {
        let known = self.proposals.get_mut(&name(proposal)).unwrap();
        change(known.spec.get_or_insert_default());
    }

    pub(super) fn wait(&mut self, time: SignedDuration) {
        self.now += time;
    }

    pub(super) fn decide(&mut self) -> Decision {
        let graph = self.graph();
        let last = |node: &str| (!self.silent.contains(node)).then_some(self.now);
        let observers = BTreeMap::from([("n1".to_owned(), last("n1"))]);
        let facts = Facts {
            graph: &graph,
            index: &self.index,
            observers: &observers,
            losses: &self.losses,
            namespaces: &self.namespaces,
            labels: &self.labels,
            proposals: &self.proposals,
            policies: &self.policies,
            called: &self.called,
            now: self.now,
        };
        decide(&facts, &self.settings, &mut self.memory)
    }

    /// Decides and writes once; tells what was written.
    pub(super) fn round(&mut self) -> Vec<String> {
        let changes = self.decide().changes;
        changes
            .into_iter()
            .flat_map(|change| self.write(change))
            .collect()
    }

    /// Decides and writes until there is nothing left to write; tells what was written.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..6 {
            let written = self.round();
            if written.is_empty() {
                return all;
            }
            all.extend(written);
        }
        panic!("it does not come to rest: {:#?}", self.decide().changes);
    }

    /// Lets a roll-out come to its end: as often as it takes, a workload is watched and the next one follows.
    pub(super) fn roll_out(&mut self) {
        for _ in 0..4 {
            self.settle();
            self.wait(self.settings.watch + SignedDuration::from_secs(1));
        }
        self.settle();
    }

    fn write(&mut self, change: Change) -> Vec<String> {
        let mut written = Vec::new();
        for step in change.steps {
            let Some(verb) = self.carry_out(&change.proposal, &change.uid, step) else {
                break;
            };
            written.push(format!("{verb} {}", change.proposal));
        }
        written
    }

    fn carry_out(&mut self, name: &ObjectName, uid: &str, step: Step) -> Option<&'static str> {
        self.versions += 1;
        let version = self.versions.to_string();
        match step {
            Step::Propose => {
                assert!(!self.proposals.contains_key(name));
                let new = Proposal {
                    uid: format!("uid-{version}"),
                    version,
                    generation: Some(1),
                    ..Proposal::default()
                };
                self.proposals.insert(name.clone(), new);
                Some("propose")
            }
            Step::Create(policy) => {
                if self.policies.contains_key(name) {
                    return None;
                }
                self.put(*policy, &version, true);
                Some("create")
            }
            Step::Apply(policy) => {
                let known = self.policies.get(name)?;
                assert!(known.is_of(uid), "only ours is changed");
                let (old, new) = (&known.policy.metadata, &policy.metadata);
                assert_eq!(
                    (&old.uid, &old.resource_version),
                    (&new.uid, &new.resource_version)
                );
                self.put(*policy, &version, true);
                Some("apply")
            }
            Step::Remove { uid: own, version } => {
                let known = self.policies.get(name)?;
                assert!(known.is_of(uid), "only ours is deleted");
                let metadata = &known.policy.metadata;
                assert_eq!(metadata.uid.as_ref(), Some(&own));
                assert_eq!(metadata.resource_version.as_ref(), Some(&version));
                self.policies.remove(name);
                Some("remove")
            }
            Step::Answer(status) => {
                let known = self.proposals.get_mut(name)?;
                assert_ne!(known.status, *status, "nothing is written that is there");
                known.status = *status;
                known.version = version;
                Some("answer")
            }
            Step::Tell(event) => {
                self.events.push((name.clone(), event));
                Some("tell")
            }
            Step::Forget { .. } => {
                self.proposals.remove(name);
                Some("forget")
            }
        }
    }

    /// Stores a policy.
    pub(super) fn put(&mut self, mut policy: NetworkPolicy, version: &str, applied_by_us: bool) {
        let metadata = &mut policy.metadata;
        metadata.resource_version = Some(version.to_owned());
        metadata
            .uid
            .get_or_insert_with(|| format!("policy-{version}"));
        let (namespace, own) = (metadata.namespace.clone(), metadata.name.clone());
        let name = ObjectName::new(namespace.unwrap(), own.unwrap());
        let live = Live {
            policy,
            applied_by_us,
        };
        self.policies.insert(name, live);
    }

    /// Stores a policy of somebody else, which allows nothing to the pods with a label.
    pub(super) fn put_foreign(&mut self, own: &str, app: &str) {
        self.versions += 1;
        let version = self.versions.to_string();
        let policy = json!({
            "metadata": {"name": own, "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Egress"], "egress": [{}]},
        });
        self.put(serde_json::from_value(policy).unwrap(), &version, false);
    }

    pub(super) fn status(&self, proposal: &str) -> &LearnedPolicyStatus {
        &self.proposals[&name(proposal)].status
    }

    /// Whether a condition of a proposal holds, and why in a word.
    pub(super) fn condition(&self, proposal: &str, kind: ConditionType) -> (bool, String) {
        let condition = self.status(proposal).condition(kind).unwrap();
        (
            condition.status == ConditionStatus::True,
            condition.reason.clone(),
        )
    }

    /// The names of the policies that are there.
    pub(super) fn live(&self) -> Vec<String> {
        self.policies.keys().map(ToString::to_string).collect()
    }

    /// The reasons of the events so far about a proposal.
    pub(super) fn told(&self, proposal: &str) -> Vec<&'static str> {
        let about = name(proposal);
        let events = self.events.iter().filter(|(name, _)| *name == about);
        events.map(|(_, event)| event.reason).collect()
    }
}
