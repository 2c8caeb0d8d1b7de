//! Installing and uninstalling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::double::auth::Right;
use crate::double::rights::{of_account, unused};
use crate::support::{Cluster, run};

/// Who runs the hook of the chart.
const HOOK_ACCOUNT: &str = "netpol-uninstall";

/// Does the part of the cluster's own controllers while a command runs.
fn meanwhile<T>(
    cluster: &Cluster,
    part: impl Fn(&Cluster) + Sync,
    command: impl FnOnce() -> T,
) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                part(cluster);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let done = command();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// Gives an object a status, if it is there and has another one.
fn give_status(cluster: &Cluster, plural: &str, namespace: &str, name: &str, status: Value) {
    cluster.api.change((plural, namespace, name), |object| {
        object["status"] = status
    });
}

/// Everything that was applied comes up.
fn comes_up(cluster: &Cluster) {
    let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
    let definition = "learnedpolicies.netpol.io";
    give_status(
        cluster,
        "customresourcedefinitions",
        "",
        definition,
        established,
    );
    let available = json!({"observedGeneration": 9, "updatedReplicas": 1, "availableReplicas": 1});
    give_status(
        cluster,
        "deployments",
        "netpol-system",
        "netpol-aggregator",
        available,
    );
    let ready = json!({"observedGeneration": 9, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2});
    give_status(
        cluster,
        "daemonsets",
        "netpol-system",
        "netpol-agent",
        ready,
    );
}

/// The agents' pods once their command is `detach`; the one on `stuck` does not end.
fn detaches(cluster: &Cluster, stuck: &str) {
    detaches_on(cluster, &["a", "b"], stuck);
}

/// The same where only these nodes have got a pod that detaches.
fn detaches_on(cluster: &Cluster, nodes: &[&str], stuck: &str) {
    if cluster
        .api
        .get("deployments", "netpol-system", "netpol-aggregator")["spec"]["replicas"]
        == 0
        && !cluster
            .api
            .get("pods", "netpol-system", "netpol-aggregator-0")
            .is_null()
    {
        cluster
            .api
            .delete("pods", "netpol-system", "netpol-aggregator-0");
    }
    let set = cluster
        .api
        .get("daemonsets", "netpol-system", "netpol-agent");
    let template = &set["spec"]["template"];
    let arguments = &template["spec"]["containers"][0]["args"];
    if arguments[0] != "detach" {
        return;
    }
    for &node in nodes {
        let state = match node == stuck {
            true => json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}}),
            false => json!({"terminated": {"exitCode": 0}}),
        };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("netpol-agent-{node}"), "namespace": "netpol-system",
                "labels": {"app.kubernetes.io/name": "netpol-agent"}},
            "spec": {"nodeName": node, "containers": [{"name": "agent", "args": arguments}]},
            "status": {"containerStatuses": [{"name": "agent", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": state}]},
        });
        if cluster
            .api
            .get("pods", "netpol-system", &format!("netpol-agent-{node}"))
            .is_null()
        {
            cluster.api.apply(pod);
        }
    }
}

fn installed() -> Cluster {
    let cluster = Cluster::new();
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--no-wait"]));
    assert_eq!(code, Some(0), "{problems}");
    comes_up(&cluster);
    for (api, kind, name) in MADE {
        cluster.api.apply(json!({
            "apiVersion": api, "kind": kind,
            "metadata": {"name": name, "namespace": "netpol-system",
                "labels": {"app.kubernetes.io/managed-by": "netpol-aggregator"}},
        }));
    }
    cluster
}

/// What the aggregator makes while it runs.
const MADE: [(&str, &str, &str); 3] = [
    ("v1", "Secret", "netpol-aggregator-tls"),
    ("v1", "ConfigMap", "netpol-ca"),
    ("coordination.k8s.io/v1", "Lease", "netpol-aggregator"),
];

/// What is left of that.
fn made(cluster: &Cluster) -> Vec<Value> {
    let left = ["secrets", "configmaps", "leases"].map(|plural| cluster.api.all(plural));
    left.into_iter().flatten().collect()
}

