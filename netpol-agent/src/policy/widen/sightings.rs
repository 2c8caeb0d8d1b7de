//! When each port of each server was seen in use, by whomever: what ranges of ports are inferred from.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use crate::graph::Windows;
use crate::identity::Peer;
use crate::policy::learn::Learned;
use crate::policy::lessons::{Lessons, Taught};
use crate::policy::model::Direction;

/// The hours in which each port of a server was seen in use.
pub(super) type Sightings = BTreeMap<u16, Windows>;

/// The sightings of all servers that are workloads.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct AllSightings(BTreeMap<WorkloadName, BTreeMap<Protocol, Sightings>>);

impl AllSightings {
    /// What all workloads learned, servers of their own ports and clients of those of others.
    pub(in crate::policy) fn of(taught: &dyn Taught, workloads: usize) -> Self {
        let mut all = Self::default();
        for place in 0..workloads {
            let lessons = taught.lessons(place);
            for direction in Direction::ALL {
                let learned = lessons.learned(direction).iter();
                learned.for_each(|learned| all.add(learned));
            }
        }
        all
    }

    /// Those of the ports of one server, over one protocol.
    pub(super) fn get(&self, server: &WorkloadName, protocol: Protocol) -> Option<&Sightings> {
        self.0.get(server)?.get(&protocol)
    }

    fn add(&mut self, learned: &Learned) {
        let edge = &learned.support.edge;
        let Peer::Workload(server) = &edge.server else {
            return;
        };
        if !self.0.contains_key(server) {
            self.0.insert(server.clone(), BTreeMap::new());
        }
        let of_server = self.0.entry(server.clone()).or_default();
        let ports = of_server.entry(edge.protocol).or_default();
        let hours = ports.entry(edge.port).or_default();
        if let Some(windows) = &learned.windows {
            hours.merge(windows);
        }
    }
}

/// Every workload that learned of a server, and so writes its ports: the server itself, and its clients.
pub(in crate::policy) fn writers_of<'a>(
    workloads: impl Iterator<Item = (&'a WorkloadName, &'a Lessons)>,
    server: &'a WorkloadName,
) -> impl Iterator<Item = &'a WorkloadName> {
    let is_client = move |lessons: &Lessons| {
        let mut learned = lessons.learned(Direction::Egress).iter();
        learned.any(|one| matches!(one.peer(), Peer::Workload(name) if name == server))
    };
    let writers = workloads.filter(move |(name, lessons)| *name == server || is_client(lessons));
    writers.map(|(name, _)| name)
}

/// The ports of some sightings that were not seen in use over `lasting` hours or more; those of no time are.
pub(super) fn fleeting(sightings: &Sightings, lasting: u32) -> BTreeSet<u16> {
    let is_fleeting = |hours: &&Windows| match (hours.first(), hours.last()) {
        (Some(first), Some(last)) => last - first + 1 < lasting,
        _ => false,
    };
    let ports = sightings.iter();
    let fleeting = ports.filter(|(_, hours)| is_fleeting(hours));
    fleeting.map(|(port, _)| *port).collect()
}
