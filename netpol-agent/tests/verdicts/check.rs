//! The verdict on flows.

use serde_json::{Value, json};

use super::Case;

/// A flow as a line of JSON.
fn flow(client: &str, server: &str, protocol: &str, port: u16) -> String {
    let end = |text: &str| match text.matches('/').count() {
        2 => json!({"workload": text}),
        1 => json!({"pod": text}),
        _ => json!({"ip": text}),
    };
    json!({
        "client": end(client),
        "server": end(server),
        "protocol": protocol,
        "port": port,
        "outcome": "established",
    })
    .to_string()
}

/// Exit code and lines for some flows under the shop's policies.
fn check(case: &Case, flows: &[String]) -> (i32, Vec<Value>) {
    case.file("flows.jsonl", &flows.join("\n"));
    let (code, stdout, stderr) = case.run(&[
        "check",
        "-i",
        "shop.yaml",
        "-f",
        "flows.jsonl",
        "-p",
        "policies.yaml",
        "-o",
        "json",
    ]);
    assert!(code < 2, "{stderr}");
    let lines = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    (code, lines.collect())
}

#[test]
fn each_flow_gets_a_line() {
    let case = Case::shop();
    let flows = [
        flow("10.1.0.1", "10.1.0.3", "TCP", 8080),
        flow("10.1.0.1", "10.1.0.2", "UDP", 53),
    ];
    let (code, lines) = check(&case, &flows);
    assert_eq!(code, 0);
    let open = json!({"allowed": true, "isolated": false, "by": []});
    let by = json!({"allowed": true, "isolated": true, "by": ["shop/api#0"]});
    let expected = [
        json!({"line": 1, "allowed": true, "egress": open, "ingress": by}),
        json!({"line": 2, "allowed": true, "egress": open, "ingress": open}),
    ];
    assert_eq!(lines, expected);
}

/// Whether single flows are allowed.
#[test]
fn ends_are_looked_up() {
    let cases = [
        (
            "10.1.0.1",
            "10.1.0.3",
            "TCP",
            8080,
            true,
            "a pod by its address",
        ),
        (
            "10.1.0.1",
            "10.1.0.3",
            "TCP",
            9090,
            false,
            "the port of that name is another pod's",
        ),
        ("10.1.0.1", "10.1.0.4", "TCP", 9090, true, "and there it is"),
        (
            "shop/web-2",
            "shop/api-2",
            "TCP",
            9090,
            true,
            "pods by name",
        ),
        (
            "shop/StatefulSet/web",
            "shop/api-1",
            "TCP",
            8080,
            true,
            "every pod of a workload",
        ),
        (
            "shop/StatefulSet/web",
            "shop/StatefulSet/api",
            "TCP",
            8080,
            false,
            "api-2 does not take it",
        ),
        (
            "10.1.0.1",
            "10.96.0.7",
            "TCP",
            80,
            true,
            "a service is judged behind DNAT",
        ),
        (
            "ops/CronJob/backup",
            "10.96.0.7",
            "TCP",
            80,
            false,
            "backup may not",
        ),
        (
            "ops/CronJob/backup",
            "shop/Deployment/db",
            "TCP",
            5432,
            true,
            "workloads without pods",
        ),
        (
            "shop/StatefulSet/web",
            "shop/Deployment/db",
            "TCP",
            5432,
            false,
            "web is not let in",
        ),
        (
            "192.168.0.1",
            "10.1.0.3",
            "TCP",
            1,
            true,
            "a pod's own node",
        ),
        ("192.168.0.2", "10.1.0.3", "TCP", 1, false, "another node"),
        (
            "203.0.113.1",
            "shop/Deployment/db",
            "UDP",
            1500,
            true,
            "an address in a block",
        ),
        (
            "203.0.113.129",
            "shop/Deployment/db",
            "UDP",
            1500,
            false,
            "an address in its exception",
        ),
        (
            "shop/Deployment/db",
            "198.51.100.1",
            "TCP",
            443,
            false,
            "egress without rules",
        ),
        ("shop/api-1", "shop/api-1", "TCP", 1, true, "a pod itself"),
        (
            "shop/StatefulSet/api",
            "shop/StatefulSet/api",
            "TCP",
            1,
            false,
            "another pod of the workload",
        ),
    ];
    let case = Case::shop();
    let flows: Vec<String> = cases
        .iter()
        .map(|(client, server, protocol, port, ..)| flow(client, server, protocol, *port))
        .collect();
    let (code, lines) = check(&case, &flows);
    assert_eq!(code, 1);
    for ((client, server, .., allowed, why), line) in cases.iter().zip(&lines) {
        assert_eq!(
            line["allowed"],
            json!(allowed),
            "{client} -> {server}: {why}: {line}"
        );
    }
}

