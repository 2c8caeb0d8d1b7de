//! The truth: what a flawless observer learns from a step, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_agent::identity::{EdgeId, Peer, Unresolved};
use netpol_common::names::ObjectName;
use netpol_common::words::{Outcome, Protocol};

use crate::lab::cluster::workload::Workload;
use crate::lab::topology::Node;

/// An end of an edge.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// Pods of a workload.
    Of(&'static Workload),
    /// A node: itself, its host-network pods, or whoever it masquerades.
    Node(Node),
    /// The API server.
    ApiServer,
    /// An address outside the cluster.
    External(&'static str),
}

/// What an interface sees of an edge.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Seen {
    /// Nothing: there is no such interface.
    #[default]
    Not,
    /// It, some number of times that is not certain.
    Some,
    /// It, so many attempts of the outcome.
    Times(u64),
}

/// An edge, or one for each port of a range, that a step is to be seen to make.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Who opens connections.
    pub client: Who,
    /// To whom.
    pub server: Who,
    /// The protocol.
    pub protocol: Protocol,
    /// First and last port, behind DNAT.
    pub ports: (u16, u16),
    /// What becomes of every attempt.
    pub outcome: Outcome,
    /// What the client's interface sees.
    pub client_view: Seen,
    /// What the server's interface sees.
    pub server_view: Seen,
    /// The client is the server's own node.
    pub own_node: bool,
    /// The client may be a node that stands for somebody unseen.
    pub real_client_unseen: bool,
}

/// Attempts to reach a service that nobody is behind.
#[derive(Clone, Copy, Debug)]
pub struct Nobody {
    /// Its namespace and name.
    pub service: (&'static str, &'static str),
    /// Its port.
    pub port: u16,
}

/// Counts of one view by outcome; none where the number is not certain.
pub type ViewTruth = BTreeMap<&'static str, Option<u64>>;

/// All that is true of one edge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EdgeTruth {
    /// What the client's interface saw.
    pub client_view: ViewTruth,
    /// What the server's interface saw.
    pub server_view: ViewTruth,
    /// The client is the server's own node.
    pub own_node: bool,
    /// The client may be a node that stands for somebody unseen.
    pub real_client_unseen: bool,
    /// The steps that made it.
    pub steps: BTreeSet<&'static str>,
}

/// The truth of a run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Truth {
    /// Every edge.
    pub edges: BTreeMap<EdgeId, EdgeTruth>,
    /// What stays unresolved, and the steps that made it.
    pub unresolved: BTreeMap<Unresolved, BTreeSet<&'static str>>,
}

/// An established TCP edge between pods, `times` over.
pub(super) const fn tcp(
    client: &'static Workload,
    server: &'static Workload,
    port: u16,
    times: u64,
) -> Expected {
    Expected {
        client: Who::Of(client),
        server: Who::Of(server),
        protocol: Protocol::Tcp,
        ports: (port, port),
        outcome: Outcome::Established,
        client_view: Seen::Times(times),
        server_view: Seen::Times(times),
        own_node: false,
        real_client_unseen: false,
    }
}

/// An established UDP edge between pods.
pub(super) const fn udp(
    client: &'static Workload,
    server: &'static Workload,
    port: u16,
    times: u64,
) -> Expected {
    Expected {
        protocol: Protocol::Udp,
        ..tcp(client, server, port, times)
    }
}

/// An established TCP edge of which only the client's end is a pod.
pub(super) const fn outward(
    client: &'static Workload,
    server: Who,
    port: u16,
    times: u64,
) -> Expected {
    Expected {
        server,
        server_view: Seen::Not,
        ..tcp(client, client, port, times)
    }
}

/// An established TCP edge of which only the server's end is a pod.
pub(super) const fn inward(
    client: Who,
    server: &'static Workload,
    port: u16,
    times: u64,
) -> Expected {
    Expected {
        client,
        client_view: Seen::Not,
        ..tcp(server, server, port, times)
    }
}

impl Who {
    /// The peer that the flow graph names.
    #[must_use]
    pub fn peer(self) -> Option<Peer> {
        Some(match self {
            Self::Of(workload) => Peer::Workload(workload.graph_name()),
            Self::Node(node) => Peer::Node(node.name().to_owned()),
            Self::ApiServer => Peer::ApiServer,
            Self::External(address) => Peer::External(address.parse::<IpAddr>().ok()?),
        })
    }
}

impl Truth {
    /// Adds what a step is expected to make.
    pub fn add(&mut self, step: &'static str, expected: &Expected) {
        let (Some(client), Some(server)) = (expected.client.peer(), expected.server.peer()) else {
            return;
        };
        for port in expected.ports.0..=expected.ports.1 {
            let id = EdgeId {
                client: client.clone(),
                server: server.clone(),
                protocol: expected.protocol,
                port,
            };
            let edge = self.edges.entry(id).or_default();
            edge.steps.insert(step);
            edge.own_node |= expected.own_node;
            edge.real_client_unseen |= expected.real_client_unseen;
            count(
                &mut edge.client_view,
                expected.outcome,
                expected.client_view,
            );
            count(
                &mut edge.server_view,
                expected.outcome,
                expected.server_view,
            );
        }
    }
}

impl Truth {
    /// Adds attempts that a step makes to reach nobody.
    pub fn add_nobody(&mut self, step: &'static str, nobody: &Nobody) {
        let (namespace, name) = nobody.service;
        let service = ObjectName::new(namespace, name);
        let reason = Unresolved::NoEndpoints(service, nobody.port);
        self.unresolved.entry(reason).or_default().insert(step);
    }
}

/// Adds to a view; what is uncertain once stays so.
fn count(view: &mut ViewTruth, outcome: Outcome, seen: Seen) {
    let times = match seen {
        Seen::Not => return,
        Seen::Some => None,
        Seen::Times(times) => Some(times),
    };
    let total = view.entry(outcome.name()).or_insert(Some(0));
    *total = total.zip(times).map(|(total, times)| total + times);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::scenario::cast::{FRONTEND, WEB};

    #[test]
    fn counts_of_steps_add_up_and_uncertainty_stays() {
        let mut truth = Truth::default();
        truth.add("one", &tcp(FRONTEND, WEB, 80, 2));
        truth.add("two", &tcp(FRONTEND, WEB, 80, 3));
        let unsure = Expected {
            server_view: Seen::Some,
            ..tcp(FRONTEND, WEB, 80, 1)
        };
        truth.add("three", &unsure);
        let edge = truth.edges.values().next().unwrap();
        assert_eq!(truth.edges.len(), 1);
        assert_eq!(
            edge.client_view,
            ViewTruth::from([("established", Some(6))])
        );
        assert_eq!(edge.server_view, ViewTruth::from([("established", None)]));
        assert_eq!(edge.steps, BTreeSet::from(["one", "two", "three"]));
    }
}
