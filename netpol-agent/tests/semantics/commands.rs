//! Commands that read policies: `explain`, `generate --against`, and what they say of bad input.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use serde_json::Value;

const POLICIES: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}]
    ports: [{port: 5432}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn command(name: &str) -> Command {
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the command is built");
    command.arg(name);
    command
}

/// `explain` of a connection in the cluster of the cases, under policies that are read from stdin.
fn explain(policies: &str, arguments: &[&str]) -> Assert {
    let mut command = command("explain");
    command
        .arg("-i")
        .arg(tests().join("semantics/cluster.yaml"));
    command.args(["--policies", "-"]).args(arguments);
    command.write_stdin(policies).assert()
}

/// `generate` for a golden input, against policies that are read from stdin.
fn against(policies: &str) -> Assert {
    let input = tests().join("golden/policy/dns-pair");
    let mut command = command("generate");
    command.arg("-i").arg(input.join("inventory.yaml"));
    command.arg("-f").arg(input.join("flows.jsonl"));
    command.args(["--against", "-"]);
    command.write_stdin(policies).assert()
}

fn one_line(text: &str) -> impl Predicate<str> + use<> {
    predicate::str::diff(format!("error: {text}\n"))
}

#[test]
fn explain_says_who_allows() {
    let told = explain(POLICIES, &["shop/api", "shop/db", "5432/TCP"]).code(0);
    let told = told.stdout(predicate::str::starts_with(
        "shop/Pod/api -> shop/Pod/db TCP 5432: allowed\n",
    ));
    told.stdout(predicate::str::contains(
        "allowed by shop/db#0: from pods app=api of namespace shop on TCP 5432\n",
    ));
}

#[test]
fn explain_says_who_denies_and_what_would_allow() {
    let told = explain(POLICIES, &["shop/web", "shop/Pod/db", "5432", "-o", "json"]).code(1);
    let answer: Value = serde_json::from_slice(&told.get_output().stdout).unwrap();
    assert_eq!(answer["allowed"], false);
    let ingress = &answer["answers"][0]["ingress"];
    assert_eq!(
        ingress["isolatedBy"],
        serde_json::json!(["shop/db", "shop/deny"])
    );
    assert_eq!(ingress["notBy"][0]["rule"], "shop/db#0");
    assert_eq!(ingress["notBy"][0]["misses"][0]["part"], "labels");
    let change = &answer["change"];
    assert_eq!(change["alsoAllows"], serde_json::json!([]));
    assert_eq!(
        change["steps"][0]["yaml"],
        "- podSelector:\n    matchLabels:\n      app: web\n      tier: front\n"
    );
}

#[test]
fn explain_reads_how_plugins_read() {
    let policy = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}
";
    explain(policy, &["10.0.0.1", "shop/db", "80"]).code(0);
    explain(
        policy,
        &["10.0.0.1", "shop/db", "80", "--ip-block", "no-pods"],
    )
    .code(1);
}

#[test]
fn explain_reads_what_plugins_do_with_a_pods_own_node() {
    let deny = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";
    explain(deny, &["node/n1", "shop/db", "80"]).code(0);
    explain(deny, &["node/n2", "shop/db", "80"]).code(1);
    explain(deny, &["shop/db", "node/n1", "80"]).code(1);
    let both = ["shop/db", "node/n1", "80", "--own-node", "both"];
    let told = explain(deny, &both).code(0);
    told.stdout(predicate::str::contains(
        "no policy can keep shop/db from reaching itself or its own node",
    ));
    explain(deny, &["shop/db", "node/n2", "80", "--own-node", "both"]).code(1);
}

#[test]
fn explain_takes_services_and_asks_at_their_target_ports() {
    let told = explain(POLICIES, &["shop/web", "shop/Service/front", "90"]).code(1);
    let told = told.stdout(predicate::str::starts_with(
        "shop/Pod/web -> service shop/front TCP 5432: denied\n",
    ));
    told.stderr("note: port 90/TCP of the service shop/front is port 5432 of its pods\n");
    explain(POLICIES, &["other/web", "shop/front", "5353/UDP"])
        .code(1)
        .stderr("note: port 5353/UDP of the service shop/front is port 53 of its pods\n");
    for (to, port, problem) in [
        (
            "shop/front",
            "8000",
            "the target port \"http\" of the service shop/front is 80 or 8081 at its pods: ask for one of them",
        ),
        (
            "shop/front",
            "91",
            "the service shop/front has no port 91/TCP: it has 8000/TCP, 5353/UDP, 90/TCP",
        ),
        (
            "shop/Service/elsewhere",
            "80",
            "behind the service shop/elsewhere there is no pod: the service selects no pods: ask for the address of one of its endpoints",
        ),
        (
            "shop/Service/nothing",
            "80",
            "\"shop/Service/nothing\" is not in the inventory: no service is called so",
        ),
    ] {
        let told = explain(POLICIES, &["shop/web", to, port]).code(2);
        told.stderr(one_line(problem));
    }
}

#[test]
fn explain_asks_back_for_ends_that_are_not_there() {
    let told = explain(POLICIES, &["shop/nobody", "shop/db", "80"])
        .code(2)
        .stdout("");
    told.stderr(predicate::str::starts_with(
        "error: \"shop/nobody\" is not in the inventory: in that namespace there are for example shop/Pod/api,",
    ));
    let told = explain(POLICIES, &["web", "shop/db", "80"]).code(2);
    told.stderr(one_line(
        "\"web\" is none of namespace/Kind/name, namespace/name, node/NAME, kube-apiserver and an IP address",
    ));
    explain(POLICIES, &["shop/web", "shop/db", "80/ICMP"]).code(2);
    explain(POLICIES, &["shop/web", "shop/db", "0"]).code(2);
}

