//! `kubectl-netpol status` as a command.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use expect_test::expect_file;
use predicates::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

/// A shop: a frontend that began with the records, an older interface whose container started again, a report once a
/// night, and something that nobody talks to.
const INVENTORY: &str = r#"
kind: List
apiVersion: v1
items:
- {apiVersion: apps/v1, kind: Deployment, metadata: {namespace: shop, name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {namespace: shop, name: api}, spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}}}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {namespace: shop, name: idle}, spec: {selector: {matchLabels: {app: idle}}, template: {metadata: {labels: {app: idle}}}}}
- {apiVersion: batch/v1, kind: CronJob, metadata: {namespace: shop, name: report}, spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {metadata: {labels: {app: report}}}}}}}
- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {namespace: shop, name: web-1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: "", controller: true}]}}
- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {namespace: shop, name: api-1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: api, uid: "", controller: true}]}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web-1-a, creationTimestamp: "2026-01-02T09:00:00Z", labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: "", controller: true}]}, status: {phase: Running, podIP: 10.0.0.1, startTime: "2026-01-02T09:00:01Z"}}
- {apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api-1-a, creationTimestamp: "2025-12-01T00:00:00Z", labels: {app: api}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: api-1, uid: "", controller: true}]}, status: {phase: Running, podIP: 10.0.0.2, startTime: "2025-12-01T00:00:01Z", containerStatuses: [{name: api, ready: true, image: x, imageID: x, restartCount: 1, state: {running: {startedAt: "2026-01-09T10:00:00Z"}}}]}}
"#;

fn line(to: &mut String, day: u32, hour: u32, client: &str, server: &str, port: u16) {
    let day = day + 1;
    writeln!(
        to,
        r#"{{"time":"2026-01-{day:02}T{hour:02}:20:00Z","client":{client},"server":{server},"protocol":"TCP","port":{port},"outcome":"established"}}"#
    )
    .expect("text grows");
}

/// Fourteen days of traffic.
fn flows() -> String {
    let mut text = String::new();
    let (web, api) = (r#"{"ip":"10.0.0.1"}"#, r#"{"ip":"10.0.0.2"}"#);
    let report = r#"{"workload":"shop/CronJob/report"}"#;
    let outside = |number: u32| format!(r#"{{"ip":"198.51.100.{number}"}}"#);
    line(&mut text, 0, 0, &outside(9), api, 9000);
    for day in 0..14 {
        for hour in 0..24 {
            if day > 1 {
                line(&mut text, day, hour, web, api, 8080);
                line(&mut text, day, hour, &outside(1), web, 443);
            }
            if hour % 5 == 0 {
                line(&mut text, day, hour, api, &outside(hour), 443);
            }
        }
        line(&mut text, day, 3, report, api, 8080);
    }
    for hour in 9..15 {
        line(&mut text, 6, hour, api, &outside(50), 25);
    }
    line(&mut text, 9, 11, api, web, 9090);
    text
}

/// A directory with both inputs.
fn input() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
    write("inventory.yaml", INVENTORY);
    write("flows.jsonl", &flows());
    dir
}

fn status(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the command is built");
    command.arg("status");
    command.arg("--inventory").arg(dir.join("inventory.yaml"));
    command.arg("--flows").arg(dir.join("flows.jsonl"));
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.assert().success().get_output().stdout.clone();
    String::from_utf8(output).expect("text")
}

#[test]
fn a_table_and_what_it_means() {
    let dir = input();
    let text = stdout(&mut status(dir.path()));
    expect_file!["../golden/status/table.txt"].assert_eq(&text);
    assert_eq!(
        stdout(&mut status(dir.path())),
        text,
        "the same input gives the same bytes"
    );
}

#[test]
fn json_holds_both_directions() {
    let dir = input();
    let text = stdout(status(dir.path()).args(["-o", "json"]));
    expect_file!["../golden/status/status.json"].assert_eq(&text);
    let value: Value = serde_json::from_str(&text).unwrap();
    let workloads = value["workloads"].as_array().unwrap();
    let api = workloads
        .iter()
        .find(|each| each["workload"] == "shop/Deployment/api")
        .unwrap();
    assert_eq!(
        (&api["ingress"]["edges"], &api["egress"]["edges"]),
        (&3.into(), &3.into())
    );
    assert_eq!(api["seen"]["restart"], "yes");
}

#[test]
fn longer_windows_take_longer() {
    let dir = input();
    let text = stdout(status(dir.path()).args(["-o", "json", "--window", "24"]));
    let value: Value = serde_json::from_str(&text).unwrap();
    let api = &value["workloads"][1];
    assert_eq!(
        (&api["windows"], &api["all"]["coverage"]),
        (&14.into(), &Value::Null)
    );
}

#[test]
fn bad_options_are_named() {
    let dir = input();
    let error = |arguments: [&str; 2], text: &'static str| {
        let mut command = status(dir.path());
        command
            .args(arguments)
            .assert()
            .code(2)
            .stdout("")
            .stderr(predicate::str::contains(text));
    };
    error(["--window", "7"], "hours that divide a day");
    error(
        ["--min-coverage", "95"],
        "--min-coverage 95 is not between 0 and 1",
    );
}

