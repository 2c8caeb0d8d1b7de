//! Lasting: what is written today selects tomorrow's pods, of every kind of owner, as the inventory shows them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::judge::passes;
use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Index, Peer};
use crate::inventory;
use crate::policy::emit::{Format, kubernetes};
use crate::policy::evaluate::{End, Pod};
use crate::policy::finding::Finding;
use crate::policy::model::Texts;
use crate::policy::{Cluster, Direction, Dns, Options, Proposal, Synthesiser, synthesise};

/// Kinds of owners: the group of those that own pods by way of something else, and of those that own them themselves.
const KINDS: [&str; 10] = [
    "Deployment",
    "Rollout",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "TaskRun",
    "Cluster",
    "Pod",
    "Helm",
];

/// An owner: its kind, the labels that last, and how many pods it has on either day.
#[derive(Clone)]
struct Owner {
    kind: &'static str,
    number: usize,
    labels: Labels,
    pods: [usize; 2],
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let labels = labels.collect::<Vec<_>>().join(",");
        let [today, tomorrow] = [0, 1].map(|day| self.pod_count(day));
        let (kind, name) = (self.kind, self.name());
        write!(
            f,
            "{kind} {name} {{{labels}}}, pods: {today}, then {tomorrow}"
        )
    }
}

fn any_owners() -> impl Strategy<Value = Vec<Owner>> {
    let labels = || {
        let label = (
            prop::sample::select(
                &[
                    "app",
                    "tier",
                    "app.kubernetes.io/name",
                    "app.kubernetes.io/instance",
                ][..],
            ),
            prop::sample::select(&["x", "y"][..]),
        );
        prop::collection::btree_map(
            label.0.prop_map(str::to_owned),
            label.1.prop_map(str::to_owned),
            0..4,
        )
    };
    let owner = (
        prop::sample::select(&KINDS[..]),
        labels(),
        [0usize..3, 1usize..3],
    );
    prop::collection::vec(owner, 1..6).prop_map(|owners| {
        let numbered = owners.into_iter().enumerate();
        numbered
            .map(|(number, (kind, labels, pods))| Owner {
                kind,
                number,
                labels,
                pods,
            })
            .collect()
    })
}

impl Owner {
    fn name(&self) -> String {
        format!("w{}", self.number)
    }

    /// Two releases of one chart are Deployments.
    fn shown_kind(&self) -> &str {
        match self.kind {
            "Helm" => "Deployment",
            kind => kind,
        }
    }

    fn workload(&self) -> WorkloadName {
        WorkloadName::new("n", self.shown_kind(), self.name())
    }

    /// Whether the inventory shows its template, so that it is known without pods.
    fn has_template(&self) -> bool {
        matches!(
            self.kind,
            "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob" | "Helm"
        )
    }

    fn pod_count(&self, day: usize) -> usize {
        match (self.kind, self.has_template()) {
            ("Pod" | "TaskRun" | "Job", _) => 1,
            (_, true) => self.pods[day],
            (_, false) => self.pods[day].max(1),
        }
    }

    /// The labels of its template on a day.
    fn template(&self, day: usize) -> Labels {
        let mut labels = self.labels.clone();
        let mut put = |key: &str, value: String| drop(labels.insert(key.to_owned(), value));
        match self.kind {
            "Helm" => {
                put("app.kubernetes.io/name", "chart".to_owned());
                put("app.kubernetes.io/instance", self.name());
                put("app.kubernetes.io/version", format!("1.{day}"));
                put("helm.sh/chart", format!("chart-1.{day}"));
            }
            "Job" => {
                put("job-name", self.run(day));
                put("controller-uid", format!("uid-{day}"));
                put("batch.kubernetes.io/job-name", self.run(day));
            }
            _ => put("version", format!("v{day}")),
        }
        labels
    }

    /// The name of what runs on a day.
    fn run(&self, day: usize) -> String {
        match self.kind {
            "Job" => format!("w{}-v{day}", self.number),
            "CronJob" => format!("w{}-{}", self.number, 29_000_000 + day),
            "TaskRun" => format!("w{}-{}", self.number, ["x7k2p", "bq9zd"][day]),
            _ => format!("w{}-{}", self.number, ["6d5f7c", "79b8d4"][day]),
        }
    }

    /// The owner's own selector: labels that every template of it has had.
    fn selector(&self) -> Labels {
        let mut labels = self.template(0);
        let fixed = [
            "app",
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
        ];
        labels.retain(|key, _| fixed.contains(&key.as_str()));
        labels
    }

