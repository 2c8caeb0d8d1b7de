//! The edges of a graph by the workloads at their ends.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use netpol_common::names::WorkloadName;
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

/// How many edges are looked at at a time.
const AT_ONCE: usize = 1 << 14;
/// The place of what is no workload, and of a workload that is not known yet.
const NOBODY: u32 = u32::MAX;
const UNKNOWN: u32 = u32::MAX - 1;

/// The edges of a graph, in their order, by workload and direction.
pub(super) struct Gathered<'a> {
    edges: Vec<Entry<'a>>,
    ingress: Lists,
    egress: Lists,
}

type Entry<'a> = (&'a Arc<EdgeId>, &'a Evidence);

/// Whose edges are at one of their ends: their numbers in lists that follow each other, one for each workload.
struct Lists {
    /// Where the list of each workload begins, and where the last one ends.
    bounds: Vec<usize>,
    numbers: Vec<u32>,
    /// The workload of each edge.
    places: Vec<u32>,
}

impl<'a> Gathered<'a> {
    /// Looks up whose the edges are. A workload that only the graph names is known from then on.
    pub(super) fn of(graph: &'a FlowGraph, workloads: &mut Known) -> Self {
        let edges: Vec<Entry<'_>> = graph.edges.iter().collect();
        let [ingress, egress] = Direction::ALL.map(|direction| {
            let mut places = places(&edges, workloads, direction);
            for (place, (edge, _)) in places.iter_mut().zip(&edges) {
                if let (UNKNOWN, Peer::Workload(name)) = (*place, end(edge, direction)) {
                    let entry = workloads.entry(name.clone());
                    *place = entry.index() as u32;
                    entry.or_default();
                }
            }
            places
        });
        Self {
            ingress: Lists::of(ingress, workloads.len()),
            egress: Lists::of(egress, workloads.len()),
            edges,
        }
    }

    /// The edges of the workload at a place in one direction, in their order.
    pub(super) fn edges(
        &self,
        place: usize,
        direction: Direction,
    ) -> impl ExactSizeIterator<Item = Edge<'a>> {
        let (own, other) = match direction {
            Direction::Ingress => (&self.ingress, &self.egress),
            Direction::Egress => (&self.egress, &self.ingress),
        };
        own.of_place(place).iter().map(|number| {
            let number = *number as usize;
            let (id, evidence) = self.edges[number];
            let peer = other.places[number];
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
    fn of(places: Vec<u32>, end: usize) -> Self {
        let mut bounds = vec![0; end + 1];
        let somewhere = |place: &u32| (*place as usize) < end;
        for place in places.iter().filter(|place| somewhere(place)) {
            bounds[*place as usize + 1] += 1;
        }
        for place in 0..end {
            bounds[place + 1] += bounds[place];
        }
        let mut next = bounds.clone();
        let mut numbers = vec![0; bounds[end]];
        for (number, place) in places.iter().enumerate() {
            if somewhere(place) {
                numbers[next[*place as usize]] = number as u32;
                next[*place as usize] += 1;
            }
        }
        Self {
            bounds,
            numbers,
            places,
        }
    }

    fn of_place(&self, place: usize) -> &[u32] {
        &self.numbers[self.bounds[place]..self.bounds[place + 1]]
    }
}

/// The place of each edge's end among the workloads.
fn places(edges: &[Entry<'_>], workloads: &Known, direction: Direction) -> Vec<u32> {
    let some = |edges: &[Entry<'_>]| {
        let mut known: HashMap<usize, u32, FixedState> = HashMap::default();
        let place = |name: &WorkloadName| {
            let place = workloads.get_index_of(name);
            place.map_or(UNKNOWN, |place| place as u32)
        };
        let places = edges.iter().map(|(edge, _)| match end(edge, direction) {
            Peer::Workload(name) => *known.entry(name.address()).or_insert_with(|| place(name)),
            _ => NOBODY,
        });
        places.collect::<Vec<u32>>()
    };
    edges.par_chunks(AT_ONCE).flat_map_iter(some).collect()
}
