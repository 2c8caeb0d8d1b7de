//! From the graph to the windows of each workload's edges.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::seen::{Seen, starts};
use super::{Coverage, Estimate, Incidence, Intervals, Numbers, Options, Watched};
use crate::graph::{FlowGraph, Windows};
use crate::identity::{EdgeId, Life, Peer};
use crate::policy::learn::{rested_on, verdict};
use crate::policy::model::Direction;
use crate::policy::options::{OneWay, RejectedEdge};

/// An edge as the estimators tell edges apart: all external peers of a port are one.
type Species<'a> = (Option<&'a Peer>, Protocol, u16);

/// What the graph holds of one workload.
#[derive(Debug, Default)]
pub(super) struct Gathered<'a> {
    ingress: BTreeMap<Species<'a>, Cow<'a, Windows>>,
    egress: BTreeMap<Species<'a>, Cow<'a, Windows>>,
    /// How many edges of which a time is known were rejected.
    rejected: usize,
    /// When a learned edge was first seen.
    first: Option<Timestamp>,
    lives: &'a [Life],
}

/// What makes an edge of a workload: when UDP without a reply does, and what of it a person rejected.
pub(super) type Chosen<'o> = (OneWay, &'o BTreeSet<RejectedEdge>);

/// What the graph holds of every workload that it or `lives` names.
pub(super) fn workloads<'a, 'o>(
    graph: &'a FlowGraph,
    lives: &'a BTreeMap<WorkloadName, Vec<Life>>,
    chosen: impl Fn(&WorkloadName) -> Chosen<'o>,
) -> BTreeMap<&'a WorkloadName, Gathered<'a>> {
    let mut all: BTreeMap<&WorkloadName, Gathered<'_>> = BTreeMap::new();
    for (name, lives) in lives {
        all.entry(name).or_default().lives = lives;
    }
    for (edge, evidence) in &graph.edges {
        for direction in Direction::ALL {
            let Peer::Workload(name) = own_end(edge, direction) else {
                continue;
            };
            let known = all.entry(name).or_default();
            let (one_way, reject) = chosen(name);
            let Ok((basis, _)) = verdict(edge, evidence, direction, one_way) else {
                continue;
            };
            let Some(view) = rested_on(evidence, direction, basis) else {
                continue;
            };
            known.first = known.first.into_iter().chain(view.first_seen).min();
            if !reject.is_empty() && reject.contains(&RejectedEdge(EdgeId::clone(edge))) {
                known.rejected += usize::from(!view.windows.is_empty());
                continue;
            }
            known.add(direction, edge, &view.windows);
        }
    }
    all
}

impl<'a> Gathered<'a> {
    /// What comes of it.
    pub(super) fn coverage(
        &self,
        name: &WorkloadName,
        graph: &FlowGraph,
        options: &Options,
    ) -> Coverage {
        let recorded = graph.recorded;
        let span = self.span(recorded).filter(|(from, to)| from <= to);
        let until = options.until.map(Windows::of);
        let watched = span.map_or_else(Windows::default, |(from, to)| {
            between(Windows::of(from), Windows::of(to), until)
        });
        let estimate = |directions: &[Direction]| {
            let all = directions.iter().flat_map(|direction| self.of(*direction));
            let windows: Vec<&Windows> = all.map(|(_, windows)| &**windows).collect();
            let intervals = match options.intervals {
                Intervals::Nowhere => false,
                Intervals::Together => directions.len() > 1,
                Intervals::Everywhere => true,
            };
            estimate(&windows, &watched, options, intervals)
        };
        let runs = [Direction::Ingress, Direction::Egress].map(|direction| self.of(direction));
        let traffic = runs.iter().any(|edges| !edges.is_empty());
        Coverage {
            all: estimate(&Direction::ALL),
            ingress: estimate(&[Direction::Ingress]),
            egress: estimate(&[Direction::Egress]),
            rejected: self.rejected,
            seen: Seen::of(name, self.lives, recorded, self.first, traffic, &watched),
            watched: Watched::of(&watched, options.hours, span),
        }
    }

    /// From when to when it was there and watched: offline, from its first sign of life to the last record. A pod of
    /// which no time is known was always there.
    fn span(&self, recorded: Option<(Timestamp, Timestamp)>) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = recorded?;
        let born = starts(self.lives).min();
        let untold = self.lives.iter().any(|life| life.start().is_none());
        let signs = born.into_iter().chain(self.first).min();
        let known = signs.filter(|_| !untold);
        Some((known.map_or(from, |known| known.max(from)), to))
    }

    fn of(&self, direction: Direction) -> &BTreeMap<Species<'a>, Cow<'a, Windows>> {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    fn add(&mut self, direction: Direction, edge: &'a EdgeId, windows: &'a Windows) {
        let other = match direction {
            Direction::Ingress => &edge.client,
            Direction::Egress => &edge.server,
        };
        let peer = (!matches!(other, Peer::External(_))).then_some(other);
        let species = (peer, edge.protocol, edge.port);
        let edges = match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        };
        match edges.get_mut(&species) {
            Some(known) => known.to_mut().merge(windows),
            None => drop(edges.insert(species, Cow::Borrowed(windows))),
        }
    }
}

fn estimate(edges: &[&Windows], watched: &Windows, options: &Options, intervals: bool) -> Estimate {
    let timeless = edges.iter().filter(|windows| windows.is_empty()).count();
    let incidence = Incidence::new(edges.iter().copied(), watched, options.hours);
    let edges = match options.until {
        Some(_) => incidence.edges() + timeless,
        None => edges.len(),
    };
    Estimate {
        edges,
        timeless,
        numbers: match intervals {
            true => Numbers::of(&incidence),
            false => Numbers::point(&incidence),
        },
    }
}

/// The windows from `first` to `last`, and before `until`.
fn between(first: u32, last: u32, until: Option<u32>) -> Windows {
    let end = until.map_or(Some(last), |until| until.checked_sub(1));
    end.map_or_else(Windows::default, |end| {
        Windows::between(first, end.min(last))
    })
}

fn own_end(edge: &EdgeId, direction: Direction) -> &Peer {
    match direction {
        Direction::Ingress => &edge.server,
        Direction::Egress => &edge.client,
    }
}
