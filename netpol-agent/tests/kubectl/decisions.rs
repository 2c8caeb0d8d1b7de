//! Violations, and what people decide on them.

use serde_json::{Value, json};

use crate::double::fault::{Fault, Misbehaviour};
use crate::support::{Cluster, condition, run};

const EDGE: &str = "shop/Deployment/web -> pay/Deployment/api 8080/TCP";
const WITHIN: &str = "shop/Deployment/web -> shop/Deployment/db 5432/TCP";

fn violation(id: &str, edge: &str, direction: &str, state: &str, approve_in: &[&str]) -> Value {
    json!({
        "id": id, "edge": edge, "direction": direction, "state": state, "approveIn": approve_in, "count": 3,
        "firstSeen": "2026-01-02T03:00:00Z", "lastSeen": "2026-01-02T03:04:05Z",
    })
}

/// Two violations of web: one that both shop and pay have to approve, one within shop.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    let both = ["shop/web-deployment", "pay/api-deployment"];
    let web = json!({"workload": "Deployment/web", "counts": {"openViolations": 2, "violations": 2}, "violations": [
        violation("aa11", EDGE, "egress", "Open", &both),
        violation("bb22", WITHIN, "egress", "Open", &[]),
    ]});
    cluster.learned("shop", "web-deployment", Value::Null, web);
    let api = json!({"workload": "Deployment/api"});
    cluster.learned(
        "pay",
        "api-deployment",
        json!({"approved": ["kept"], "rejected": [EDGE]}),
        api,
    );
    cluster
}

fn spec(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    cluster.api.get("learnedpolicies", namespace, name)["spec"].clone()
}

#[test]
fn open_violations_answer_no() {
    let cluster = cluster();
    let (code, out, problems) = run(&mut cluster.netpol(&["violations", "-n", "shop"]));
    assert_eq!(code, Some(1), "{problems}");
    assert!(
        out.contains("aa11") && out.contains(EDGE) && out.contains("bb22"),
        "{out}"
    );
    assert!(problems.contains("kubectl netpol approve ID"), "{problems}");
    let (code, out, _) = run(&mut cluster.netpol(&["violations", "-n", "pay"]));
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}");
    let (code, out, _) = run(&mut cluster.netpol(&["violations", "-A", "-o", "name"]));
    assert_eq!((code, out.as_str()), (Some(1), "aa11\nbb22\n"));
}

#[test]
fn each_comes_with_the_change_that_allows_it() {
    let cluster = cluster();
    let (code, out, problems) = run(&mut cluster.netpol(&["violations", "-A", "-o", "json"]));
    assert_eq!(code, Some(1), "{problems}");
    let found: Value = serde_json::from_str(&out).expect("JSON");
    let approve = &found["violations"][0]["approve"];
    assert_eq!(approve[0]["namespace"], "shop");
    assert_eq!(approve[1]["learnedPolicy"], "api-deployment");
    // A LearnedPolicy that nobody wrote anything into yet has no list to add to.
    assert_eq!(approve[0]["patch"]["spec"], json!({"approved": [EDGE]}));
    let both = json!({"approved": ["kept", EDGE], "rejected": null});
    assert_eq!(approve[1]["patch"]["spec"], both);
    let (_, out, _) = run(&mut cluster.netpol(&["violations", "-n", "shop", "-o", "json"]));
    let own: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        own["violations"][0], found["violations"][0],
        "the other side's too"
    );
    let (_, yaml, _) = run(&mut cluster.netpol(&["violations", "-A", "-o", "yaml"]));
    let same: Value = serde_saphyr::from_str(&yaml).expect("YAML");
    assert_eq!(same, found);
    let (_, wide, _) = run(&mut cluster.netpol(&["violations", "-A", "-o", "wide"]));
    assert!(
        wide.contains("shop/web-deployment,pay/api-deployment"),
        "{wide}"
    );
}

