//! Workloads: which pods belong together, and how policies may select them.

use std::collections::{BTreeMap, BTreeSet};

use netpol_agent::identity::objects::{Labels, OwnerReference, Pod};
use netpol_agent::identity::{Index, LabelSource, WorkloadView};
use netpol_agent::inventory;

use crate::cluster;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn index() -> Index {
    inventory::parse("cluster.yaml", cluster::OBJECTS)
        .expect("an inventory")
        .index()
}

fn view(name: &str) -> WorkloadView {
    let name = name.parse().expect("the name of a workload");
    index().workload(&name).expect("it is there")
}

/// The workload of a pod whose owner is not in the inventory.
fn workload(api_version: &str, kind: &str, owner: &str, pod_labels: &[(&str, &str)]) -> String {
    let pod = Pod {
        labels: labels(pod_labels).into(),
        owner: Some(
            OwnerReference {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                name: owner.to_owned(),
                uid: String::new(),
            }
            .into(),
        ),
        ..Pod::default()
    };
    let name = Index::default().workload_of(&pod);
    format!("{}/{}", name.kind, name.name)
}

#[test]
fn groups_runs_under_their_stable_names() {
    let table = [
        (
            "argoproj.io/v1alpha1",
            "Workflow",
            "etl-x7k2p",
            "Workflow/etl",
        ),
        (
            "argoproj.io/v1alpha1",
            "Workflow",
            "etl-1735812345",
            "Workflow/etl",
        ),
        (
            "tekton.dev/v1",
            "TaskRun",
            "build-x7k2p-compile",
            "TaskRun/build-compile",
        ),
        (
            "tekton.dev/v1",
            "PipelineRun",
            "deploy-run-7",
            "PipelineRun/deploy-run",
        ),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            "pi-1735812345000000000",
            "SparkApplication/pi",
        ),
        ("batch/v1", "Job", "migrate-v42", "Job/migrate"),
        ("batch/v1", "Job", "backup-20260102", "Job/backup"),
        ("batch/v1", "Job", "import.3f2a9c01b7", "Job/import"),
        ("batch/v1", "Job", "migrate", "Job/migrate"),
        // Nothing stable in it; and names of kinds that are no runs keep small numbers and words.
        ("batch/v1", "Job", "x7k2p", "Job/x7k2p"),
        ("postgresql.cnpg.io/v1", "Cluster", "pg-14", "Cluster/pg-14"),
        (
            "postgresql.cnpg.io/v1",
            "Cluster",
            "orders-main",
            "Cluster/orders-main",
        ),
        // Kinds that only share a built-in one's name.
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            "train-1",
            "Job.batch.volcano.sh/train",
        ),
        (
            "apps/v1",
            "StatefulSet",
            "db-20260102",
            "StatefulSet/db-20260102",
        ),
    ];
    for (version, kind, owner, expected) in table {
        assert_eq!(workload(version, kind, owner, &[]), expected);
    }
}

#[test]
fn infers_the_deployment_of_a_replica_set_that_is_not_listed() {
    let of = |labels: &[(&str, &str)]| workload("apps/v1", "ReplicaSet", "web-ui-6d5f", labels);
    assert_eq!(of(&[("pod-template-hash", "6d5f")]), "Deployment/web-ui");
    assert_eq!(
        of(&[("rollouts-pod-template-hash", "6d5f")]),
        "Rollout/web-ui"
    );
    assert_eq!(
        of(&[("pod-template-hash", "other")]),
        "ReplicaSet/web-ui-6d5f"
    );
    assert_eq!(of(&[]), "ReplicaSet/web-ui-6d5f");
}

#[test]
fn shows_selector_template_and_nodes() {
    let web = view("shop/Deployment/web");
    assert_eq!(web.selector, labels(&[("app", "web")]));
    assert_eq!(
        web.template_labels,
        labels(&[("app", "web"), ("tier", "front")])
    );
    assert_eq!(web.labels_from, LabelSource::Template);
    assert_eq!((web.running, web.host_network), (1, false));
    assert_eq!(web.nodes, BTreeSet::from(["a".to_owned()]));
}

#[test]
fn shows_workloads_without_pods() {
    let idle = view("shop/Deployment/idle");
    assert_eq!((idle.running, idle.host_network), (0, true));
    assert_eq!(idle.template_labels, labels(&[("app", "idle")]));
    let report = view("shop/CronJob/report");
    assert_eq!(report.template_labels, labels(&[("app", "report")]));
    assert_eq!(report.running, 0, "its only pod has finished");
}

#[test]
fn takes_the_labels_of_pods_where_no_template_is_read_less_what_names_the_run() {
    let build = view("shop/TaskRun/build-compile");
    assert_eq!(build.labels_from, LabelSource::Pods);
    assert_eq!(build.template_labels, labels(&[("app", "build")]));
    let toolbox = view("shop/Pod/toolbox");
    assert_eq!(
        toolbox.template_labels,
        labels(&[("run", "toolbox")]),
        "its name is no run's"
    );
    let proxy = view("kube-system/DaemonSet/proxy");
    assert!(proxy.host_network);
}

#[test]
fn lists_each_workload_once_in_order() {
    let names: Vec<String> = index()
        .workloads()
        .into_iter()
        .map(|view| view.name.to_string())
        .collect();
    let expected = [
        "kube-system/DaemonSet/proxy",
        "kube-system/Pod/etcd",
        "shop/CronJob/nightly",
        "shop/CronJob/report",
        "shop/Deployment/blue",
        "shop/Deployment/green",
        "shop/Deployment/idle",
        "shop/Deployment/search",
        "shop/Deployment/web",
        "shop/Job/migrate",
        "shop/Pod/burst",
        "shop/Pod/toolbox",
        "shop/Rollout/cart",
        "shop/StatefulSet/db",
        "shop/TaskRun/build-compile",
    ];
    assert_eq!(names, expected);
}

#[test]
fn knows_namespaces_that_are_not_listed() {
    let named = |name: &str| ("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    let shop = Labels::from([named("shop"), ("team".to_owned(), "shop".to_owned())]);
    let expected = BTreeMap::from([
        ("default".to_owned(), Labels::from([named("default")])),
        (
            "kube-system".to_owned(),
            Labels::from([named("kube-system")]),
        ),
        ("shop".to_owned(), shop),
    ]);
    assert_eq!(index().namespaces(), expected);
}

#[test]
fn tells_the_api_servers_addresses() {
    let expected = BTreeSet::from([("192.168.0.1".parse().unwrap(), 6443)]);
    assert_eq!(index().api_server_addresses(), expected);
}