/// Of a flow that may have been between several pods, those are named that deny it.
#[test]
fn the_pods_that_deny_are_named() {
    let case = Case::shop();
    let (code, lines) = check(
        &case,
        &[flow("shop/web-1", "shop/StatefulSet/api", "TCP", 8080)],
    );
    assert_eq!(code, 1);
    let denied = json!([{"client": "shop/web-1", "server": "shop/api-2", "port": 8080}]);
    assert_eq!(lines[0]["denied"], denied);
    assert_eq!(
        lines[0]["ingress"],
        json!({"allowed": false, "isolated": true, "by": []})
    );
    assert_eq!(lines[0]["egress"]["allowed"], json!(true));
}

/// A flow whose end cannot be told is listed, and is not silently allowed.
#[test]
fn what_is_unresolved_is_not_allowed() {
    let case = Case::shop();
    let flows = [
        flow("10.1.0.99", "10.1.0.1", "TCP", 80),
        flow("shop/gone", "10.1.0.1", "TCP", 80),
    ];
    let (code, lines) = check(&case, &flows);
    assert_eq!(code, 1);
    for line in &lines {
        assert_eq!(
            (&line["allowed"], &line["egress"], &line["ingress"]),
            (&json!(false), &Value::Null, &Value::Null)
        );
        assert!(line["unresolved"].is_string(), "{line}");
    }
}

/// An address is looked up at the time of the flow: a pod that has finished since still was who it was.
#[test]
fn pods_of_the_past_are_judged() {
    let case = Case::shop();
    let finished = "{apiVersion: v1, kind: Pod, metadata: {name: old, namespace: ops, labels: {app: old}, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {nodeName: two}, status: {phase: Succeeded, podIP: 10.1.0.50, startTime: '2026-01-01T00:00:00Z', containerStatuses: [{name: m, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 0, finishedAt: '2026-01-01T01:00:00Z'}}}]}}";
    let shop = std::fs::read_to_string(case.dir.path().join("shop.yaml")).expect("the shop");
    case.file("shop.yaml", &format!("{shop}\n---\n{finished}"));
    let mut at: Value =
        serde_json::from_str(&flow("10.1.0.50", "10.1.0.3", "TCP", 8080)).expect("a flow");
    at["time"] = json!("2026-01-01T00:30:00Z");
    let (code, lines) = check(&case, &[at.to_string()]);
    assert_eq!(
        (code, &lines[0]["allowed"], &lines[0]["ingress"]["isolated"]),
        (1, &json!(false), &json!(true)),
        "{lines:?}"
    );
    at["server"] = json!({"pod": "shop/web-1"});
    let (code, lines) = check(&case, &[at.to_string()]);
    assert_eq!((code, &lines[0]["allowed"]), (0, &json!(true)), "{lines:?}");
}

#[test]
fn bad_lines_are_named_or_skipped() {
    let case = Case::shop();
    let good = flow("10.1.0.1", "10.1.0.2", "TCP", 80);
    case.file("flows.jsonl", &format!("{good}\nnonsense\n\n{good}\n"));
    let arguments = [
        "check",
        "-i",
        "shop.yaml",
        "-f",
        "flows.jsonl",
        "-o",
        "json",
    ];
    let (code, stdout, stderr) = case.run(&arguments);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("flows.jsonl, line 2: "), "{stderr}");
    let (code, stdout, stderr) = case.run(&[&arguments[..], &["--skip-bad-lines"]].concat());
    assert_eq!(code, 0);
    assert!(stderr.contains("1 bad lines skipped"), "{stderr}");
    let numbers: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["line"].clone())
        .collect();
    assert_eq!(numbers, [json!(1), json!(4)]);
}

#[test]
fn flows_come_from_stdin_and_tables_go_to_people() {
    let case = Case::shop();
    let mut command = case.command(&["check", "-i", "shop.yaml", "-f", "-", "-p", "policies.yaml"]);
    let flows = [
        flow("10.1.0.1", "10.1.0.3", "TCP", 8080),
        flow("10.1.0.1", "10.1.0.3", "TCP", 22),
    ];
    let output = command
        .write_stdin(flows.join("\n"))
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).expect("text");
    let cells: Vec<Vec<&str>> = stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        cells[0],
        [
            "LINE", "VERDICT", "CLIENT", "SERVER", "PORT", "EGRESS", "INGRESS"
        ]
    );
    assert_eq!(
        cells[1],
        [
            "1",
            "allowed",
            "10.1.0.1",
            "10.1.0.3",
            "8080/TCP",
            "open",
            "shop/api#0"
        ]
    );
    assert_eq!(
        cells[2],
        [
            "2", "denied", "10.1.0.1", "10.1.0.3", "22/TCP", "open", "denied"
        ]
    );
}

#[test]
fn no_flows_are_not_denied() {
    let case = Case::shop();
    assert_eq!(check(&case, &[]), (0, vec![]));
}
