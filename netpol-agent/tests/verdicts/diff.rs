//! What becomes allowed and what denied.

use serde_json::{Value, json};

use super::{Case, POLICIES};

/// Exit code and document for a change of policies over the shop.
fn diff(case: &Case, before: &str, after: &str) -> (i32, Value) {
    case.file("a.yaml", before);
    case.file("b.yaml", after);
    let (code, stdout, stderr) =
        case.run(&["diff", "a.yaml", "b.yaml", "-i", "shop.yaml", "-o", "json"]);
    assert!(code < 2, "{stderr}");
    (code, serde_json::from_str(&stdout).expect("JSON"))
}

fn policy(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: shop}}, spec: {spec}}}"
    )
}

#[test]
fn what_differs_in_words_only_does_not_differ() {
    let case = Case::shop();
    let same = [
        (
            POLICIES.to_owned(),
            POLICIES.replace("port: http", "protocol: TCP, port: http"),
        ),
        (
            policy("{podSelector: {}}"),
            policy("{podSelector: {}, policyTypes: [Ingress], ingress: []}"),
        ),
        (
            policy("{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}]}]}"),
            policy(
                "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 85}]}, {ports: [{port: 86, endPort: 90}]}]}",
            ),
        ),
        (
            policy("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"),
            policy(
                "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/9}}, {ipBlock: {cidr: 10.128.0.0/9}}]}]}",
            ),
        ),
        (
            "".to_owned(),
            policy("{podSelector: {matchLabels: {app: nobody}}}"),
        ),
    ];
    for (before, after) in same {
        let (code, found) = diff(&case, &before, &after);
        let nothing = json!({"becomesAllowed": [], "becomesDenied": [], "latent": []});
        assert_eq!((code, found), (0, nothing), "{before} and {after}");
    }
}

#[test]
fn changes_are_listed_with_ports_and_addresses() {
    let case = Case::shop();
    let after = POLICIES
        .replace("endPort: 1999", "endPort: 2999")
        .replace("team: b", "team: c")
        .replace("203.0.113.128/25", "203.0.113.64/26");
    let (code, found) = diff(&case, POLICIES, &after);
    assert_eq!(code, 1);
    let udp = |port: u16, last: u16| json!([{"protocol": "UDP", "port": port, "endPort": last}]);
    let entry = |from: &str, ports: Value| json!({"from": from, "to": "shop/Deployment/db", "all": false, "ports": ports});
    let allowed = json!([
        entry("203.0.113.0/26", udp(2000, 2999)),
        entry("203.0.113.128/25", udp(1000, 2999))
    ]);
    let denied = json!([
        entry(
            "ops/CronJob/backup",
            json!([{"protocol": "TCP", "port": 5432}])
        ),
        entry("203.0.113.64/26", udp(1000, 1999)),
    ]);
    assert_eq!(found["becomesAllowed"], allowed);
    assert_eq!(found["becomesDenied"], denied);
}

/// The database may not answer for itself: that web may now reach it changes nothing while its own policy denies it.
#[test]
fn what_one_end_denies_anyway_is_latent() {
    let case = Case::shop();
    let closed = policy("{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}");
    let towards = closed.replace("policyTypes: [Egress]", "policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}]");
    let (code, found) = diff(
        &case,
        &format!("{POLICIES}---\n{closed}"),
        &format!("{POLICIES}---\n{towards}"),
    );
    assert_eq!(code, 0, "{found}");
    let latent = json!([{
        "from": "shop/StatefulSet/web",
        "to": "shop/Deployment/db",
        "all": false,
        "ports": [{"protocol": "TCP", "port": 5432}],
        "direction": "egress",
        "change": "allowed",
    }]);
    assert_eq!(found["latent"], latent);
}

/// Pods of one workload reach each other, too.
#[test]
fn pods_of_one_workload_count() {
    let case = Case::shop();
    let (code, found) = diff(
        &case,
        "",
        &policy(
            "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/16]}}, {podSelector: {matchLabels: {app: api}}}]}]}",
        ),
    );
    assert_eq!(code, 1);
    let denied = found["becomesDenied"].as_array().expect("a list");
    assert!(denied.contains(&json!({"from": "shop/StatefulSet/web", "to": "shop/StatefulSet/web", "all": true, "ports": []})), "{found}");
}

#[test]
fn people_get_sentences() {
    let case = Case::shop();
    case.file("a.yaml", "");
    case.file("b.yaml", &policy("{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"));
    let (code, stdout, _) = case.run(&["diff", "a.yaml", "b.yaml", "-i", "shop.yaml"]);
    assert_eq!(code, 1);
    assert!(stdout.starts_with("Becomes denied:\n"), "{stdout}");
    assert!(
        stdout.contains("  shop/Deployment/db to 0.0.0.0/0 but 10.0.0.0/8: all ports\n"),
        "{stdout}"
    );
    let (code, stdout, _) = case.run(&["diff", "b.yaml", "b.yaml", "-i", "shop.yaml"]);
    assert_eq!(
        (code, stdout.as_str()),
        (0, "No connection becomes allowed or denied.\n")
    );
}

/// Policies among the inventory do not count, and either side may be stdin.
#[test]
fn the_inventorys_own_policies_do_not_count() {
    let case = Case::shop();
    case.file("both.yaml", &format!("{}\n---\n{POLICIES}", super::SHOP));
    let run = case.run(&["diff", "policies.yaml", "policies.yaml", "-i", "both.yaml"]);
    assert_eq!(run.0, 0);
    let mut command = case.command(&["diff", "policies.yaml", "-", "-i", "shop.yaml"]);
    let output = command.write_stdin(POLICIES).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(case.run(&["diff", "-", "-", "-i", "shop.yaml"]).0, 2);
}