#[test]
fn without_times_there_is_no_estimate() {
    let dir = input();
    let timeless: String = flows()
        .lines()
        .map(|line| format!("{{{}\n", line.split_once(',').expect("a time").1))
        .collect();
    fs::write(dir.path().join("flows.jsonl"), timeless).unwrap();
    let text = stdout(&mut status(dir.path()));
    assert!(
        text.contains("no record tells a time, so there is no window"),
        "{text}"
    );
}

/// What `generate` writes and says of some records.
fn generate(dir: &Path, flows: &str, arguments: &[&str]) -> [String; 2] {
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the command is built");
    command.arg("generate").args(arguments);
    command.arg("--inventory").arg(dir.join("inventory.yaml"));
    command.args(["--flows", "-"]).write_stdin(flows);
    let output = command.assert().success().get_output().clone();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"))
}

/// What policies say of their coverage.
fn comments(yaml: &str) -> Vec<&str> {
    let lines = yaml.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix("# Coverage"))
        .collect()
}

#[test]
fn policies_say_what_their_edges_cover() {
    let dir = input();
    let [yaml, findings] = generate(dir.path(), &flows(), &[]);
    let expected = [
        " at the end of 2026-01-13: 0.97 (0.87 to 1.00), unseen edges: 2.8 (>= 0); estimated from 13 days.",
        " at the end of 2026-01-13: 1.00 (0.64 to 1.00), unseen edges: 0.0 (>= 0); estimated from 12 days.",
        " at the end of 2026-01-13: 1.00 (0.85 to 1.00), unseen edges: 0.0 (>= 0); estimated from 11 days.",
    ];
    assert_eq!(comments(&yaml), expected);
    assert!(
        findings.contains("finding: Incomplete: 1 of 3 workloads"),
        "{findings}"
    );
    let [yaml, _] = generate(dir.path(), &flows(), &["--no-evidence"]);
    assert!(!yaml.contains("Coverage"), "{yaml}");
}

#[test]
fn what_policies_say_changes_at_midnight_only() {
    let dir = input();
    let until = |end: &str| {
        let all = flows();
        let time = |line: &str| line.get(9..22).map(str::to_owned);
        let before = all
            .lines()
            .filter(|line| time(line).is_some_and(|time| time.as_str() < end));
        let text: String = before.map(|line| format!("{line}\n")).collect();
        let [yaml, _] = generate(dir.path(), &text, &[]);
        let lines = comments(&yaml).into_iter().map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let of_the_13th = until("2026-01-13T01");
    assert_eq!(until("2026-01-13T12"), of_the_13th);
    assert_eq!(until("2026-01-13T23"), of_the_13th);
    assert_ne!(until("2026-01-14T01"), of_the_13th);
    for early in until("2026-01-03T12") {
        assert!(
            early.starts_with(": not estimated yet, watched for "),
            "{early}"
        );
    }
}

#[test]
fn a_rejected_edge_is_nothing_to_be_covered() {
    let dir = input();
    let api = |arguments: &[&str]| {
        let [yaml, _] = generate(dir.path(), &flows(), arguments);
        comments(&yaml).first().map(|line| (*line).to_owned())
    };
    let rejected = api(&["--reject", "shop/Deployment/api -> 198.51.100.50 25/TCP"]);
    assert_ne!(rejected, api(&[]));
}

#[test]
fn a_namespace_is_no_workload_that_could_be_complete() {
    let dir = input();
    let [yaml, findings] = generate(dir.path(), &flows(), &["--default-deny"]);
    assert_eq!(comments(&yaml).len(), 3, "{yaml}");
    assert!(
        findings.contains("finding: Incomplete: 1 of 3 workloads"),
        "{findings}"
    );
}
