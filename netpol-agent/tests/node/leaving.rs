//! One agent at a time for an instance, and what `detach` leaves behind.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use netpol_agent::node::attach;
use netpol_common::words::Outcome;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

use crate::lab::{Lab, NODE, Server, one_shots};

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    lab
}

/// Runs the agent on the lab's node to its end.
fn agent(lab: &Lab, words: &[&str]) -> Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netpol-agent"));
    command
        .args(words)
        .args([
            "--log",
            "error",
            "--node",
            &format!("{NODE}={}", lab.node()),
        ])
        .env("NETPOL_BPFFS", lab.bpffs())
        .assert()
}

fn connect(lab: &Lab, ports: std::ops::Range<u16>) {
    let _server = Server::start(lab, "server", ports.clone());
    one_shots(lab, "client", "server", ports);
}

/// The ports that were learned of, each from both ends.
fn learned(lab: &Lab) -> Vec<u16> {
    let flows = lab.flows();
    assert!(
        flows
            .keys()
            .all(|(.., outcome)| *outcome == Outcome::Established)
    );
    let mut ports: Vec<u16> = flows.into_keys().map(|(_, _, port, ..)| port).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn a_second_agent_of_an_instance_is_refused_until_the_first_is_gone() {
    let lab = lab();
    let (inventory, other) = (lab.inventory(), lab.state().with_extension("other"));
    let [inventory, other] = [&inventory, &other].map(|path| path.to_str().unwrap());
    let words = [
        "node",
        "--standalone",
        "--inventory",
        inventory,
        "--state-dir",
        other,
    ];
    let first = lab.start(&[]);
    for bpffs in [&[][..], &["--bpffs", "/nonexistent"]] {
        agent(&lab, &[&words[..], bpffs].concat())
            .code(2)
            .stderr(contains("another agent uses the instance"));
    }
    assert!(!std::path::Path::new(other).exists());
    agent(&lab, &["detach", "--discard"])
        .code(2)
        .stderr(contains("another agent uses the instance"));
    connect(&lab, 8000..8001);
    first.kill();
    let second = lab.start(&[]);
    connect(&lab, 8001..8002);
    second.stop();
    assert_eq!(learned(&lab), [8000, 8000, 8001, 8001]);
}

#[test]
fn what_was_counted_without_an_agent_is_kept_before_it_is_detached() {
    for mechanism in ["tcx", "clsact"] {
        let lab = lab();
        lab.start(&["--attach", mechanism, "--edges", "500"]).stop();
        connect(&lab, 8000..8003);
        agent(&lab, &["detach"])
            .code(2)
            .stdout("")
            .stderr(contains("--inventory").and(contains("--discard")));
        connect(&lab, 8003..8004);
        let (inventory, state) = (lab.inventory(), lab.state());
        let [inventory, state] = [&inventory, &state].map(|path| path.to_str().unwrap());
        let words = ["detach", "--inventory", inventory, "--state-dir", state];
        let words = [&words[..], &["--attach", mechanism]].concat();
        agent(&lab, &words)
            .code(0)
            .stdout(contains("is kept in").and(contains("/EDGES")));
        assert_eq!(
            learned(&lab),
            [8000, 8000, 8001, 8001, 8002, 8002, 8003, 8003],
            "{mechanism}"
        );
        assert!(!lab.pins().directory().exists());
        agent(&lab, &words)
            .code(0)
            .stdout(contains("nothing is attached"));
    }
}

#[test]
fn what_is_discarded_is_gone() {
    let lab = lab();
    lab.start(&[]).stop();
    connect(&lab, 8000..8001);
    assert!(attach::entries(&lab.pins()).unwrap() > 0);
    agent(&lab, &["detach", "--discard"])
        .code(0)
        .stdout(contains("is lost"));
    assert!(!lab.pins().directory().exists());
    assert!(learned(&lab).is_empty());
}

#[test]
fn a_node_may_have_the_longest_name_that_kubernetes_allows() {
    let lab = lab();
    let label = "n".repeat(63);
    let name = [&*label, &label, &label, &label[..61]].join(".");
    let node = format!("{name}={}", lab.node());
    lab.start(&["--node", &node]).stop();
    lab.start(&["--node", &node]).kill();
    agent(&lab, &["detach", "--discard", "--node", &node])
        .code(0)
        .stdout(contains("removed"));
}