    /// Its objects on a day.
    fn objects(&self, day: usize) -> Vec<Value> {
        let (name, template) = (self.name(), self.template(day));
        let spec = |more: Value| {
            let mut spec =
                json!({"template": {"metadata": {"labels": template}, "spec": {"containers": []}}});
            if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
                spec.extend(more);
            }
            spec
        };
        let selector = json!({"matchLabels": self.selector()});
        let own = match self.shown_kind() {
            kind @ ("Deployment" | "StatefulSet" | "DaemonSet") => {
                vec![object(
                    "apps/v1",
                    kind,
                    &name,
                    None,
                    spec(json!({"selector": selector})),
                )]
            }
            "CronJob" => {
                vec![object(
                    "batch/v1",
                    "CronJob",
                    &name,
                    None,
                    json!({"schedule": "@hourly", "jobTemplate": {"spec": spec(json!({}))}}),
                )]
            }
            "Job" => vec![object(
                "batch/v1",
                "Job",
                &self.run(day),
                None,
                spec(json!({})),
            )],
            _ => vec![],
        };
        let mut objects = own;
        if self.pod_count(day) > 0 {
            objects.extend(self.between(day));
        }
        objects.extend((0..self.pod_count(day)).map(|ordinal| self.pod(day, ordinal)));
        objects
    }

    /// What stands between the owner and its pods.
    fn between(&self, day: usize) -> Option<Value> {
        let (run, name) = (self.run(day), self.name());
        let template =
            json!({"metadata": {"labels": self.pod_labels(day, 0)}, "spec": {"containers": []}});
        let selector = json!({"matchLabels": self.selector()});
        match self.shown_kind() {
            "Deployment" => Some(object(
                "apps/v1",
                "ReplicaSet",
                &run,
                Some(("apps/v1", "Deployment", &name)),
                json!({"selector": selector, "template": template}),
            )),
            "Rollout" => Some(object(
                "apps/v1",
                "ReplicaSet",
                &run,
                Some(("argoproj.io/v1alpha1", "Rollout", &name)),
                json!({"selector": selector, "template": template}),
            )),
            "CronJob" => Some(object(
                "batch/v1",
                "Job",
                &run,
                Some(("batch/v1", "CronJob", &name)),
                json!({"template": template}),
            )),
            _ => None,
        }
    }

    fn pod_labels(&self, day: usize, ordinal: usize) -> Labels {
        let mut labels = self.template(day);
        let run = self.run(day);
        let hash = run.rsplit('-').next().unwrap_or_default().to_owned();
        let mut put =
            |key: &str, value: &str| drop(labels.insert(key.to_owned(), value.to_owned()));
        match self.shown_kind() {
            "Deployment" => put("pod-template-hash", &hash),
            "Rollout" => put("rollouts-pod-template-hash", &hash),
            "StatefulSet" => {
                put("controller-revision-hash", &hash);
                put(
                    "statefulset.kubernetes.io/pod-name",
                    &format!("{}-{ordinal}", self.name()),
                );
                put("apps.kubernetes.io/pod-index", &ordinal.to_string());
            }
            "DaemonSet" => put("controller-revision-hash", &hash),
            "CronJob" => {
                put("job-name", &run);
                put("batch.kubernetes.io/controller-uid", &format!("uid-{day}"));
            }
            "TaskRun" => put("tekton.dev/taskRun", &run),
            _ => {}
        }
        put("topology.kubernetes.io/zone", &format!("zone-{ordinal}"));
        labels
    }

    fn pod(&self, day: usize, ordinal: usize) -> Value {
        let (run, name) = (self.run(day), self.name());
        let owner = match self.shown_kind() {
            "Deployment" | "Rollout" => Some(("apps/v1", "ReplicaSet", run.as_str())),
            "Job" | "CronJob" => Some(("batch/v1", "Job", run.as_str())),
            "TaskRun" => Some(("tekton.dev/v1", "TaskRun", run.as_str())),
            "Cluster" => Some(("postgresql.cnpg.io/v1", "Cluster", name.as_str())),
            "Pod" => None,
            kind => Some(("apps/v1", kind, name.as_str())),
        };
        let pod = match self.shown_kind() {
            "Pod" => name.clone(),
            _ => format!("{run}-{ordinal}"),
        };
        let mut object = object(
            "v1",
            "Pod",
            &pod,
            owner,
            json!({"nodeName": format!("node-{day}"), "containers": []}),
        );
        object["metadata"]["labels"] = json!(self.pod_labels(day, ordinal));
        object["status"] = json!({"phase": "Running"});
        object
    }
}

fn object(
    version: &str,
    kind: &str,
    name: &str,
    owner: Option<(&str, &str, &str)>,
    spec: Value,
) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"namespace": "n", "name": name, "uid": format!("uid-of-{kind}-{name}")},
        "spec": spec,
    });
    if let Some((version, kind, name)) = owner {
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": version, "kind": kind, "name": name, "uid": "u", "controller": true}]);
    }
    object
}

