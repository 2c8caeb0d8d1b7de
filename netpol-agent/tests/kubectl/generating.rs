//! What is generated from a cluster is what would be written there: decisions of people and frozen edges count.

use serde_json::{Value, json};

use crate::double::fault::{Fault, Misbehaviour};
use crate::reading::shop;
use crate::support::{Cluster, condition, run};

const API: &str = "shop/Pod/web -> shop/Pod/api 8080/TCP";
const RESOLVER: &str = "shop/Pod/web -> dns/Pod/resolver 53/UDP";

/// A LearnedPolicy of the pod `web` or another.
fn learned(cluster: &Cluster, pod: &str, mode: &str, spec: Value, more: Value) {
    let mut status = json!({"workload": format!("Pod/{pod}"), "workloadRef": {"kind": "Pod", "name": pod},
        "mode": mode, "namespaceMode": mode});
    for (field, value) in more.as_object().into_iter().flatten() {
        status[field] = value.clone();
    }
    cluster.learned("shop", &format!("{pod}-pod"), spec, status);
}

fn frozen(egress: &[&str]) -> Value {
    json!({"frozen": {"at": "2026-01-03T00:00:00Z", "egress": egress}})
}

/// Annotates the namespace `shop`.
fn annotate(cluster: &Cluster, options: &str) {
    cluster
        .api
        .apply(json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": {"netpol.io/options": options}}}));
}

/// The policies of `shop` by name, and what is said besides.
fn generated(cluster: &Cluster, flags: &[&str]) -> (Value, String) {
    let arguments = [&["generate", "-n", "shop", "-o", "json"], flags].concat();
    let (code, out, problems) = run(&mut cluster.netpol(&arguments));
    assert_eq!(code, Some(0), "{problems}");
    let list: Value = serde_json::from_str(&out).expect("JSON");
    let items = list["items"].as_array().expect("a list");
    let named = items.iter().map(|item| {
        let name = item["metadata"]["name"].as_str().expect("a name");
        (name.to_owned(), item["spec"].clone())
    });
    (named.collect(), problems)
}

fn has(value: &Value, words: &str) -> bool {
    value.to_string().contains(words)
}

#[test]
fn what_people_rejected_and_approved_counts() {
    let cluster = shop();
    let (plain, problems) = generated(&cluster, &[]);
    assert!(
        has(&plain["web-pod"]["egress"], "\"app\":\"api\""),
        "{plain}"
    );
    assert!(!problems.contains("FromCluster"), "{problems}");
    let spec = json!({"rejected": [API], "approved": ["shop/Pod/web -> 198.51.100.7 443/TCP"]});
    learned(&cluster, "web", "learn", spec, json!({}));
    for flags in [&[][..], &["--no-evidence"]] {
        let (policies, problems) = generated(&cluster, flags);
        let egress = &policies["web-pod"]["egress"];
        assert!(!has(egress, "\"app\":\"api\""), "{egress}");
        assert!(has(egress, "\"app\":\"resolver\""), "{egress}");
        assert!(has(egress, "198.51.100.7/32"), "{egress}");
        let expected = "FromCluster: besides what was seen, these count: edges rejected: 1; edges approved: 1\n";
        assert!(problems.contains(expected), "{problems}");
        assert!(
            problems.contains("Rejected: shop/Pod/web -> shop/Pod/api TCP 8080"),
            "{problems}"
        );
        assert_eq!(
            policies["api-pod"], plain["api-pod"],
            "the other end decides for itself"
        );
    }
}

#[test]
fn edges_that_are_frozen_are_all_that_is_allowed_in_every_format() {
    let cluster = shop();
    let (plain, before) = generated(&cluster, &[]);
    learned(&cluster, "web", "audit", Value::Null, frozen(&[API]));
    let (policies, problems) = generated(&cluster, &[]);
    let web = &policies["web-pod"];
    assert!(has(&web["egress"], "\"app\":\"api\""), "{web}");
    assert!(!has(&web["egress"], "resolver"), "{web}");
    assert_eq!(web["ingress"], json!([]));
    assert_eq!(policies["api-pod"], plain["api-pod"], "it learns");
    assert!(
        problems.contains("workloads with frozen edges (audit, enforce): 1"),
        "{problems}"
    );
    let strange = |problems: &str| -> Vec<String> {
        let strange = problems
            .lines()
            .filter(|line| line.contains("OtherEndOnly"));
        strange.map(str::to_owned).collect()
    };
    assert_eq!(strange(&before).len(), 1, "{before}");
    assert_eq!(strange(&problems), strange(&before));
    for format in ["yaml", "cilium", "calico", "terraform", "ansible"] {
        let (code, out, problems) =
            run(&mut cluster.netpol(&["generate", "-n", "shop", "-o", format]));
        assert_eq!(code, Some(0), "{format}: {problems}");
        assert!(out.contains("to shop/Pod/api: TCP 8080"), "{format}: {out}");
        assert!(!out.contains("to dns/Pod/resolver"), "{format}: {out}");
    }
}

#[test]
fn what_is_missing_beside_other_policies_is_so_of_what_is_frozen() {
    let cluster = shop();
    let more = frozen(&[API, "shop/Pod/web -> 198.51.100.7 443/TCP"]);
    learned(&cluster, "web", "enforce", Value::Null, more);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("there.yaml");
    let there = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: there, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 8080}]}]
