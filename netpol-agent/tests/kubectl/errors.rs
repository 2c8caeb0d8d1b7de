//! What goes wrong between a person and a cluster, in one line that says what to do.

use std::fs;

use serde_json::json;

use crate::double::fault::{Fault, Misbehaviour};
use crate::support::{Cluster, bare, run};

/// Runs a command that is to fail, and tells its only line.
fn failure(command: &mut assert_cmd::Command) -> String {
    let (code, out, problems) = run(command);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{problems}");
    let errors: Vec<&str> = problems
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{problems}");
    errors[0].to_owned()
}

#[track_caller]
fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn without_a_kubeconfig_it_is_said_what_to_name() {
    let error = failure(&mut bare(&["flows"]));
    says(
        &error,
        &[
            "no kubeconfig at",
            "--kubeconfig",
            "--inventory and --flows",
        ],
    );
}

#[test]
fn a_kubeconfig_that_says_nothing_useful() {
    let cluster = Cluster::new();
    let error = failure(&mut cluster.netpol(&["flows", "--context", "prod"]));
    says(
        &error,
        &["has no context \"prod\"", "kubectl config get-contexts"],
    );
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config");
    fs::write(&path, "{apiVersion: v1, kind: Config}").expect("a file");
    let error = failure(bare(&["flows"]).env("KUBECONFIG", &path));
    says(&error, &["no current context", "--context"]);
    fs::write(&path, "[").expect("a file");
    failure(bare(&["flows", "--kubeconfig"]).arg(&path));
}

#[test]
fn files_of_one_kind_alone_are_not_enough() {
    let cluster = Cluster::new();
    says(
        &failure(&mut cluster.netpol(&["flows", "-i", "x"])),
        &["--inventory needs flows"],
    );
    says(
        &failure(&mut cluster.netpol(&["flows", "-f", "x"])),
        &["name them with --inventory"],
    );
}

#[test]
fn an_api_server_that_is_not_there() {
    let cluster = Cluster::new();
    let mut command = cluster.netpol(&["violations"]);
    let address = cluster.api.address();
    drop(cluster.api);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let error = failure(&mut command);
    says(&error, &["cannot be reached", &address.to_string()]);
}

#[test]
fn a_credential_that_nobody_knows() {
    let cluster = Cluster::new();
    cluster.api.world().tokens.clear();
    says(
        &failure(&mut cluster.netpol(&["violations"])),
        &["does not know who you are", "log in again"],
    );
}

#[test]
fn a_right_that_is_missing_is_named() {
    let cluster = Cluster::new();
    cluster.revoke_all();
    let error = failure(&mut cluster.netpol(&["violations", "-n", "shop"]));
    says(
        &error,
        &["you may not list learnedpolicies.netpol.io in namespace \"shop\""],
    );
    cluster.grant("list", "", "pods", "");
    cluster.grant("get", "", "configmaps", "");
    let error = failure(&mut cluster.netpol(&["flows"]));
    says(
        &error,
        &["you may not create serviceaccounts/token \"netpol-viewer\""],
    );
}

#[test]
fn a_cluster_without_netpol() {
    let cluster = Cluster::new();
    cluster
        .api
        .delete("pods", "netpol-system", "netpol-aggregator-0");
    let error = failure(&mut cluster.netpol(&["flows"]));
    says(
        &error,
        &[
            "not installed in namespace netpol-system",
            "kubectl netpol install",
        ],
    );
    let error = failure(&mut cluster.netpol(&["flows", "--netpol-namespace", "elsewhere"]));
    says(&error, &["not installed in namespace elsewhere"]);
    cluster.api.misbehave(Fault::of(
        "list",
        "learnedpolicies",
        Misbehaviour::Status(404),
    ));
    says(
        &failure(&mut cluster.netpol(&["violations"])),
        &["does not know LearnedPolicies"],
    );
}

#[test]
fn an_aggregator_that_is_not_ready() {
    let cluster = Cluster::new();
    cluster.api.apply(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "netpol-aggregator-0", "namespace": "netpol-system",
            "labels": {"app.kubernetes.io/name": "netpol-aggregator"}},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
    }));
    let error = failure(&mut cluster.netpol(&["flows"]));
    says(&error, &["is not ready", "ImagePullBackOff: no such image"]);
}

#[test]
fn an_aggregator_that_has_no_authority_yet() {
    let cluster = Cluster::new();
    cluster
        .api
        .delete("configmaps", "netpol-system", "netpol-ca");
    says(
        &failure(&mut cluster.netpol(&["flows"])),
        &["ConfigMap netpol-ca", "is not there yet"],
    );
    cluster.trust("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    says(
        &failure(&mut cluster.netpol(&["flows"])),
        &["ConfigMap netpol-ca", "is no certificate"],
    );
}

#[test]
fn a_pod_that_does_not_listen() {
    let cluster = Cluster::new();
    cluster.tunnels().to = None;
    let error = failure(&mut cluster.netpol(&["flows"]));
    says(
        &error,
        &["pod netpol-aggregator-0", "connection refused by the pod"],
    );
}

#[test]
fn an_aggregator_that_says_no() {
    let cluster = Cluster::new();
    let problem = r#"{"title":"Not ready","detail":"the first list is under way"}"#;
    cluster.aggregator.said().refusal = Some((503, problem.to_owned()));
    let error = failure(&mut cluster.netpol(&["flows"]));
    says(
        &error,
        &[
            "Not ready: the first list is under way (503)",
            "try again in a minute",
        ],
    );
}

#[test]
fn an_answer_that_is_something_else() {
    let cluster = Cluster::new();
    cluster.aggregator.said().inventory = "{\"apiVersion\":".to_owned();
    says(
        &failure(&mut cluster.netpol(&["flows"])),
        &["the cluster's inventory"],
    );
    let list = r#"{"apiVersion":"v1","kind":"List","items":[]}"#;
    cluster.aggregator.said().inventory = list.to_owned();
    cluster.aggregator.said().flows = "teatime\n".to_owned();
    says(
        &failure(&mut cluster.netpol(&["flows"])),
        &["flows of the cluster", "line 1"],
    );
}

#[test]
fn an_answer_that_does_not_come() {
    let cluster = Cluster::new();
    let slow = Misbehaviour::Slow(std::time::Duration::from_secs(20));
    cluster
        .api
        .misbehave(Fault::of("list", "learnedpolicies", slow));
    let error = failure(&mut cluster.netpol(&["violations", "--request-timeout", "1"]));
    says(&error, &["no answer within 1 s", "--request-timeout"]);
}
