//! Idle entries leave the kernel's maps, and counts go on from where they were.

use std::ops::Range;
use std::time::{Duration, Instant};

use netpol_agent::node::attach;
use netpol_common::words::{Outcome, View};

use crate::lab::{Lab, Server, one_shots};

const PORTS: Range<u16> = 8000..8010;

/// Waits until the maps hold nothing any more.
fn wait_until_empty(lab: &Lab) {
    let start = Instant::now();
    while attach::entries(&lab.pins()).unwrap() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "entries stay");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn counts_go_on_though_entries_are_deleted_and_the_agent_is_killed() {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    let _server = Server::start(&lab, "server", PORTS);
    let connect = || {
        one_shots(&lab, "client", "server", PORTS);
        assert!(attach::entries(&lab.pins()).unwrap() > 0);
    };
    let hurry = ["--hurry", "3600"];
    let agent = lab.start(&hurry);
    connect();
    wait_until_empty(&lab);
    connect();
    agent.kill();
    connect();
    let agent = lab.start(&hurry);
    wait_until_empty(&lab);
    connect();
    wait_until_empty(&lab);
    agent.kill();
    let agent = lab.start(&hurry);
    connect();
    agent.stop();
    for ((_, _, port, view, outcome), count) in lab.flows() {
        assert_eq!((outcome, count), (Outcome::Established, 5), "{port} {view}");
    }
    let both = [View::Client, View::Server].len();
    assert_eq!(lab.flows().len(), both * PORTS.len());
}
