//! The edges of a graph by the workloads at their ends.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::FixedState;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use rayon::prelude::*;

use super::lessons::end;
use super::model::Direction;
use super::workloads::Known;
use crate::graph::{Evidence, FlowGraph};
use crate::identity::{EdgeId, Peer};

/// An edge of a graph, as one of its ends sees it.
#[derive(Clone, Copy)]
pub(super) struct Edge<'a> {
    pub(super) id: &'a Arc<EdgeId>,
    pub(super) evidence: &'a Evidence,
    /// The place of the other end, if it is a workload that is known.
    pub(super) peer: Option<usize>,
}

/// The edges of how many workloads are looked at at a time: in tests of so few that small graphs have several parts.
const AT_ONCE: usize = if cfg!(test) { 2 } else { 256 };
/// The place of what is no workload, and of a workload that is not known yet.
const NOBODY: u32 = u32::MAX;
const UNKNOWN: u32 = u32::MAX - 1;

/// The edges of a graph, in their order, by workload and direction.
pub(super) struct Gathered<'a> {
    edges: Vec<Entry<'a>>,
    /// In the order of [`Direction::ALL`].
    lists: [Lists; 2],
}

/// An edge, and the places of the workloads at its ends: first of the one that it is ingress of.
#[derive(Clone, Copy)]
struct Entry<'a> {
    id: &'a Arc<EdgeId>,
    evidence: &'a Evidence,
    places: [u32; 2],
}

/// Whose edges are at one of their ends: their numbers in lists that follow each other, one for each workload.
struct Lists {
    /// Where the list of each workload begins, and where the last one ends.
    bounds: Vec<usize>,
    numbers: Vec<u32>,
}

impl<'a> Gathered<'a> {
    /// Looks up whose the edges are. A workload that only the graph names is known from then on.
    pub(super) fn of(graph: &'a FlowGraph, workloads: &mut Known) -> Self {
        let mut edges = entries(graph, workloads);
        for direction in Direction::ALL {
            for edge in &mut edges {
                let place = &mut edge.places[direction as usize];
                if let (UNKNOWN, Peer::Workload(name)) = (*place, end(edge.id, direction)) {
                    let entry = workloads.entry(name.clone());
                    *place = entry.index() as u32;
                    entry.or_default();
                }
            }
        }
        let list = |direction| Lists::of(&edges, direction, workloads.len());
        let (ingress, egress) =
            rayon::join(|| list(Direction::Ingress), || list(Direction::Egress));
        Self {
            lists: [ingress, egress],
            edges,
        }
    }

    /// The edges of the workload at a place in one direction, in their order.
    pub(super) fn edges(
        &self,
        place: usize,
        direction: Direction,
    ) -> impl ExactSizeIterator<Item = Edge<'a>> + Clone {
        let numbers = self.lists[direction as usize].of_place(place).iter();
        numbers.map(move |number| {
            let Entry {
                id,
                evidence,
                places,
            } = self.edges[*number as usize];
            let peer = places[direction.other() as usize];
            Edge {
                id,
                evidence,
                peer: (peer != NOBODY).then_some(peer as usize),
            }
        })
    }
}

impl Lists {
    /// The numbers of what is at each place.
    fn of(edges: &[Entry<'_>], direction: Direction, end: usize) -> Self {
        let places = edges
            .iter()
            .map(|edge| edge.places[direction as usize] as usize);
        let places = places.enumerate().filter(|(_, place)| *place < end);
        let mut bounds = vec![0; end + 1];
        for (_, place) in places.clone() {
            bounds[place + 1] += 1;
        }
        for place in 0..end {
            bounds[place + 1] += bounds[place];
        }
        let mut next = bounds.clone();
        let mut numbers = vec![0; bounds[end]];
        for (number, place) in places {
            numbers[next[place]] = number as u32;
            next[place] += 1;
        }
        Self { bounds, numbers }
    }

    fn of_place(&self, place: usize) -> &[u32] {
        &self.numbers[self.bounds[place]..self.bounds[place + 1]]
    }
}

/// The edges of a graph, in their order, with the places of their ends among the workloads. The graph is walked at several
/// places at once, each from a workload's first edge as a client to that of another.
fn entries<'a>(graph: &'a FlowGraph, workloads: &Known) -> Vec<Entry<'a>> {
    let mut cuts: Vec<EdgeId> = workloads.keys().step_by(AT_ONCE).map(first).collect();
    cuts.sort_unstable();
    let walk = |number: usize| {
        let before = number.checked_sub(1).and_then(|before| cuts.get(before));
        let from = before.map_or(Bound::Unbounded, Bound::Included);
        let to = cuts.get(number).map_or(Bound::Unbounded, Bound::Excluded);
        let mut known: HashMap<usize, u32, FixedState> = HashMap::default();
        let mut place = move |peer: &Peer| match peer {
            Peer::Workload(name) => *known.entry(name.address()).or_insert_with(|| {
                let place = workloads.get_index_of(name);
                place.map_or(UNKNOWN, |place| place as u32)
            }),
            _ => NOBODY,
        };
        let edges = graph.edges.range::<EdgeId, _>((from, to));
        edges.map(move |(id, evidence)| Entry {
            id,
            evidence,
            places: Direction::ALL.map(|direction| place(end(id, direction))),
        })
    };
    let parts = (0..=cuts.len()).into_par_iter();
    parts.flat_map_iter(walk).collect()
}

/// What comes before every edge of a client, and after those of clients before it.
fn first(client: &WorkloadName) -> EdgeId {
    EdgeId {
        client: Peer::Workload(client.clone()),
        server: Peer::Workload(WorkloadName::new("", "", "")),
        protocol: Protocol::ALL[0],
        port: 0,
    }
}