/// Applies a policy as a field manager, owned by a LearnedPolicy or by nobody.
fn policy(cluster: &Cluster, manager: &str, name: &str, owned: bool) {
    let kind = GroupVersionKind::gvk("networking.k8s.io", "v1", "NetworkPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "networkpolicies");
    let client = {
        let _guard = cluster.runtime.enter();
        cluster.api.client_with(crate::support::TOKEN)
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, "shop", &resource);
    let mut object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
        "spec": {"podSelector": {}},
    });
    if owned {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "netpol.io/v1alpha1", "kind": "LearnedPolicy", "name": name, "uid": "u",
        }]);
    }
    let parameters = PatchParams::apply(manager);
    let applied = cluster
        .runtime
        .block_on(api.patch(name, &parameters, &Patch::Apply(object)));
    applied.expect("a policy");
}

#[test]
fn a_dry_run_asks_and_changes_nothing() {
    let cluster = Cluster::new();
    let (code, out, problems) = run(&mut cluster.netpol(&["install", "--dry-run"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.contains("deployment.apps/netpol-aggregator serverside-applied (server dry run)"),
        "{out}"
    );
    assert!(
        cluster.api.all("deployments").is_empty() && cluster.api.all("clusterroles").is_empty()
    );
}

#[test]
fn installing_waits_until_everything_runs() {
    let cluster = Cluster::new();
    let mut command = cluster.netpol(&[
        "install",
        "--image",
        "registry.example/netpol:1",
        "--timeout",
        "60s",
    ]);
    let (code, out, problems) = meanwhile(&cluster, comes_up, || run(&mut command));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.ends_with(
            "netpol is installed and learns; `kubectl netpol status -A` tells how far it is\n"
        ),
        "{out}"
    );
    let set = cluster
        .api
        .get("daemonsets", "netpol-system", "netpol-agent");
    assert_eq!(
        set["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.example/netpol:1"
    );
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--no-wait"]));
    assert_eq!(code, Some(0), "once more: {problems}");
}

#[test]
fn what_does_not_come_up_is_named() {
    let cluster = Cluster::new();
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--timeout", "1s"]));
    assert_eq!(code, Some(2));
    assert!(problems.contains("and time is up"), "{problems}");
    let (code, _, problems) =
        run(&mut cluster.netpol(&["install", "--netpol-namespace", "elsewhere"]));
    assert_eq!(code, Some(2));
    assert!(
        problems.contains("use the chart for another one"),
        "{problems}"
    );
}

#[test]
fn what_somebody_else_set_is_not_taken_over_unasked() {
    let cluster = Cluster::new();
    let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let resource = ApiResource::from_gvk_with_plural(&kind, "deployments");
    let client = {
        let _guard = cluster.runtime.enter();
        cluster.api.client_with(crate::support::TOKEN)
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, "netpol-system", &resource);
    let own = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "netpol-aggregator"},
        "spec": {"replicas": 5}});
    let parameters = PatchParams::apply("flux");
    let own = Patch::Apply(own);
    let patched = api.patch("netpol-aggregator", &parameters, &own);
    cluster.runtime.block_on(patched).expect("a deployment");
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--no-wait"]));
    assert_eq!(code, Some(2));
    assert!(problems.contains("--force-conflicts"), "{problems}");
    assert!(
        cluster.api.all("clusterroles").is_empty(),
        "nothing is applied before all of it is accepted"
    );
    let (code, _, problems) =
        run(&mut cluster.netpol(&["install", "--no-wait", "--force-conflicts"]));
    assert_eq!(code, Some(0), "{problems}");
    let replicas = cluster
        .api
        .get("deployments", "netpol-system", "netpol-aggregator")["spec"]["replicas"]
        .clone();
    assert_eq!(replicas, 1);
}