#[test]
fn what_was_decided_is_shown_when_asked_for_and_answers_yes() {
    let cluster = Cluster::new();
    let status = json!({"workload": "Deployment/web", "violations": [
        violation("dd44", WITHIN, "egress", "Rejected", &[]),
    ]});
    cluster.learned("shop", "web-deployment", Value::Null, status);
    let (code, out, _) = run(&mut cluster.netpol(&["violations", "-n", "shop", "-o", "name"]));
    assert_eq!((code, out.as_str()), (Some(0), ""));
    let (code, out, _) =
        run(&mut cluster.netpol(&["violations", "-n", "shop", "-o", "name", "--all"]));
    assert_eq!((code, out.as_str()), (Some(0), "dd44\n"));
}

#[test]
fn approving_changes_every_side_that_one_may_change() {
    let cluster = cluster();
    let (code, out, problems) = run(&mut cluster.netpol(&["approve", "aa11", "-n", "shop"]));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(
        spec(&cluster, "shop", "web-deployment"),
        json!({"approved": [EDGE]})
    );
    assert_eq!(
        spec(&cluster, "pay", "api-deployment"),
        json!({"approved": ["kept", EDGE]})
    );
    assert_eq!(out.lines().count(), 2, "{out}");
    let writes: Vec<String> = cluster
        .api
        .writes()
        .iter()
        .map(|write| write.brief())
        .collect();
    let expected = [
        "patch pay/learnedpolicies/api-deployment",
        "patch shop/learnedpolicies/web-deployment",
    ];
    assert_eq!(writes, expected);
    let versioned = |write: &crate::double::world::Request| {
        write.body["metadata"]["resourceVersion"].is_string()
    };
    assert!(cluster.api.writes().iter().all(versioned));
}

