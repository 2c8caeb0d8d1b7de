//! The commands on captures.

use std::fs;

use assert_cmd::Command;
use predicates::prelude::*;

use crate::capture::Capture;

const INVENTORY: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "Pod",
   "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
   "spec": {"nodeName": "one", "containers": [{"name": "c"}]},
   "status": {"phase": "Running", "podIP": "10.0.0.1"}},
  {"apiVersion": "v1", "kind": "Pod",
   "metadata": {"name": "db", "namespace": "shop", "labels": {"app": "db"}},
   "spec": {"nodeName": "one", "containers": [{"name": "c"}]},
   "status": {"phase": "Running", "podIP": "10.0.0.2"}}]}"#;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("kubectl-netpol").unwrap();
    command.args(arguments);
    command
}

#[test]
fn generate_takes_all_kinds_of_captures_and_is_the_same_every_time() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let inventory = write("inventory.json", INVENTORY.as_bytes());
    let capture = Capture::new().tcp(1, (1, 40_000), (2, 5432), "S", 1).tcp(
        1,
        (2, 5432),
        (1, 40_000),
        "SA",
        1,
    );
    let pcap = write("a.pcap", &capture.bytes());
    let hubble = r#"{"flow":{"verdict":"FORWARDED","IP":{"source":"10.0.0.2","destination":"10.0.0.1"},"l4":{"UDP":{"source_port":9,"destination_port":7000}},"is_reply":true}}"#;
    let hubble = hubble.replace(
        "\"source_port\":9,\"destination_port\":7000",
        "\"source_port\":7000,\"destination_port\":9",
    );
    let hubble = write("hubble.json", hubble.as_bytes());
    let table = "tcp 6 9 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=9200 src=10.0.0.2 dst=10.0.0.1 sport=9200 dport=1 [ASSURED]\n";
    let conntrack = write("table", table.as_bytes());
    let arguments = [
        "generate",
        "--inventory",
        &inventory,
        "--pcap",
        &pcap,
        "--hubble",
        &hubble,
        "--conntrack",
        &conntrack,
    ];
    let first = command(&arguments).assert().success();
    let text = String::from_utf8(first.get_output().stdout.clone()).unwrap();
    for port in ["5432", "7000", "9200"] {
        assert!(text.contains(&format!("port: {port}")), "{port} in\n{text}");
    }
    command(&arguments).assert().success().stdout(text);
}

#[test]
fn a_capture_may_come_from_stdin() {
    let directory = tempfile::tempdir().unwrap();
    let inventory = directory.path().join("inventory.json");
    fs::write(&inventory, INVENTORY).unwrap();
    let capture = Capture::new()
        .udp(1, (1, 40_000), (2, 53))
        .udp(1, (2, 53), (1, 40_000));
    command(&["flows", "--pcap", "-", "-o", "json", "--inventory"])
        .arg(&inventory)
        .write_stdin(capture.bytes())
        .assert()
        .success()
        .stdout(predicate::str::contains("\"port\":53"));
}

/// A pod that Hubble names and the inventory lacks: its address may be outside of everything that the inventory knows,
/// and is in no policy all the same.
#[test]
fn a_pod_that_is_gone_never_becomes_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let inventory = directory.path().join("inventory.json");
    fs::write(&inventory, INVENTORY).unwrap();
    let flow = r#"{"flow":{"verdict":"FORWARDED","Type":"L3_L4","is_reply":true,
        "IP":{"source":"10.77.0.9","destination":"10.0.0.1"},
        "source":{"namespace":"shop","pod_name":"gone-1"},
        "l4":{"TCP":{"source_port":8080,"destination_port":40000,"flags":{"SYN":true,"ACK":true}}}}}"#;
    command(&["generate", "--hubble", "-", "--inventory"])
        .arg(&inventory)
        .write_stdin(flow.replace('\n', ""))
        .assert()
        .success()
        .stdout(predicate::str::contains("10.77.0.9").not())
        .stderr(predicate::str::contains("pod shop/gone-1"));
}

/// What makes no edge is told by its kind.
#[test]
fn what_makes_no_edge_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let inventory = directory.path().join("inventory.json");
    fs::write(&inventory, INVENTORY).unwrap();
    let traced = r#"{"flow":{"verdict":"TRACED","Type":"SOCK","IP":{"source":"10.0.0.1","destination":"10.0.0.2"}}}"#;
    let ping = r#"{"flow":{"verdict":"FORWARDED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"ICMPv4":{"type":8}}}}"#;
    command(&["flows", "--hubble", "-", "--inventory"])
        .arg(&inventory)
        .write_stdin([traced, traced, ping].join("\n"))
        .assert()
        .success()
        .stderr(
            predicate::str::contains(
                "stdin: 1 of 3 flows are no TCP, UDP or SCTP between two hosts",
            )
            .and(predicate::str::contains(
                "stdin: 2 of 3 flows are about no attempt",
            )),
        );
}

#[test]
fn what_is_wrong_is_one_line_and_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let inventory = directory.path().join("inventory.json");
    fs::write(&inventory, INVENTORY).unwrap();
    let other_link = Capture::with_link(127).bytes();
    let whole = Capture::new().udp(1, (1, 40_000), (2, 53)).bytes();
    let cases = [
        (
            "--pcap",
            &b"no capture at all, but long enough"[..],
            "is no packet capture",
        ),
        (
            "--pcap",
            &other_link,
            "is of link type 127, which is not read",
        ),
        (
            "--pcap",
            &whole[..whole.len() - 1],
            "packet 1: the capture breaks off here; with --skip-bad-lines",
        ),
        ("--hubble", b"{", "line 1: no flow of Hubble"),
        ("--conntrack", b"x\n", "line 1: not an entry of conntrack"),
    ];
    for (flag, bytes, expected) in cases {
        let path = directory.path().join("input");
        fs::write(&path, bytes).unwrap();
        command(&["generate", flag])
            .arg(&path)
            .arg("--inventory")
            .arg(&inventory)
            .assert()
            .code(2)
            .stdout("")
            .stderr(
                predicate::str::contains(expected)
                    .and(predicate::function(|text: &str| text.lines().count() == 1)),
            );
    }
    command(&["generate", "--inventory"])
        .arg(&inventory)
        .assert()
        .code(2)
        .stderr(predicate::str::contains("--flows"));
}
