//! The agent comes and goes under traffic, and counts stay exact.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netpol_common::words::{Outcome, View};
use nix::sys::signal::Signal;

use crate::lab::{Flows, Lab, Server, connect, one_shots};

const PORTS: Range<u16> = 8000..8100;

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    lab
}

/// One-shot connections to every port, round after round, while `meanwhile` runs. Returns the number of rounds.
fn under_traffic(lab: &Lab, meanwhile: impl FnOnce()) -> u64 {
    let stop = AtomicBool::new(false);
    let server = lab.address("server");
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            lab.inside("client", || {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    PORTS.for_each(|port| assert!(connect(server, port)));
                    rounds += 1;
                }
                rounds
            })
        });
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        traffic.join().unwrap()
    })
}

/// Every port was connected to so often, as both ends saw it.
fn established(counts: impl Iterator<Item = (u16, u64)>) -> Flows {
    let both = |(port, count)| {
        [View::Client, View::Server].map(|view| {
            let (client, server) = ("client".to_owned(), "server".to_owned());
            ((client, server, port, view, Outcome::Established), count)
        })
    };
    counts.flat_map(both).collect()
}

fn pause() {
    std::thread::sleep(Duration::from_millis(1500));
}

#[test]
fn a_killed_agent_misses_nothing_and_counts_nothing_twice() {
    let lab = lab();
    let _server = Server::start(&lab, "server", PORTS);
    let agent = lab.start(&[]);
    let rounds = under_traffic(&lab, || {
        pause();
        agent.kill();
        pause();
        let agent = lab.start(&[]);
        pause();
        agent.kill();
        pause();
    });
    lab.start(&[]).stop();
    assert!(rounds > 0);
    assert_eq!(lab.flows(), established(PORTS.map(|port| (port, rounds))));
}

#[test]
fn a_stopped_agent_hands_over_without_a_gap() {
    for mechanism in ["tcx", "clsact"] {
        let flags = ["--attach", mechanism];
        let lab = lab();
        let _server = Server::start(&lab, "server", PORTS);
        let agent = lab.start(&flags);
        let rounds = under_traffic(&lab, || {
            pause();
            agent.stop();
            pause();
            lab.start(&flags).stop();
            pause();
        });
        lab.start(&flags).stop();
        assert_eq!(
            lab.flows(),
            established(PORTS.map(|port| (port, rounds))),
            "{mechanism}"
        );
    }
}

#[test]
fn a_pod_with_the_index_and_address_of_another_is_told_from_it() {
    let mut lab = lab();
    let agent = lab.start(&[]);
    {
        let _server = Server::start(&lab, "server", 8000..8001);
        one_shots(&lab, "client", "server", 8000..8001);
    }
    let ifindex = lab.ifindex("server");
    lab.remove_pod("server");
    lab.add_pod("other", "10.77.0.20", Some(ifindex));
    agent.wait_for("lab/other");
    {
        let _server = Server::start(&lab, "other", 9000..9001);
        one_shots(&lab, "client", "other", 9000..9001);
    }
    agent.stop();
    let servers: Vec<_> = lab
        .flows()
        .into_keys()
        .filter(|(_, _, _, view, _)| *view == View::Server)
        .map(|(_, server, port, _, _)| (server, port))
        .collect();
    assert_eq!(
        servers,
        [("other".to_owned(), 9000), ("server".to_owned(), 8000)]
    );
}

#[test]
fn a_pod_that_died_while_the_agent_was_away_keeps_its_edges() {
    let mut lab = lab();
    lab.start(&[]).kill();
    {
        let _server = Server::start(&lab, "server", 8000..8001);
        one_shots(&lab, "client", "server", 8000..8001);
    }
    lab.remove_pod("server");
    lab.start(&[]).stop();
    let ports: Vec<_> = lab
        .flows()
        .into_keys()
        .filter(|(_, server, _, view, _)| server == "server" && *view == View::Server)
        .map(|(_, _, port, _, _)| port)
        .collect();
    assert_eq!(ports, [8000]);
}

#[test]
fn a_connection_older_than_the_agent_is_learned_once() {
    let lab = lab();
    let (from, to) = (lab.address("client"), lab.address("server"));
    let listener = lab.inside("server", || {
        std::net::TcpListener::bind((to, 8000)).unwrap()
    });
    let client = lab.inside("client", || {
        std::net::TcpStream::connect((to, 8000)).unwrap()
    });
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), std::net::IpAddr::from(from));
    lab.start(&[]).signal(Signal::SIGTERM);
    lab.start(&[]).stop();
    assert_eq!(lab.flows(), established([(8000, 1)].into_iter()));
    drop((client, server));
}