/// What the DaemonSet and the Deployment say.
fn runs(cluster: &Cluster) -> [Value; 2] {
    [
        ("daemonsets", "netpol-agent"),
        ("deployments", "netpol-aggregator"),
    ]
    .map(|(plural, name)| cluster.api.get(plural, "netpol-system", name)["spec"].clone())
}

#[test]
fn an_uninstall_that_was_given_up_is_taken_back_by_installing_again() {
    let cluster = installed();
    let before = runs(&cluster);
    let stuck = |cluster: &Cluster| detaches(cluster, "b");
    for _ in 0..2 {
        let mut command = cluster.netpol(&["uninstall", "--timeout", "2s"]);
        let (code, _, problems) = meanwhile(&cluster, stuck, || run(&mut command));
        assert_eq!(code, Some(2), "{problems}");
    }
    let given_up = runs(&cluster);
    assert_ne!(given_up[0], before[0]);
    assert_eq!(given_up[1]["replicas"], 0);
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--dry-run"]));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(runs(&cluster), given_up);
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--no-wait"]));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(runs(&cluster), before, "nothing of it is left");
    let place = ("deployments", "netpol-system", "netpol-aggregator");
    cluster.api.change(place, |object| {
        object["spec"]["replicas"] = json!(0);
        let owned = json!({"f:spec": {"f:replicas": {}}});
        let fields = object["metadata"]["managedFields"].as_array_mut().unwrap();
        fields.retain(|entry| entry["operation"] == "Apply");
        for manager in ["kubectl-netpol", "kubectl-netpol2"] {
            fields.push(
                json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1", "fieldsV1": owned}),
            );
        }
    });
    let (code, _, problems) = run(&mut cluster.netpol(&["install", "--no-wait"]));
    assert_eq!(code, Some(2), "somebody else wants it too");
    assert!(problems.contains("--force-conflicts"), "{problems}");
}

#[test]
fn uninstalling_leaves_what_people_decided_and_what_is_not_ours() {
    let cluster = installed();
    policy(&cluster, "netpol", "web-deployment", true);
    policy(&cluster, "netpol", "unowned", false);
    policy(&cluster, "kubectl", "somebodys", true);
    cluster.learned(
        "shop",
        "web-deployment",
        json!({"approved": ["kept"]}),
        json!({}),
    );
    let before = cluster.api.writes().len();
    let mut command = cluster.netpol(&["uninstall", "--timeout", "60s"]);
    let (code, out, problems) = meanwhile(
        &cluster,
        |cluster| detaches(cluster, ""),
        || run(&mut command),
    );
    assert_eq!(code, Some(0), "{problems}");
    assert!(out.contains("1 policies of netpol's removed"), "{out}");
    assert!(out.contains("detached on 2 nodes"), "{out}");
    assert!(
        problems.contains("left: ") && problems.contains("its 1 LearnedPolicies"),
        "{problems}"
    );
    let names = |plural: &str| -> Vec<Value> {
        cluster
            .api
            .all(plural)
            .iter()
            .map(|object| object["metadata"]["name"].clone())
            .collect()
    };
    assert_eq!(names("networkpolicies"), ["somebodys", "unowned"]);
    assert_eq!(names("learnedpolicies"), ["web-deployment"]);
    assert_eq!(
        names("customresourcedefinitions"),
        ["learnedpolicies.netpol.io"]
    );
    for gone in [
        "deployments",
        "daemonsets",
        "clusterroles",
        "clusterrolebindings",
        "configmaps",
        "leases",
        "secrets",
    ] {
        assert!(names(gone).is_empty(), "{gone}");
    }
    let briefs: Vec<String> = cluster.api.writes()[before..]
        .iter()
        .map(|write| write.brief())
        .collect();
    let expected = [
        "patch netpol-system/deployments/netpol-aggregator",
        "delete shop/networkpolicies/web-deployment",
        "patch netpol-system/daemonsets/netpol-agent",
    ];
    assert_eq!(briefs[..3], expected);
    let (code, _, problems) = run(&mut cluster.netpol(&["uninstall"]));
    assert_eq!(code, Some(0), "once more: {problems}");
}

