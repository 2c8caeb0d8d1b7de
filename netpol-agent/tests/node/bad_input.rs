//! What is wrong is said in one line, with exit code 2.

use std::process::Output;

use assert_cmd::Command;
use predicates::prelude::*;

use crate::lab::Lab;

fn agent(arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netpol-agent"));
    command.args(arguments).args(["--log", "error"]).assert()
}

/// One line on stderr that holds `text`, and exit code 2.
fn is_refused(assert: assert_cmd::assert::Assert, text: &str) {
    let assert = assert
        .code(2)
        .stdout("")
        .stderr(predicate::str::contains(text));
    let Output { stderr, .. } = assert.get_output();
    let stderr = String::from_utf8_lossy(stderr);
    assert!(
        stderr.starts_with("error: ") && stderr.trim_end().lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn without_standalone_it_is_said_what_to_do() {
    is_refused(agent(&["node"]), "--standalone");
    is_refused(agent(&["node", "--standalone"]), "--inventory");
    is_refused(
        agent(&["node", "--standalone", "--in-cluster"]),
        "--kubeconfig",
    );
    let missing = [
        "node",
        "--standalone",
        "--kubeconfig",
        "/nonexistent/config",
    ];
    is_refused(agent(&missing), "/nonexistent/config");
}

#[test]
fn an_aggregator_is_named_by_an_https_url_with_its_files() {
    for url in [
        "http://aggregator:8443",
        "aggregator:8443",
        "https://a/path",
    ] {
        let arguments = [
            "node",
            "--in-cluster",
            "--aggregator",
            url,
            "--aggregator-ca",
            "ca.crt",
            "--aggregator-token",
            "token",
        ];
        is_refused(agent(&arguments), "https://HOST[:PORT]");
    }
    let lacking = agent(&["node", "--aggregator", "https://aggregator"]);
    let lacking = lacking.code(2).stdout("");
    lacking.stderr(predicate::str::contains("--aggregator-ca"));
}

#[test]
fn a_missing_or_broken_inventory_leaves_no_state() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let broken = directory.path().join("broken.yaml");
    std::fs::write(&broken, "apiVersion: v1\nkind: Pod\nmetadata: 7\n").unwrap();
    let missing = directory.path().join("missing.yaml");
    for inventory in [missing, broken] {
        let name = inventory.to_str().unwrap();
        let state = state.to_str().unwrap();
        let refused = agent(&[
            "node",
            "--standalone",
            "--inventory",
            name,
            "--state-dir",
            state,
        ]);
        is_refused(refused, name);
    }
    assert!(!state.exists());
}

#[test]
fn a_missing_namespace_and_a_second_agent_are_named() {
    let lab = Lab::new();
    let (inventory, state, bpffs) = (lab.inventory(), lab.state(), lab.bpffs());
    let [inventory, state, bpffs] = [&inventory, &state, &bpffs].map(|path| path.to_str().unwrap());
    let common = [
        "node",
        "--standalone",
        "--inventory",
        inventory,
        "--bpffs",
        bpffs,
        "--state-dir",
        state,
    ];
    let with = |more: &[&str]| agent(&[&common[..], more].concat());
    is_refused(
        with(&["--node", "x=no-such-netns"]),
        "/run/netns/no-such-netns",
    );
    is_refused(with(&["--node", "x", "--node", "x"]), "named twice");
    let first = lab.start(&[]);
    is_refused(
        with(&["--node", "x"]),
        "another agent uses the state directory",
    );
    first.stop();
}

#[test]
fn without_privileges_it_is_said_which_are_missing() {
    let lab = Lab::new();
    let inventory = lab.inventory();
    let mut command = Command::new("setpriv");
    let command = command
        .args([
            "--bounding-set",
            "-all",
            "--inh-caps",
            "-all",
            "--reuid",
            "65534",
            "--clear-groups",
        ])
        .arg(env!("CARGO_BIN_EXE_netpol-agent"))
        .args([
            "node",
            "--standalone",
            "--log",
            "error",
            "--state-dir",
            "/nonexistent/state",
            "--inventory",
        ])
        .arg(inventory);
    is_refused(command.assert(), "CAP_");
}