";
    std::fs::write(&path, there).expect("a file");
    let path = path.to_str().expect("text");
    let (policies, problems) = generated(&cluster, &["--against", path]);
    let egress = &policies["web-pod"]["egress"];
    assert!(has(egress, "198.51.100.7/32"), "{egress}");
    assert!(!has(egress, "api"), "{egress}");
    assert!(
        problems.contains("AlreadyAllowed: shop/Pod/web: 1 edge of egress"),
        "{problems}"
    );
}

#[test]
fn options_of_the_cluster_count_unless_a_flag_says_otherwise() {
    let tcp = |policies: &Value| {
        let rules = policies["web-pod"]["egress"].as_array().expect("rules");
        let resolver = rules.iter().find(|rule| has(rule, "\"port\":53"));
        has(resolver.expect("DNS was seen"), "TCP")
    };
    let cluster = shop();
    assert!(tcp(&generated(&cluster, &[]).0));
    annotate(&cluster, "{\"dns\": \"seen\"}");
    let (policies, problems) = generated(&cluster, &[]);
    assert!(!tcp(&policies), "the namespace's options: {policies}");
    assert!(
        problems.contains("namespaces with options of their own: 1"),
        "{problems}"
    );
    assert!(tcp(&generated(&cluster, &["--dns", "pair"]).0));
    learned(
        &cluster,
        "web",
        "learn",
        json!({"options": {"dns": "pair"}}),
        json!({}),
    );
    let (policies, problems) = generated(&cluster, &[]);
    assert!(tcp(&policies), "the workload's own options: {policies}");
    assert!(
        problems.contains("workloads with options of their own: 1"),
        "{problems}"
    );
    assert!(!tcp(&generated(&cluster, &["--dns", "seen"]).0));
    let by_environment = cluster
        .netpol(&["generate", "-n", "shop", "-o", "json"])
        .env("NETPOL_DNS", "seen")
        .output()
        .expect("the binary runs");
    let list: Value = serde_json::from_slice(&by_environment.stdout).expect("JSON");
    let items = list["items"].as_array().expect("a list").iter();
    let mut web = items.filter(|item| item["metadata"]["name"] == "web-pod");
    let web = json!({"web-pod": web.next().expect("a policy")["spec"]});
    assert!(!tcp(&web));
    let (policies, _) = generated(&cluster, &["--reject", API]);
    assert!(!has(&policies["web-pod"]["egress"], "\"app\":\"api\""));
}

#[test]
fn options_that_cannot_be_read_are_told() {
    let cluster = shop();
    annotate(&cluster, "teatime");
    learned(
        &cluster,
        "web",
        "learn",
        json!({"approved": ["teatime -> shop/Pod/web 1/TCP"]}),
        json!({}),
    );
    let (_, problems) = generated(&cluster, &[]);
    for expected in [
        "Unreadable: LearnedPolicy shop/web-pod: annotation netpol.io/options:",
        "Unreadable: LearnedPolicy shop/web-pod: spec.approved: \"teatime\"",
    ] {
        assert!(problems.contains(expected), "{problems}");
    }
}

#[test]
fn what_is_off_gets_no_policy() {
    let cluster = shop();
    learned(&cluster, "web", "off", Value::Null, json!({}));
    let (policies, problems) = generated(&cluster, &[]);
    assert_eq!(policies["web-pod"], Value::Null);
    assert!(policies["api-pod"].is_object());
    assert!(
        problems.contains("workloads without a policy, being off: 1"),
        "{problems}"
    );
}