/// The arguments and the environment of the Job that the chart runs before Helm uninstalls.
fn hook() -> (Vec<String>, Vec<(String, String)>) {
    let manifest = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/uninstall/90-uninstall.yaml"
    );
    let text = std::fs::read_to_string(manifest).expect("the manifest of the hook");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let job = documents.iter().find(|object| object["kind"] == "Job");
    let pod = &job.expect("a Job")["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], HOOK_ACCOUNT);
    let container = &pod["containers"][0];
    assert_eq!(container["command"], json!(["/kubectl-netpol"]));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let arguments = container["args"].as_array().expect("arguments");
    let variables = container["env"].as_array().expect("an environment");
    (
        arguments.iter().map(text).collect(),
        variables
            .iter()
            .map(|variable| (text(&variable["name"]), text(&variable["value"])))
            .collect(),
    )
}

#[test]
fn the_hook_of_the_chart_has_the_rights_that_it_takes_and_no_more() {
    let cluster = installed();
    policy(&cluster, "netpol", "web-deployment", true);
    policy(&cluster, "kubectl", "somebodys", true);
    cluster.api.guard(HOOK_ACCOUNT, "hook");
    let everything = |plurals: &[&str]| -> Vec<Vec<Value>> {
        plurals
            .iter()
            .map(|plural| cluster.api.all(plural))
            .collect()
    };
    let own = [
        "clusterroles",
        "customresourcedefinitions",
        "namespaces",
        "serviceaccounts",
        "services",
    ];
    let before = everything(&own);
    let (arguments, variables) = hook();
    let mut command = cluster.netpol_as("hook", &arguments);
    command.envs(variables);
    let (code, out, problems) = meanwhile(
        &cluster,
        |cluster| detaches(cluster, ""),
        || run(&mut command),
    );
    assert_eq!(code, Some(0), "{problems}");
    assert!(out.contains("1 policies of netpol's removed"), "{out}");
    assert!(out.contains("detached on 2 nodes\n"), "{out}");
    assert!(
        out.ends_with("lease.coordination.k8s.io/netpol-aggregator deleted\n"),
        "{out}"
    );
    assert_eq!(made(&cluster), [Value::Null; 0], "the key goes too");
    assert!(problems.contains("netpol's own objects"), "{problems}");
    assert_eq!(everything(&own), before, "nothing else is touched");
    let policies = cluster.api.all("networkpolicies");
    let names = policies.iter().map(|policy| &policy["metadata"]["name"]);
    let names: Vec<&Value> = names.collect();
    assert!(names.contains(&&json!("somebodys")) && !names.contains(&&json!("web-deployment")));
    let unused = unused(
        &of_account(HOOK_ACCOUNT),
        &cluster.api.asked_by(HOOK_ACCOUNT),
    );
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}

#[test]
fn a_key_that_cert_manager_keeps_stays() {
    let cluster = installed();
    let secret = ("secrets", "netpol-system", "netpol-aggregator-tls");
    cluster.api.change(secret, |secret| {
        secret["metadata"]["annotations"] = json!({"cert-manager.io/certificate-name": "a"});
    });
    let mut command = cluster.netpol(&["uninstall", "--effects-only"]);
    let (code, _, problems) = meanwhile(
        &cluster,
        |cluster| detaches(cluster, ""),
        || run(&mut command),
    );
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        problems.contains("left: secret/netpol-aggregator-tls, which netpol did not make"),
        "{problems}"
    );
    assert_eq!(made(&cluster).len(), 1);
}

