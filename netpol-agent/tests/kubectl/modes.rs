//! Labels of namespaces, and waiting for what they bring about.

use serde_json::{Value, json};

use crate::support::{Cluster, condition, run};

fn label(cluster: &Cluster, namespace: &str) -> Value {
    cluster.api.get("namespaces", "", namespace)["metadata"]["labels"]["netpol.io/mode"].clone()
}

fn in_force() -> Value {
    json!({"workload": "Deployment/web", "namespaceMode": "enforce", "mode": "enforce",
        "conditions": [condition("Applied", "True", "Applied", "")]})
}

fn refused() -> Value {
    json!({"workload": "Deployment/api", "namespaceMode": "enforce", "mode": "enforce", "conditions": [
        condition("Complete", "False", "TooShort", "3 of 24 h"),
        condition("Applied", "False", "Incomplete", "not complete: 3 of 24 h"),
    ]})
}

#[test]
fn a_mode_is_a_label_that_this_command_owns() {
    let cluster = Cluster::new();
    for (mode, was) in [
        ("audit", "no label"),
        ("enforce", "audit"),
        ("learn", "enforce"),
    ] {
        let (code, out, problems) = run(&mut cluster.netpol(&[mode, "shop"]));
        assert_eq!(code, Some(0), "{problems}");
        assert!(
            out.contains(&format!("netpol.io/mode={mode} (it had {was}")),
            "{out}"
        );
        assert_eq!(label(&cluster, "shop"), mode);
    }
    assert_eq!(label(&cluster, "pay"), Value::Null);
    let writes = cluster.api.writes();
    let briefs: Vec<String> = writes.iter().map(|write| write.brief()).collect();
    assert_eq!(briefs, ["patch namespaces/shop"; 3]);
    assert!(
        writes
            .iter()
            .all(|write| write.manager == "kubectl-netpol" && write.user == "alice")
    );
    let (code, out, _) = run(&mut cluster.netpol(&["learn", "shop"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("already"), "{out}");
    assert_eq!(cluster.api.writes().len(), 3, "nothing to write");
}

#[test]
fn a_dry_run_changes_nothing_and_tells_what_would_be_refused() {
    let cluster = Cluster::new();
    let status = json!({"workload": "Deployment/api", "mode": "learn", "conditions": [
        condition("Complete", "False", "TooShort", "3 of 24 h"),
        condition("NameConflict", "True", "Taken", "somebody else's"),
    ]});
    cluster.learned("shop", "api-deployment", Value::Null, status);
    let (code, out, problems) = run(&mut cluster.netpol(&["enforce", "shop", "--dry-run"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(out.contains("(server dry run)"), "{out}");
    let expected = "Deployment/api is not enforced as it is: not complete (3 of 24 h); NameConflict (somebody else's)";
    assert!(problems.contains(expected), "{problems}");
    assert_eq!(label(&cluster, "shop"), Value::Null);
}

#[test]
fn who_may_not_is_told_before_anything_is_tried() {
    let cluster = Cluster::new();
    cluster.revoke_all();
    cluster.grant("get", "", "namespaces", "");
    cluster.grant(
        "create",
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "",
    );
    let (code, _, problems) = run(&mut cluster.netpol(&["enforce", "shop"]));
    assert_eq!(code, Some(2));
    assert!(
        problems.contains("you may not patch namespaces \"shop\""),
        "{problems}"
    );
    assert!(cluster.api.writes().is_empty());
    let (code, _, problems) = run(&mut cluster.netpol(&["enforce", "nowhere"]));
    assert_eq!(code, Some(2));
    assert!(
        problems.contains("there is no namespace \"nowhere\""),
        "{problems}"
    );
}

#[test]
fn waiting_ends_when_all_is_in_force() {
    let cluster = Cluster::new();
    cluster.learned(
        "shop",
        "web-deployment",
        Value::Null,
        json!({"workload": "Deployment/web"}),
    );
    let mut command = cluster.netpol(&["enforce", "shop", "--wait", "--timeout", "60s"]);
    let waiting = std::thread::spawn(move || run(&mut command));
    // The controller sees the label before it answers.
    for _ in 0..200 {
        if label(&cluster, "shop") == "enforce" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(label(&cluster, "shop"), "enforce");
    cluster.learned("shop", "web-deployment", Value::Null, in_force());
    let (code, out, problems) = waiting.join().expect("the command ends");
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.lines()
            .any(|line| line.starts_with("Deployment/web") && line.ends_with("enforce")),
        "{out}"
    );
}

#[test]
fn refusals_are_told_with_their_reasons() {
    let cluster = Cluster::new();
    cluster.learned("shop", "web-deployment", Value::Null, in_force());
    cluster.learned("shop", "api-deployment", Value::Null, refused());
    let (code, out, problems) = run(&mut cluster.netpol(&["enforce", "shop", "--wait"]));
    assert_eq!(code, Some(2));
    assert!(out.contains("not complete: 3 of 24 h"), "{out}");
    assert!(
        problems.contains("1 of 2 workloads are refused"),
        "{problems}"
    );
    let expected = "netpol.io/force=true on the namespace shop would enforce 1 of them";
    assert!(problems.contains(expected), "{problems}");
    assert!(problems.contains("kube-system"), "{problems}");
    assert!(!problems.contains("does not help"), "{problems}");
}

#[test]
fn it_is_told_with_which_refusals_force_does_not_help() {
    let cluster = Cluster::new();
    let refused = |word: &str| {
        json!({"workload": format!("Deployment/{word}"), "namespaceMode": "enforce", "mode": "enforce",
            "conditions": [condition("Applied", "False", word, "so it is")]})
    };
    for word in ["Protected", "NameConflict", "RolledBack"] {
        cluster.learned("shop", &word.to_lowercase(), Value::Null, refused(word));
    }
    let (code, _, problems) = run(&mut cluster.netpol(&["enforce", "shop", "--wait"]));
    assert_eq!(code, Some(2));
    let expected = "netpol.io/force=true on the namespace shop would enforce 1 of them";
    assert!(problems.contains(expected), "{problems}");
    let expected = "netpol.io/force does not help with Deployment/NameConflict (NameConflict), Deployment/RolledBack \
                    (RolledBack)";
    assert!(problems.contains(expected), "{problems}");
}

#[test]
fn what_a_forced_namespace_unlocks_is_told() {
    let cluster = Cluster::new();
    cluster
        .api
        .apply(json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": {"netpol.io/force": "true"}}}));
    let hook = json!({"workload": "Deployment/hook", "mode": "learn", "conditions": [
        condition("Complete", "False", "TooShort", "3 of 24 h"),
        condition("Applied", "False", "NotEnforced", "the mode is learn; enforcing takes netpol.io/force=true: the API \
            server calls it as a webhook or an aggregated API, but was not seen to"),
    ]});
    cluster.learned("shop", "hook-deployment", Value::Null, hook);
    let odd = json!({"workload": "Deployment/odd", "mode": "learn", "conditions": [
        condition("Complete", "False", "TooShort", "3 of 24 h"),
        condition("TooLarge", "True", "TooLarge", ""),
    ]});
    cluster.learned("shop", "odd-deployment", Value::Null, odd);
    let (code, _, problems) = run(&mut cluster.netpol(&["enforce", "shop", "--dry-run"]));
    assert_eq!(code, Some(0), "{problems}");
    let expected = [
        "Deployment/hook is enforced though it would not be without netpol.io/force: not complete (3 of 24 h); the API \
         server calls it",
        "Deployment/odd is not enforced as it is: TooLarge\n",
        "netpol.io/force does not help with Deployment/odd (TooLarge)",
    ];
    for expected in expected {
        assert!(problems.contains(expected), "{expected}: {problems}");
    }
    assert!(!problems.contains("would enforce"), "{problems}");
}

#[test]
fn what_is_protected_is_told_before_it_is_refused() {
    let cluster = Cluster::new();
    let status = json!({"workload": "Deployment/dns", "mode": "audit", "conditions": [
        condition("Complete", "True", "Complete", ""),
        condition("Applied", "False", "NotEnforced", "the mode is audit; enforcing takes netpol.io/force=true: it is in \
            kube-system, which the cluster depends on"),
    ]});
    cluster.learned("shop", "dns-deployment", Value::Null, status);
    let (code, _, problems) = run(&mut cluster.netpol(&["enforce", "shop"]));
    assert_eq!(code, Some(0), "{problems}");
    let expected = "Deployment/dns is not enforced as it is: it is in kube-system, which the cluster depends on\n";
    assert!(problems.contains(expected), "{problems}");
    assert!(problems.contains("would enforce 1 of them"), "{problems}");
}

#[test]
fn what_is_in_force_stays_so_and_what_was_rolled_back_stays_off() {
    let cluster = Cluster::new();
    let namespace = |annotations: Value| {
        let labels = json!({"netpol.io/mode": "enforce"});
        cluster
            .api
            .apply(json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "shop", "labels": labels, "annotations": annotations}}));
    };
    namespace(json!({}));
    let incomplete = || condition("Complete", "False", "TooShort", "3 of 24 h");
    let applied = condition("Applied", "True", "Applied", "");
    let lost = condition("LostEvents", "True", "Lost", "2 edges");
    let web = json!({"workload": "Deployment/web", "mode": "enforce", "conditions": [incomplete(), lost, applied]});
    cluster.learned("shop", "web-deployment", Value::Null, web);
    let back = condition("RolledBack", "True", "RolledBack", "2 edges failed");
    let api = json!({"workload": "Deployment/api", "mode": "enforce", "conditions": [incomplete(), back]});
    cluster.learned("shop", "api-deployment", Value::Null, api);
    let told = || {
        let (code, _, problems) = run(&mut cluster.netpol(&["enforce", "shop"]));
        assert_eq!(code, Some(0), "{problems}");
        assert!(!problems.contains("Deployment/web"), "{problems}");
        assert!(!problems.contains("would enforce"), "{problems}");
        problems
    };
    let problems = told();
    let expected =
        "Deployment/api is not enforced as it is: not complete (3 of 24 h); it was rolled back";
    assert!(problems.contains(expected), "{problems}");
    // Force does not end a pause either.
    let ui = json!({"workload": "Deployment/ui", "mode": "learn", "conditions": [incomplete()]});
    cluster.learned("shop", "ui-deployment", Value::Null, ui);
    namespace(json!({"netpol.io/pause": "true"}));
    let problems = told();
    assert!(
        problems.contains("Deployment/ui is not enforced as it is: not complete (3 of 24 h)\n"),
        "{problems}"
    );
}

#[test]
fn waiting_has_an_end() {
    let cluster = Cluster::new();
    cluster.learned(
        "shop",
        "web-deployment",
        Value::Null,
        json!({"workload": "Deployment/web"}),
    );
    let (code, out, problems) =
        run(&mut cluster.netpol(&["audit", "shop", "--wait", "--timeout", "1s"]));
    assert_eq!(code, Some(2));
    assert!(out.contains("pending"), "{out}");
    assert!(
        problems.contains("1 of 1 workloads are not through yet"),
        "{problems}"
    );
}
