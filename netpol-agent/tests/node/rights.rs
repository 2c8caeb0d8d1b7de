//! The agent with exactly the capabilities that its container is given, which are read from the manifest.

use std::fs;
use std::path::Path;

use netpol_common::words::{Outcome, View};
use serde_json::Value;

use crate::lab::{Agent, Lab, Server, one_shots};

/// The capabilities that the DaemonSet asks for, in lower case.
fn granted() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifests/60-agent.yaml");
    let text = fs::read_to_string(path).unwrap();
    let object: Value = serde_saphyr::from_str(&text).unwrap();
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let added = container["securityContext"]["capabilities"]["add"].as_array();
    let names = added.unwrap().iter().map(|name| name.as_str().unwrap());
    names.map(str::to_lowercase).collect()
}

fn without(absent: &str) -> Vec<String> {
    let mut kept = granted();
    kept.retain(|name| name != absent);
    assert_ne!(kept, granted(), "the manifest does not grant {absent}");
    kept
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    lab
}

/// It learns, stops in order, and is taken over by the next.
fn works_with(capabilities: &[String]) -> String {
    let lab = lab();
    let mut log = String::new();
    for _ in 0..2 {
        let agent = Agent::start_with(&lab, capabilities);
        agent.wait_for("ready");
        let _server = Server::start(&lab, "server", 8000..8001);
        one_shots(&lab, "client", "server", 8000..8001);
        log = agent.stop();
    }
    let flow = |view| {
        let (client, server) = ("client".to_owned(), "server".to_owned());
        (client, server, 8000, view, Outcome::Established)
    };
    let expected = [View::Client, View::Server].map(|view| (flow(view), 2));
    assert_eq!(lab.flows(), expected.into(), "{log}");
    log
}

#[test]
fn what_the_manifest_grants_suffices() {
    let log = works_with(&granted());
    assert!(!log.contains("CAP_"), "nothing is missing: {log}");
}

#[test]
fn without_perfmon_it_works_and_says_that_it_is_slower() {
    let log = works_with(&without("perfmon"));
    assert!(log.contains("running without CAP_PERFMON"), "{log}");
}

#[test]
fn each_of_the_others_is_needed() {
    for (absent, named) in [("bpf", "CAP_BPF"), ("net_admin", "CAP_NET_ADMIN")] {
        let lab = lab();
        let agent = Agent::start_with(&lab, &without(absent));
        agent.wait_for(&format!("grant {named}"));
    }
}