/// The inventory of a day, as a file would hold it.
fn index(owners: &[Owner], day: usize, backwards: bool) -> Index {
    let mut items: Vec<Value> = owners.iter().flat_map(|owner| owner.objects(day)).collect();
    if backwards {
        items.reverse();
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    inventory::parse("inventory.json", &list.to_string())
        .expect("an inventory")
        .index()
}

/// Everybody talks to everybody else.
fn graph(owners: &[Owner]) -> FlowGraph {
    let mut graph = FlowGraph::default();
    let view = ViewEvidence {
        counts: Counts {
            established: 1,
            ..Counts::default()
        },
        ..ViewEvidence::default()
    };
    for client in owners {
        for server in owners
            .iter()
            .filter(|server| server.number != client.number)
        {
            let edge = EdgeId {
                client: Peer::Workload(client.workload()),
                server: Peer::Workload(server.workload()),
                protocol: Protocol::Tcp,
                port: 80,
            };
            let evidence = Evidence {
                client: Some(view.clone()),
                server: Some(view.clone()),
                ..Evidence::default()
            };
            graph.edges.insert(edge.into(), evidence);
        }
    }
    graph
}

fn proposal(index: &Index, graph: &FlowGraph) -> Proposal {
    let options = Options {
        dns: Dns::Seen,
        ..Options::default()
    };
    synthesise(graph, &Cluster::of(index), &options)
}

/// The workloads that no selector matches alone, with the label to add.
fn unselectable(proposal: &Proposal) -> BTreeMap<&WorkloadName, &(String, String)> {
    let findings = proposal.findings.iter();
    let named = findings.filter_map(|finding| match finding {
        Finding::Unselectable { workload, add, .. } => Some((workload, add)),
        _ => None,
    });
    named.collect()
}

/// Every pod, with its workload.
fn pods(index: &Index) -> Vec<(WorkloadName, Pod)> {
    let pod = |pod: &crate::identity::objects::Pod| {
        let judged = Pod {
            name: ObjectName::new("n", &pod.name.name),
            labels: (*pod.labels).clone(),
            node: pod.node.clone(),
            host_network: false,
            named_ports: Vec::new(),
        };
        (index.workload_of(pod), judged)
    };
    index.pods().map(pod).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// The policies of today select the pods of today and of another day, each those of its workload and no others,
    /// and let through what they let through.
    #[test]
    fn lasting(owners in any_owners()) {
        let today = index(&owners, 0, false);
        let graph = graph(&owners);
        let proposal = proposal(&today, &graph);
        let policies: Vec<NetworkPolicy> = proposal.policies.iter().map(kubernetes::object).collect();
        for day in [0, 1] {
            let pods = pods(&index(&owners, day, false));
            for policy in &proposal.policies {
                for (workload, pod) in &pods {
                    let wanted = |(key, values): (&str, &Texts)| pod.labels.get(key).is_some_and(|value| values.contains(value));
                    let selected = policy.subject.iter().all(wanted);
                    prop_assert_eq!(selected, *workload == policy.workload, "{:?} and {:?} on day {}", policy.subject, pod, day);
                    for (other, client) in pods.iter().filter(|(other, _)| other != workload && selected) {
                        let mut client = client.clone();
                        client.node = Some("far".to_owned());
                        let end = (End::Pod(&client), [10, 0, 0, 2].into());
                        let passes = passes(&policies, pod, end, Direction::Ingress, (Protocol::Tcp, 80));
                        prop_assert!(passes, "{} from {} on day {}", workload, other, day);
                    }
                }
            }
        }
    }

    /// A workload is unselectable only if another has all its lasting labels, and the label that is named helps.
    #[test]
    fn unselectable_until_the_label_is_added(mut owners in any_owners()) {
        // One workload alone talks to nobody, so that nothing is proposed.
        if owners.len() < 2 {
            return Ok(());
        }
        let graph = graph(&owners);
        let before = proposal(&index(&owners, 0, false), &graph);
        let missing = unselectable(&before);
        for owner in &mut owners {
            let Some((key, value)) = missing.get(&owner.workload()) else {
                continue;
            };
            owner.labels.insert(key.clone(), value.clone());
        }
        let after = proposal(&index(&owners, 0, false), &graph);
        prop_assert_eq!(unselectable(&after), BTreeMap::new());
        prop_assert_eq!(after.policies.len(), owners.len());
    }

    /// Who has a label that nobody else has can be selected.
    #[test]
    fn selectable_by_a_label_of_its_own(mut owners in any_owners(), chosen in any::<prop::sample::Index>()) {
        let chosen = chosen.index(owners.len());
        owners[chosen].labels.insert("own".to_owned(), "yes".to_owned());
        let proposal = proposal(&index(&owners, 0, false), &graph(&owners));
        prop_assert!(!unselectable(&proposal).contains_key(&owners[chosen].workload()));
    }

    /// The order of the objects in the inventory changes nothing.
    #[test]
    fn deterministic_in_the_order_of_objects(owners in any_owners()) {
        let graph = graph(&owners);
        let [one, other] = [false, true].map(|backwards| {
            let cluster = Cluster::of(&index(&owners, 0, backwards));
            let mut synthesiser = Synthesiser::new(Cow::Owned(cluster), Cow::Owned(Options::default().into()));
            for (edge, evidence) in &graph.edges {
                synthesiser.learn(edge, evidence);
            }
            synthesiser.proposal()
        });
        prop_assert_eq!(Format::Yaml.text(&one.policies, true), Format::Yaml.text(&other.policies, true));
        prop_assert_eq!(one, other);
    }
}
