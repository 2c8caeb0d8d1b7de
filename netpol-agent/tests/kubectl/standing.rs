//! `status` against a cluster.

use serde_json::{Value, json};

use crate::double::fault::{Fault, Misbehaviour};
use crate::support::{Cluster, condition, run};

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster.aggregator.said().status = json!({
        "version": "0.1.0", "now": "2026-01-02T03:10:00Z", "time": "2026-01-02T03:09:00Z", "leader": true, "edges": 7,
        "objects": {"Node": 3},
        "observers": [
            {"name": "a", "last_batch": "2026-01-02T03:09:00Z"},
            {"name": "b", "losses": {"edges_lost": 4, "attempts_lost": 0, "foreign": 0, "not_for_pod": 0,
                "observation_gap": false}},
            {"name": "removed", "gone": true, "last_batch": "2026-01-01T03:09:00Z"},
        ],
    })
    .to_string();
    cluster.api.apply(json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"netpol.io/mode": "enforce"}},
    }));
    let web = json!({"workload": "Deployment/web", "mode": "enforce",
        "coverage": {"estimate": "0.97", "hours": 30}, "counts": {"rules": 3, "openViolations": 2},
        "conditions": [condition("Complete", "True", "Complete", ""), condition("Applied", "True", "Applied", "")]});
    cluster.learned("shop", "web-deployment", Value::Null, web);
    let api = json!({"workload": "Deployment/api", "mode": "learn",
        "coverage": {"hours": 3, "missing": ["3 of 24 h"]}, "observation": {"lostEdges": 4},
        "conditions": [condition("Complete", "False", "TooShort", "")]});
    cluster.learned("pay", "api-deployment", Value::Null, api);
    cluster
}

/// The line that begins with these words, its blanks made one.
fn line(text: &str, words: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut found = lines.filter(|line| line.starts_with(words));
    found
        .next()
        .unwrap_or_else(|| panic!("no line begins with {words:?}: {text}"))
}

#[test]
fn everything_in_one_view() {
    let cluster = cluster();
    let (code, out, problems) = run(&mut cluster.netpol(&["status", "-A"]));
    assert_eq!(code, Some(0), "{problems}");
    let expected = "netpol 0.1.0: 1 of 2 agents on 3 nodes deliver, 7 edges; silent for more than 5 min: b; 4 edges were lost";
    assert_eq!(line(&out, "netpol"), expected);
    assert!(
        line(&out, "Other policy APIs").ends_with("besides: cilium.io"),
        "{out}"
    );
    assert_eq!(line(&out, "shop enforce"), "shop enforce 1 1 1 2 0");
    assert_eq!(line(&out, "pay learn"), "pay learn 1 0 0 0 4");
    assert_eq!(
        line(&out, "shop Deployment"),
        "shop Deployment/web enforce yes 0.97 3 2 yes"
    );
    assert_eq!(
        line(&out, "pay Deployment"),
        "pay Deployment/api learn no - 0 0 - 3 of 24 h"
    );
}

#[test]
fn why_a_policy_is_not_in_force_is_told() {
    let cluster = Cluster::new();
    let told = |applied: &str, reason: &str, message: &str, missing: &[&str]| {
        let status = json!({"workload": "Deployment/web", "mode": "enforce", "coverage": {"missing": missing},
            "conditions": [condition("Applied", applied, reason, message)]});
        cluster.learned("shop", "web-deployment", Value::Null, status);
        let (code, out, problems) = run(&mut cluster.netpol(&["status", "-n", "shop"]));
        assert_eq!(code, Some(0), "{problems}");
        let line = line(&out, "shop Deployment/web enforce - - 0 0");
        let cells: Vec<&str> = line.splitn(9, ' ').collect();
        format!("{}: {}", cells[7], cells.get(8).unwrap_or(&""))
    };
    let taken = "a NetworkPolicy of its name is not ours";
    let cases: [(&str, &str, &str, &[&str], &str); 5] = [
        ("False", "NameConflict", taken, &[], taken),
        (
            "False",
            "NameConflict",
            taken,
            &["3 of 24 h"],
            "a NetworkPolicy of its name is not ours; 3 of 24 h",
        ),
        (
            "False",
            "Incomplete",
            "it is not complete (3 of 24 h; a gap)",
            &["3 of 24 h", "a gap"],
            "it is not complete (3 of 24 h; a gap)",
        ),
        ("True", "Paused", "it is held", &[], "it is held"),
        ("True", "Applied", "", &["3 of 24 h"], "3 of 24 h"),
    ];
    for (applied, reason, message, missing, expected) in cases {
        let word = if applied == "True" { "yes" } else { "no" };
        let expected = format!("{word}: {expected}");
        assert_eq!(told(applied, reason, message, missing), expected);
    }
}

#[test]
fn without_the_labels_the_modes_are_those_that_are_remembered() {
    let cluster = cluster();
    let web = json!({"workload": "Deployment/web", "mode": "enforce", "namespaceMode": "enforce"});
    cluster.learned("shop", "web-deployment", Value::Null, web);
    cluster
        .api
        .misbehave(Fault::of("list", "namespaces", Misbehaviour::Status(403)));
    let (code, out, problems) = run(&mut cluster.netpol(&["status", "-A"]));
    assert_eq!(code, Some(0), "{problems}");
    assert!(
        problems.contains("what the labels of namespaces say cannot be told")
            && problems.contains("you may not list namespaces"),
        "{problems}"
    );
    assert_eq!(line(&out, "shop enforce"), "shop enforce 1 0 0 0 0");
    assert_eq!(line(&out, "pay -"), "pay - 1 0 0 0 4");
    let (_, out, _) = run(&mut cluster.netpol(&["status", "-A", "-o", "json"]));
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(status["namespaces"][0]["mode"], Value::Null);
    assert_eq!(status["namespaces"][1]["mode"], "enforce");
}

#[test]
fn one_namespace_alone() {
    let cluster = cluster();
    let (code, out, problems) = run(&mut cluster.netpol(&["status", "-n", "shop", "-o", "json"]));
    assert_eq!(code, Some(0), "{problems}");
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(status["namespaces"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["namespaces"][0]["mode"], "enforce");
    assert_eq!(status["workloads"][0]["counts"]["rules"], 3);
    assert_eq!(status["netpol"]["observers"][1]["losses"]["edges_lost"], 4);
    assert_eq!(status["otherPolicyApis"], json!(["cilium.io"]));
}

#[test]
fn without_the_aggregator_the_rest_is_told() {
    let cluster = cluster();
    cluster
        .api
        .delete("pods", "netpol-system", "netpol-aggregator-0");
    let (code, out, problems) = run(&mut cluster.netpol(&["status", "-A"]));
    assert_eq!(code, Some(0));
    assert!(
        problems.contains("how netpol itself is cannot be told"),
        "{problems}"
    );
    assert_eq!(line(&out, "shop enforce"), "shop enforce 1 1 1 2 0");
}
