//! All that is allowed.

use serde_json::{Value, json};

use super::{Case, POLICIES, SHOP};

/// What is listed, as (from, to, ports).
fn listed(case: &Case, arguments: &[&str]) -> Vec<(String, String, Value)> {
    let all = [
        &["connectivity", "-i", "shop.yaml", "-o", "json"],
        arguments,
    ]
    .concat();
    let (code, stdout, stderr) = case.run(&all);
    assert_eq!(code, 0, "{stderr}");
    let entries: Vec<Value> = serde_json::from_str(&stdout).expect("a JSON list");
    let entry = |entry: Value| {
        let keys: Vec<&String> = entry.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["from", "to", "all", "ports"]);
        let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
        let ports = if entry["all"] == json!(true) {
            json!("all")
        } else {
            entry["ports"].clone()
        };
        (text("from"), text("to"), ports)
    };
    entries.into_iter().map(entry).collect()
}

/// The ports of one pair; nothing if it is not listed.
fn between(entries: &[(String, String, Value)], from: &str, to: &str) -> Value {
    let mut found = entries
        .iter()
        .filter(|(one, other, _)| one == from && other == to);
    let ports = found
        .next()
        .map_or(Value::Null, |(.., ports)| ports.clone());
    assert!(found.next().is_none(), "{from} -> {to} is listed once");
    ports
}

const WEB: &str = "shop/StatefulSet/web";
const API: &str = "shop/StatefulSet/api";
const DB: &str = "shop/Deployment/db";
const BACKUP: &str = "ops/CronJob/backup";
const AGENT: &str = "ops/DaemonSet/agent";

fn sql() -> Value {
    json!([{"protocol": "TCP", "port": 5432}])
}

#[test]
fn what_is_allowed_is_listed() {
    let case = Case::shop();
    let found = listed(&case, &["-p", "policies.yaml"]);
    let http = json!([{"protocol": "TCP", "port": 8080}, {"protocol": "TCP", "port": 9090}]);
    let block = json!([{"protocol": "UDP", "port": 1000, "endPort": 1999}]);
    let cases = [
        (WEB, API, http),
        (API, DB, sql()),
        (BACKUP, DB, sql()),
        (WEB, DB, Value::Null),
        (DB, WEB, Value::Null),
        (DB, API, Value::Null),
        (BACKUP, API, Value::Null),
        (API, WEB, json!("all")),
        (API, API, Value::Null),
        ("203.0.113.0/25", DB, block),
        ("203.0.113.128/25", DB, Value::Null),
        ("0.0.0.0/1", DB, Value::Null),
        ("203.0.113.128/25", WEB, json!("all")),
        (WEB, "0.0.0.0/0", json!("all")),
        (DB, "0.0.0.0/0", Value::Null),
        (AGENT, "0.0.0.0/0", json!("all")),
    ];
    for (from, to, ports) in cases {
        assert_eq!(between(&found, from, to), ports, "{from} -> {to}");
    }
}

/// The agent is on the node of web-1 and api-1, which its node may always reach; as a pod, it is one of ops.
#[test]
fn the_readings_differ() {
    let case = Case::shop();
    let node = listed(&case, &["-p", "policies.yaml"]);
    assert_eq!(between(&node, AGENT, API), json!("all"));
    assert_eq!(between(&node, AGENT, DB), Value::Null);
    let pod = listed(&case, &["-p", "policies.yaml", "--host-network", "pod"]);
    assert_eq!(between(&pod, AGENT, API), Value::Null);
    assert_eq!(between(&pod, AGENT, DB), sql());

    let by_address = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.4/32}}]}]}}";
    case.file("block.yaml", by_address);
    let pods = listed(&case, &["-p", "block.yaml"]);
    assert_eq!(between(&pods, API, WEB), json!("all"));
    assert_eq!(between(&pods, BACKUP, WEB), Value::Null);
    let outside = listed(&case, &["-p", "block.yaml", "--ip-block", "no-pods"]);
    assert_eq!(between(&outside, API, WEB), Value::Null);
    assert_eq!(between(&outside, "10.1.0.4/32", WEB), json!("all"));
}

/// Without policies everything is allowed, and each pair is one entry.
#[test]
fn without_policies_everything_is_open() {
    let case = Case::shop();
    let found = listed(&case, &[]);
    assert_eq!(found.len(), 5 * 4 + 5 + 5);
    assert!(found.iter().all(|(.., ports)| *ports == json!("all")));
    assert!(
        found
            .iter()
            .all(|(from, to, _)| from != to && !format!("{from}{to}").contains("::"))
    );
}

#[test]
fn ipv6_occurs_where_it_is_used() {
    let case = Case::shop();
    case.file("six.yaml", "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/8'}}]}]}}");
    let found = listed(&case, &["-p", "six.yaml"]);
    assert_eq!(between(&found, "fd00::/8", DB), json!("all"));
    assert_eq!(between(&found, "0.0.0.0/0", DB), Value::Null);
    assert_eq!(between(&found, WEB, "::/0"), json!("all"));
}

/// Policies in the inventory count unless others are named, and stdin is a file like any other.
#[test]
fn policies_come_from_the_inventory_too() {
    let case = Case::shop();
    case.file("both.yaml", &format!("{SHOP}---{POLICIES}"));
    let expected = case.run(&["connectivity", "-i", "shop.yaml", "-p", "policies.yaml"]);
    assert_eq!(case.run(&["connectivity", "-i", "both.yaml"]).1, expected.1);
    let stdin = case
        .command(&["connectivity", "-i", "-"])
        .write_stdin(format!("{SHOP}---{POLICIES}"))
        .output();
    assert_eq!(
        String::from_utf8(stdin.expect("it runs").stdout).expect("text"),
        expected.1
    );
}

#[test]
fn people_get_a_table() {
    let case = Case::shop();
    let (_, stdout, _) = case.run(&["connectivity", "-i", "shop.yaml", "-p", "policies.yaml"]);
    let lines: Vec<Vec<&str>> = stdout
        .lines()
        .map(|line| {
            line.split("  ")
                .filter(|cell| !cell.is_empty())
                .map(str::trim)
                .collect()
        })
        .collect();
    assert_eq!(lines[0], ["FROM", "TO", "PORTS"]);
    assert!(lines.contains(&vec![WEB, API, "TCP 8080,9090"]), "{stdout}");
}
