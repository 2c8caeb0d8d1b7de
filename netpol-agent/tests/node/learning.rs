//! From real sockets in real network namespaces to flow records.

use std::net::UdpSocket;
use std::time::Duration;

use crate::lab::{Flow, Flows, Lab, Server, UdpEcho, connect, one_shots};
use netpol_common::words::{Outcome, View};

/// A lab with a client and a server.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    lab
}

/// The same counts in both views.
fn both(port: u16, outcome: Outcome, count: u64) -> [(Flow, u64); 2] {
    [View::Client, View::Server].map(|view| {
        (
            (
                "client".to_owned(),
                "server".to_owned(),
                port,
                view,
                outcome,
            ),
            count,
        )
    })
}

fn ask(lab: &Lab, port: u16) {
    let (from, to) = (lab.address("client"), lab.address("server"));
    lab.inside("client", || {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket.send_to(b"?", (to, port)).unwrap();
        socket.recv_from(&mut [0; 8]).unwrap();
    });
}

fn learns(flags: &[&str]) {
    let lab = lab();
    let agent = lab.start(flags);
    let _server = Server::start(&lab, "server", 8000..8002);
    let _echo = UdpEcho::start(&lab, "server", 5353);
    for _ in 0..3 {
        one_shots(&lab, "client", "server", 8000..8002);
    }
    ask(&lab, 5353);
    let server = lab.address("server");
    assert!(!lab.inside("client", || connect(server, 9)));
    agent.stop();
    let expected: Flows = [
        both(8000, Outcome::Established, 3),
        both(8001, Outcome::Established, 3),
        both(5353, Outcome::Established, 1),
        both(9, Outcome::Refused, 1),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(lab.flows(), expected);
}

#[test]
fn edges_are_learned_through_tcx() {
    learns(&["--attach", "tcx"]);
}

#[test]
fn edges_are_learned_through_clsact() {
    learns(&["--attach", "clsact"]);
}

#[test]
fn edges_are_learned_without_bpffs() {
    learns(&["--bpffs", "/nonexistent"]);
}
