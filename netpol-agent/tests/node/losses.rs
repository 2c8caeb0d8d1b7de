//! What cannot be kept is counted, and nothing else is lost.

use std::time::Duration;

use netpol_agent::observe::Losses;
use netpol_common::words::{Outcome, View};
use nix::sys::signal::Signal;

use crate::lab::{Lab, NODE, Server, connect, one_shots};

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.add_pod("client", "10.77.0.10", None);
    lab.add_pod("server", "10.77.0.20", None);
    lab
}

/// How many established edges the interfaces of one end saw.
fn learned(lab: &Lab, view: View) -> usize {
    let flows = lab.flows();
    let established = flows
        .keys()
        .filter(|(_, _, _, of, outcome)| (*of, *outcome) == (view, Outcome::Established));
    established.count()
}

/// What was lost, by pod.
fn edges_lost(lab: &Lab) -> Vec<(String, u64)> {
    let ledger = lab.ledger();
    let epochs = ledger.observers[NODE].epochs.values();
    let losses = epochs.flat_map(|epoch| &epoch.losses);
    let lost = losses.map(|((_, pod), losses)| (pod.name.name.clone(), losses.edges_lost));
    let mut lost: Vec<_> = lost.filter(|(_, lost)| *lost > 0).collect();
    lost.sort();
    lost
}

/// How many edges nobody knows of.
fn missing_edges(lab: &Lab) -> u64 {
    let ledger = lab.ledger();
    let epochs = ledger.observers[NODE].epochs.values();
    let losses = epochs.flat_map(|epoch| epoch.losses.values());
    losses.map(Losses::missing_edges).sum()
}

#[test]
fn every_edge_is_learned_or_counted_as_missing_and_said_to_be() {
    let lab = lab();
    let agent = lab.start(&["--edges", "256", "--attempts", "100"]);
    let _server = Server::start(&lab, "server", 8000..8300);
    one_shots(&lab, "client", "server", 8000..8300);
    let log = agent.stop();
    let (client, server) = (learned(&lab, View::Client), learned(&lab, View::Server));
    let missing = usize::try_from(missing_edges(&lab)).unwrap();
    assert!(missing > 0 && client + server < 600, "{client} {server}");
    assert_eq!(client + server + missing, 600);
    let told = log.lines().filter(|line| line.contains("edges missing"));
    assert!(told.count() > 0, "{log}");
    assert!(log.contains("edge_lost="), "{log}");
}

#[test]
fn a_full_ring_and_a_stopped_reader_lose_no_edge() {
    let lab = lab();
    let agent = lab.start(&["--ring-bytes", "4096"]);
    let _server = Server::start(&lab, "server", 8000..8900);
    agent.signal(Signal::SIGSTOP);
    one_shots(&lab, "client", "server", 8000..8900);
    std::thread::sleep(Duration::from_secs(2));
    agent.signal(Signal::SIGCONT);
    agent.stop();
    assert_eq!(
        (learned(&lab, View::Client), learned(&lab, View::Server)),
        (900, 900)
    );
    assert_eq!(edges_lost(&lab), []);
}

#[test]
fn edges_past_the_size_of_the_map_are_counted_on_their_pod() {
    let lab = lab();
    let agent = lab.start(&["--edges", "256"]);
    let _server = Server::start(&lab, "server", 8000..8300);
    one_shots(&lab, "client", "server", 8000..8300);
    agent.stop();
    // The map of attempts has room to remember those that found none among the edges.
    assert_eq!(missing_edges(&lab), 0);
    assert_eq!(
        (learned(&lab, View::Client), learned(&lab, View::Server)),
        (300, 300)
    );
    let lost = edges_lost(&lab);
    let pods: Vec<_> = lost.iter().map(|(pod, _)| pod.as_str()).collect();
    assert_eq!(pods, ["client", "server"]);
    // One edge for each port on each of the two interfaces, and as many as the map holds are no loss.
    assert_eq!(
        lost.iter().map(|(_, lost)| lost).sum::<u64>(),
        2 * 300 - 256
    );
}

#[test]
fn a_scan_neither_evicts_nor_blocks_edges() {
    let lab = lab();
    let agent = lab.start(&["--quota", "50"]);
    let _server = Server::start(&lab, "server", 8000..8010);
    let to = lab.address("server");
    lab.inside("client", || {
        (1..400).for_each(|port| assert!(!connect(to, port)))
    });
    one_shots(&lab, "client", "server", 8000..8010);
    agent.stop();
    let flows = lab.flows();
    let established = flows
        .keys()
        .filter(|(_, _, port, _, _)| *port >= 8000)
        .count();
    assert_eq!(established, 2 * 10);
    let ledger = lab.ledger();
    let losses = ledger.observers[NODE]
        .epochs
        .values()
        .flat_map(|epoch| epoch.losses.values());
    let lost = losses.map(|losses| (losses.attempts_lost, losses.missing_attempts()));
    // The attempts of the ten edges found no room either, until they were answered.
    assert_eq!(lost.collect::<Vec<_>>(), [(359, 349), (359, 349)]);
}