#[test]
fn how_complete_it_is_is_what_the_controller_answered() {
    let cluster = shop();
    let (policies, problems) = generated(&cluster, &[]);
    assert_eq!(policies.as_object().map(serde_json::Map::len), Some(2));
    assert!(
        problems.contains("Incomplete: 2 of 2 workloads"),
        "{problems}"
    );
    let complete = json!({"conditions": [condition("Complete", "True", "Complete", "")]});
    learned(&cluster, "web", "learn", Value::Null, complete);
    let lossy = json!({"conditions": [condition("Complete", "False", "Incomplete", "edges were lost"),
        condition("LostEvents", "True", "Lost", "last edge lost within the hour from 2026-01-02T03:00:00Z")]});
    learned(&cluster, "api", "learn", Value::Null, lossy);
    let (_, problems) = generated(&cluster, &[]);
    assert!(
        problems.contains("Incomplete: 1 of 2 workloads"),
        "{problems}"
    );
    let expected =
        "LostEvents: shop/Pod/api: last edge lost within the hour from 2026-01-02T03:00:00Z\n";
    assert!(problems.contains(expected), "{problems}");
}

#[test]
fn edges_to_who_is_gone_are_left_out_as_the_controller_does_and_that_is_told() {
    let cluster = shop();
    learned(
        &cluster,
        "web",
        "audit",
        Value::Null,
        frozen(&[API, RESOLVER]),
    );
    let (before, _) = generated(&cluster, &[]);
    let mut said = cluster.aggregator.said();
    let mut inventory: Value = serde_json::from_str(&said.inventory).expect("JSON");
    let items = inventory["items"].as_array_mut().expect("a list");
    let known = items.len();
    items.retain(|item| item["kind"] != "Pod" || item["metadata"]["name"] != "api");
    assert_eq!(items.len() + 1, known);
    said.inventory = inventory.to_string();
    drop(said);
    let (policies, problems) = generated(&cluster, &[]);
    let [egress, all] = [&policies, &before].map(|policies| &policies["web-pod"]["egress"]);
    assert!(has(all, "\"app\":\"api\""), "{all}");
    assert!(!has(egress, "\"app\":\"api\""), "{egress}");
    assert!(has(egress, "\"app\":\"resolver\""), "{egress}");
    let expected = "Absent: shop/Pod/web: edges left out of its policy until who is at their other end is there again: 1\n";
    assert!(problems.contains(expected), "{problems}");
}

#[test]
fn where_the_controller_says_something_else_as_yet_that_is_told() {
    let cluster = shop();
    let mut more = frozen(&[API, RESOLVER]);
    more["proposal"] = json!({"hash": "1", "spec": {"podSelector": {}}});
    learned(&cluster, "web", "audit", Value::Null, more);
    let (_, problems) = generated(&cluster, &[]);
    let expected = "NotAsProposed: LearnedPolicy shop/web-pod";
    assert!(problems.contains(expected), "{problems}");
    let (_, problems) = generated(&cluster, &["--dns", "seen"]);
    assert!(!problems.contains(expected), "{problems}");
}

#[test]
fn what_may_not_be_read_is_left_out_and_told() {
    let cases = [
        (
            "list",
            "learnedpolicies",
            403,
            "you may not list learnedpolicies.netpol.io in namespace \"shop\"",
        ),
        (
            "list",
            "learnedpolicies",
            404,
            "the cluster does not know LearnedPolicies",
        ),
        (
            "get",
            "namespaces",
            403,
            "what the annotations of namespaces ask for is left out: you may not get",
        ),
    ];
    let (plain, _) = generated(&shop(), &[]);
    for (sort, plural, code, expected) in cases {
        let cluster = shop();
        cluster
            .api
            .misbehave(Fault::of(sort, plural, Misbehaviour::Status(code)));
        let (policies, problems) = generated(&cluster, &[]);
        assert!(problems.contains(expected), "{problems}");
        assert_eq!(policies, plain);
    }
    let cluster = shop();
    cluster.api.misbehave(Fault::of(
        "list",
        "learnedpolicies",
        Misbehaviour::Status(500),
    ));
    let (code, out, problems) = run(&mut cluster.netpol(&["generate", "-n", "shop"]));
    assert_eq!((code, out.as_str()), (Some(2), ""), "{problems}");
}