#[test]
fn a_policy_that_the_api_server_rejects_is_one_line_with_file_document_and_field() {
    let bad = format!(
        "{POLICIES}---\n{}",
        POLICIES.replace("[{port: 5432}]", "[{port: http, endPort: 90}]")
    );
    let told = explain(&bad, &["shop/api", "shop/db", "80"])
        .code(2)
        .stdout("");
    told.stderr(one_line(
        "policies stdin, document 3: NetworkPolicy shop/db: spec.ingress[0].ports[0].endPort: 90 cannot stand beside the named port \"http\"",
    ));
    let told = against(&bad).code(2).stdout("");
    told.stderr(predicate::str::contains("policies stdin, document 3: "));
}

#[test]
fn stdin_is_read_once() {
    let mut twice = command("explain");
    twice.args(["-i", "-", "--policies", "-", "a/b", "a/c", "80"]);
    twice.write_stdin("").assert().code(2).stderr(one_line(
        "stdin (-) can be read only once: name a file for the other input",
    ));
}

#[test]
fn hostile_text_is_one_line() {
    let deep = "[".repeat(100_000);
    let bomb = (1..30).fold("a0: &a0 [x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let before = vec![format!("*a{}", n - 1); 6].join(", ");
        text + &format!("a{n}: &a{n} [{before}]\n")
    });
    let wide = format!(
        "{{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"x\": [{}1]}}",
        "1,".repeat(1_000_000)
    );
    for text in [
        deep,
        format!("kind: Pod\napiVersion: v1\n{bomb}"),
        wide,
        "\u{0}".to_owned(),
    ] {
        let told = explain(&text, &["shop/api", "shop/db", "80"])
            .code(2)
            .stdout("");
        let stderr = String::from_utf8(told.get_output().stderr.clone()).unwrap();
        assert!(
            stderr.starts_with("error: policies stdin: cannot be read as YAML or JSON: "),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn policies_of_other_apis_are_named_in_one_warning() {
    let other = format!(
        "{POLICIES}---\n{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: a, namespace: shop}}}}\n---\n{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: b}}}}\n"
    );
    let told = explain(&other, &["shop/api", "shop/db", "5432"]).code(0);
    told.stderr(predicate::str::diff(
        "warning: policies of other APIs are not judged, and may allow or deny besides: CiliumNetworkPolicy.cilium.io shop/a, ClusterNetworkPolicy.policy.networking.k8s.io b\n",
    ));
}

#[test]
fn what_generate_writes_leaves_nothing_missing() {
    let input = tests().join("golden/policy/dns-pair");
    let all = fs::read_to_string(input.join("policies.yaml")).unwrap();
    let told = against(&all).code(0).stdout("");
    told.stderr(predicate::str::contains(
        "AlreadyAllowed: shop/Deployment/api: 1 edge of ingress already allowed by shop/api-deployment#0\n",
    ));
}

#[test]
fn a_namespaces_policy_that_is_there_is_not_written_again() {
    let input = tests().join("golden/policy/default-deny");
    let all = fs::read_to_string(input.join("policies.yaml")).unwrap();
    let missing = |policies: &str| {
        let mut command = command("generate");
        command.arg("-i").arg(input.join("inventory.yaml"));
        command.arg("-f").arg(input.join("flows.jsonl"));
        command.args(["--default-deny", "--against", "-"]);
        let told = command.write_stdin(policies).assert().code(0);
        String::from_utf8(told.get_output().stdout.clone()).unwrap()
    };
    assert_eq!(missing(&all), "");
    let (denying, others): (Vec<&str>, Vec<&str>) = all
        .split("---\n")
        .partition(|text| text.contains("  name: default-deny\n"));
    let again = missing(&others.join("---\n"));
    assert_eq!(again.matches("kind: NetworkPolicy").count(), denying.len());
    let whole = "spec:\n  podSelector: {}";
    assert_eq!(again.matches(whole).count(), denying.len());
    let renamed = all.replace("  name: default-deny\n", "  name: deny\n");
    assert_eq!(missing(&renamed), "");
    let narrower = all.replace(whole, "spec:\n  podSelector: {matchLabels: {app: web}}");
    assert_eq!(missing(&narrower).matches(whole).count(), denying.len());
}

#[test]
fn generate_against_policies_tells_what_they_allow_and_what_nobody_uses() {
    let theirs = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: web-deployment}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: api}}}]
    ports: [{port: 8080}]
  - to: [{ipBlock: {cidr: 192.0.2.0/24}}]
";
    let told = against(theirs).code(0);
    let output = told.get_output();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    );
    assert!(
        stdout.contains("# 1 edge of egress already allowed by shop/web-deployment#0\n"),
        "{stdout}"
    );
    assert!(
        !stdout.contains("port: 8080\n---") && !stdout.contains("name: web-deployment\n"),
        "{stdout}"
    );
    for line in [
        "NameTaken: there is a policy shop/web-deployment, so the one that completes it is called web-deployment-",
        "UnusedRule: shop/web-deployment egress#1 (to 192.0.2.0/24 on any port): no flow uses it\n",
        "BeyondLearned: existing policies allow shop/Deployment/web -> 192.0.2.0/24: all ports, which was not learned\n",
    ] {
        assert!(stderr.contains(line), "{line:?} in {stderr}");
    }
}