#[test]
fn a_right_that_is_missing_is_told_before_anything_is_changed() {
    let cluster = installed();
    policy(&cluster, "netpol", "web-deployment", true);
    let needed = of_account(HOOK_ACCOUNT).into_iter().map(|right| Right {
        user: "alice".to_owned(),
        ..right
    });
    let needed: Vec<Right> = needed.collect();
    let before = cluster.api.writes().len();
    for missing in &needed {
        let others = needed.iter().filter(|right| *right != missing);
        cluster.grant_only(others.cloned());
        let (code, out, problems) = run(&mut cluster.netpol(&["uninstall", "--effects-only"]));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{missing}: {problems}");
        let told = format!("you may not {} {}", missing.verb, missing.resource);
        assert!(problems.contains(&told), "{missing}: {problems}");
    }
    assert_eq!(cluster.api.writes().len(), before);
}

#[test]
fn the_effects_can_be_undone_wherever_netpol_is_installed() {
    let cluster = Cluster::new();
    let elsewhere = ["uninstall", "--netpol-namespace", "elsewhere"];
    let (code, _, problems) = run(&mut cluster.netpol(&elsewhere));
    assert_eq!(code, Some(2));
    assert!(problems.contains("use helm uninstall"), "{problems}");
    let mut command = cluster.netpol(&elsewhere);
    let (code, out, problems) = run(command.arg("--effects-only"));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(out, "0 policies of netpol's removed\n");
}

#[test]
fn a_node_that_does_not_answer_is_named_and_may_be_left() {
    let cluster = installed();
    let stuck = |cluster: &Cluster| detaches(cluster, "b");
    let mut command = cluster.netpol(&["uninstall", "--timeout", "3s"]);
    let (code, _, problems) = meanwhile(&cluster, stuck, || run(&mut command));
    assert_eq!(code, Some(2));
    assert!(problems.contains("not detached in time on b"), "{problems}");
    assert_eq!(cluster.api.all("daemonsets").len(), 1);
    let (code, _, problems) =
        run(&mut cluster.netpol(&["uninstall", "--timeout", "1s", "--leave-nodes"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(problems.contains("not detached on b"), "{problems}");
    assert!(cluster.api.all("daemonsets").is_empty());
}

#[test]
fn a_node_without_a_pod_is_not_taken_for_one_that_is_detached() {
    let cluster = installed();
    let one_of_two = |cluster: &Cluster| detaches_on(cluster, &["a"], "");
    let mut command = cluster.netpol(&["uninstall", "--timeout", "3s"]);
    let (code, _, problems) = meanwhile(&cluster, one_of_two, || run(&mut command));
    assert_eq!(code, Some(2), "{problems}");
    assert!(
        problems.contains("not detached in time on 1 node without a pod of the agent's"),
        "{problems}"
    );
    assert_eq!(cluster.api.all("daemonsets").len(), 1);
    assert_eq!(
        made(&cluster).len(),
        MADE.len(),
        "nothing goes before all is done"
    );
    let (code, _, problems) =
        run(&mut cluster.netpol(&["uninstall", "--timeout", "1s", "--leave-nodes"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        problems.contains("not detached on 1 node without"),
        "{problems}"
    );
}

#[test]
fn uninstalling_is_tried_without_changing_anything() {
    let cluster = installed();
    policy(&cluster, "netpol", "web-deployment", true);
    let before = cluster.api.world().all("networkpolicies");
    let (code, out, problems) = run(&mut cluster.netpol(&["uninstall", "--dry-run"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.contains("1 policies of netpol's removed (server dry run)"),
        "{out}"
    );
    assert_eq!(cluster.api.world().all("networkpolicies"), before);
    assert_eq!(cluster.api.all("daemonsets").len(), 1);
    assert!(
        out.contains("secret/netpol-aggregator-tls deleted (server dry run)"),
        "{out}"
    );
    assert_eq!(made(&cluster).len(), MADE.len());
    cluster.revoke_all();
    cluster.grant(
        "create",
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "",
    );
    cluster.grant("patch", "apps", "deployments", "");
    let (code, _, problems) = run(&mut cluster.netpol(&["uninstall"]));
    assert_eq!(code, Some(2));
    assert!(
        problems.contains("you may not list networkpolicies.networking.k8s.io"),
        "{problems}"
    );
}