#[test]
fn the_side_that_is_somebody_elses_is_named_as_pending() {
    let cluster = cluster();
    cluster.revoke_all();
    cluster.grant("*", "netpol.io", "learnedpolicies", "shop");
    cluster.grant(
        "create",
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "",
    );
    let (code, out, problems) = run(&mut cluster.netpol(&["approve", "aa11", "-n", "shop"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.contains("learnedpolicy/web-deployment in shop approved"),
        "{out}"
    );
    let pending: Vec<&str> = problems
        .lines()
        .filter(|line| line.starts_with("pending: "))
        .collect();
    assert_eq!(pending.len(), 1, "{problems}");
    assert!(
        pending[0].contains("ingress of shop/Deployment/web -> pay/Deployment/api"),
        "{problems}"
    );
    assert!(
        pending[0].contains("kubectl netpol approve -n pay --edge"),
        "{problems}"
    );
    let untouched = json!({"approved": ["kept"], "rejected": [EDGE]});
    assert_eq!(spec(&cluster, "pay", "api-deployment"), untouched);
}

#[test]
fn the_other_side_approves_by_the_edge() {
    let cluster = cluster();
    let (code, out, problems) = run(&mut cluster.netpol(&["approve", "-n", "pay", "--edge", EDGE]));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(out.lines().count(), 1, "{out}");
    assert_eq!(
        spec(&cluster, "pay", "api-deployment"),
        json!({"approved": ["kept", EDGE]})
    );
    assert_eq!(spec(&cluster, "shop", "web-deployment"), Value::Null);
    let (code, _, problems) =
        run(&mut cluster.netpol(&["approve", "-n", "pay", "--edge", "x -> y 1/TCP"]));
    assert_eq!(code, Some(2));
    assert!(problems.contains("no end of"), "{problems}");
}

#[test]
fn rejecting_is_one_sides_own_affair() {
    let cluster = cluster();
    let (code, _, problems) = run(&mut cluster.netpol(&["reject", "--every", "-n", "shop"]));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(
        spec(&cluster, "shop", "web-deployment"),
        json!({"rejected": [EDGE, WITHIN]})
    );
    assert_eq!(cluster.api.writes().len(), 1);
    let (code, out, _) = run(&mut cluster.netpol(&["reject", "aa11", "-n", "shop"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("rejected already"), "{out}");
    assert_eq!(cluster.api.writes().len(), 1);
}

#[test]
fn who_may_change_nothing_has_changed_nothing() {
    let cluster = cluster();
    cluster.revoke_all();
    cluster.grant("list", "netpol.io", "learnedpolicies", "");
    cluster.grant(
        "create",
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "",
    );
    let (code, _, problems) = run(&mut cluster.netpol(&["approve", "bb22", "-n", "shop"]));
    assert_eq!(code, Some(2));
    let expected =
        "you may not patch learnedpolicies.netpol.io \"web-deployment\" in namespace \"shop\"";
    assert!(problems.contains(expected), "{problems}");
    assert!(cluster.api.writes().is_empty());
}

#[test]
fn what_somebody_else_changes_meanwhile_stays() {
    let cluster = cluster();
    let conflict = Fault::of("patch", "learnedpolicies", Misbehaviour::Status(409)).times(2);
    cluster.api.misbehave(conflict);
    let (code, _, problems) = run(&mut cluster.netpol(&["approve", "bb22", "-n", "shop"]));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(
        spec(&cluster, "shop", "web-deployment"),
        json!({"approved": [WITHIN]})
    );
    assert_eq!(
        cluster.api.count("learnedpolicies", "get"),
        3,
        "it is read again each time"
    );
}

#[test]
fn a_dry_run_decides_nothing() {
    let cluster = cluster();
    let (code, out, problems) =
        run(&mut cluster.netpol(&["approve", "bb22", "-n", "shop", "--dry-run"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(out.contains("(server dry run)"), "{out}");
    assert_eq!(spec(&cluster, "shop", "web-deployment"), Value::Null);
}

#[test]
fn an_id_that_nobody_knows() {
    let cluster = cluster();
    let (code, _, problems) = run(&mut cluster.netpol(&["approve", "zz99", "-n", "shop"]));
    assert_eq!(code, Some(2));
    assert!(
        problems.contains("no violation is called zz99"),
        "{problems}"
    );
}

#[test]
fn a_policy_is_taken_off_and_put_on_again() {
    let cluster = cluster();
    let status = json!({"workload": "Deployment/db",
        "rollback": {"id": "r7", "at": "2026-01-02T03:04:05Z", "reason": "5 violations"},
        "conditions": [condition("RolledBack", "True", "Violations", "")]});
    cluster.learned(
        "shop",
        "db-deployment",
        json!({"approved": ["kept"]}),
        status,
    );
    let arguments = ["rollback", "Deployment/web", "db-deployment", "-n", "shop"];
    let (code, out, problems) = run(&mut cluster.netpol(&arguments));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        out.contains("learnedpolicy/web-deployment in shop: the policy is taken off"),
        "{out}"
    );
    assert_eq!(
        spec(&cluster, "shop", "web-deployment"),
        json!({"rollBack": true})
    );
    assert_eq!(
        spec(&cluster, "shop", "db-deployment"),
        json!({"approved": ["kept"], "rollBack": true})
    );
    let (code, _, problems) = run(cluster.netpol(&arguments).arg("--undo"));
    assert_eq!(code, Some(0), "{problems}");
    assert_eq!(spec(&cluster, "shop", "web-deployment"), json!({}));
    let expected = json!({"approved": ["kept"], "acknowledgedRollback": "r7"});
    assert_eq!(spec(&cluster, "shop", "db-deployment"), expected);
    let (code, _, problems) =
        run(&mut cluster.netpol(&["rollback", "Deployment/nobody", "-n", "shop"]));
    assert_eq!(code, Some(2));
    assert!(
        problems.contains("no workload \"Deployment/nobody\""),
        "{problems}"
    );
}
