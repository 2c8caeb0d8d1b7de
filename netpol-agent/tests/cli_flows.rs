//! `kubectl-netpol flows` and `graph` as a person runs them: results, findings, exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use expect_test::{ExpectFile, expect_file};
use predicates::prelude::*;
use predicates::str::contains;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/shop")
        .join(name)
}

fn netpol(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("kubectl-netpol").expect("the binary is built");
    command.args(arguments);
    command
}

/// The command with the golden inventory and flows, and more arguments.
fn shop(command: &str, arguments: &[&str]) -> Command {
    let mut shop = netpol(&[command, "--inventory"]);
    shop.arg(golden("inventory.yaml"))
        .arg("--flows")
        .arg(golden("flows.jsonl"))
        .args(arguments);
    shop
}

fn stdout(command: &mut Command) -> String {
    let Output { status, stdout, .. } = command.output().expect("the binary runs");
    assert_eq!(status.code(), Some(0));
    String::from_utf8(stdout).expect("text")
}

fn check(command: &str, format: &str, expected: &ExpectFile) {
    let once = stdout(&mut shop(command, &["-o", format]));
    assert_eq!(once, stdout(&mut shop(command, &["-o", format])));
    expected.assert_eq(&once);
}

#[test]
fn flows_as_a_table() {
    check("flows", "table", &expect_file![golden("flows.txt")]);
}

#[test]
fn flows_as_json_lines() {
    check("flows", "json", &expect_file![golden("resolved.jsonl")]);
}

#[test]
fn graph_for_a_terminal() {
    check("graph", "text", &expect_file![golden("graph.txt")]);
}

#[test]
fn graph_for_mermaid() {
    check("graph", "mermaid", &expect_file![golden("graph.mmd")]);
}

#[test]
fn graph_for_graphviz() {
    check("graph", "dot", &expect_file![golden("graph.dot")]);
}

#[test]
fn graph_for_programs() {
    check("graph", "json", &expect_file![golden("graph.json")]);
}

#[test]
fn findings_go_to_stderr() {
    shop("flows", &[])
        .assert()
        .success()
        .stderr(contains(
            "unresolved: shop/old-api -> 10.1.1.99 port 80/TCP",
        ))
        .stderr(contains(
            "outcome unknown: shop/Pod/old-api -> 203.0.113.10",
        ));
}

#[test]
fn resolved_flows_can_be_read_again() {
    let resolved = stdout(&mut shop("flows", &["-o", "json"]));
    let mut again = netpol(&["flows", "-o", "json", "--flows", "-", "--inventory"]);
    again
        .arg(golden("inventory.yaml"))
        .write_stdin(resolved.clone());
    assert_eq!(stdout(&mut again), resolved);
}

#[test]
fn inputs_add_up() {
    let mut twice = shop("flows", &["-o", "json", "--flows"]);
    let text = stdout(twice.arg(golden("flows.jsonl")));
    assert!(text.contains("\"count\":30"), "{text}");
}

/// Runs `flows` on these lines, with more arguments.
fn flows(lines: impl Into<Vec<u8>>, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = netpol(&["flows", "--flows", "-", "--inventory"]);
    command
        .arg(golden("inventory.yaml"))
        .args(arguments)
        .write_stdin(lines)
        .assert()
}

/// A line with some text in it replaced.
fn line(from: &str, to: &str) -> String {
    let good = r#"{"time":"2026-01-02T03:04:05Z","client":{"ip":"10.1.0.4"},"server":{"ip":"10.1.1.5"},"protocol":"TCP","port":8080,"outcome":"established","count":12,"last_seen":"2026-01-02T03:04:06Z","view":"client"}"#;
    assert!(good.contains(from));
    good.replace(from, to) + "\n"
}

#[test]
fn bad_lines_are_named() {
    let long = format!("\"pad\":\"{}\",\"time\"", "x".repeat(70_000));
    let cases: [(&str, &str, &str); 14] = [
        (
            r#""port":8080"#,
            r#""port":0"#,
            "port 0 is not between 1 and 65535",
        ),
        (
            r#""port":8080"#,
            r#""port":65536"#,
            "port 65536 is not between",
        ),
        (r#""port":8080,"#, "", "missing field `port`"),
        (r#""TCP""#, r#""ICMP""#, "unknown variant `ICMP`"),
        (
            r#""client":{"ip":"10.1.0.4"}"#,
            r#""client":{}"#,
            "none of ip, pod, workload",
        ),
        (
            r#"{"ip":"10.1.0.4"}"#,
            r#"{"ip":"10.1.0.4","pod":"a/b"}"#,
            "more than one of",
        ),
        (
            r#"{"ip":"10.1.0.4"}"#,
            r#"{"pod":"web"}"#,
            "not of the form namespace/name",
        ),
        ("10.1.0.4", "10.1.0.400", "invalid IP address"),
        ("03:04:06", "03:04:04", "last_seen lies before time"),
        ("03:04:06Z", "teatime", "not a flow record"),
        (r#""established""#, r#""fine""#, "unknown variant `fine`"),
        (r#""count":12"#, r#""count":-1"#, "invalid value"),
        ("}", "", "not a flow record"),
        (r#""time""#, &long, "longer than 65536 bytes"),
    ];
    for (from, to, message) in cases {
        let lines = line("TCP", "UDP") + "\r\n" + &line(from, to);
        flows(lines.clone(), &[])
            .code(2)
            .stdout("")
            .stderr(contains("error: stdin, line 3: ").and(contains(message)))
            .stderr(predicate::function(|text: &str| text.lines().count() == 1));
        flows(lines, &["--skip-bad-lines"])
            .success()
            .stdout(contains("UDP"))
            .stderr(contains(
                "stdin: 1 bad lines skipped, the first of them line 3",
            ));
    }
}

#[test]
fn text_that_is_no_utf8_is_named() {
    let mut lines = line("TCP", "UDP").into_bytes();
    lines.extend(b"{\"\xff\":1}\n");
    flows(lines, &[])
        .code(2)
        .stderr(contains("line 2: not UTF-8 from byte 3 on"));
}

#[test]
fn what_editors_leave_behind_is_passed_over() {
    let lines = format!("\u{feff}{}\r\n\n  \n", line("TCP", "SCTP").trim_end());
    flows(lines, &[])
        .success()
        .stdout(contains("SCTP").count(1))
        .stderr("");
    flows("", &[]).success();
}

#[test]
fn missing_files_are_named() {
    netpol(&["flows", "--inventory", "none.yaml", "--flows", "none.jsonl"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("none.yaml"));
    let mut command = netpol(&["graph", "--flows", "none.jsonl", "--inventory"]);
    command
        .arg(golden("inventory.yaml"))
        .assert()
        .code(2)
        .stderr(contains(
            "error: flows none.jsonl cannot be opened: No such file",
        ));
}

#[test]
fn broken_inventories_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join("broken.yaml");
    fs::write(&broken, "kind: Pod\n  metadata: [\n").expect("a file");
    let mut command = netpol(&["flows", "--flows", "-", "--inventory"]);
    command
        .arg(&broken)
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("broken.yaml"))
        .stderr(predicate::function(|text: &str| text.lines().count() == 1));
}

#[test]
fn stdin_is_read_only_once() {
    netpol(&["flows", "--inventory", "-", "--flows", "-"])
        .write_stdin("")
        .assert()
        .code(2)
        .stderr(contains("stdin (-) can be read only once"));
}

#[test]
fn wrong_usage_is_an_error() {
    netpol(&["flows"]).assert().code(2);
    netpol(&["teatime"]).assert().code(2);
    netpol(&["--version"]).assert().success();
}
