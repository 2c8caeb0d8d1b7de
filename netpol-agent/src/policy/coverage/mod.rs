//! How long learning must go on: how much of a workload's traffic the edges seen so far cover, and how many edges are
//! still unseen.
//!
//! Both are estimates from when edges were seen, as ecologists estimate how many species they have not met yet: edges
//! are the species, watched windows (of an hour unless asked otherwise) are the traps, and external peers on one port
//! are one species. [`sample`] and [`chao2`] hold the formulas, [`bootstrap`] the intervals, [`incidence`] what is
//! counted. What they are and are not:
//!
//! - Sample coverage is the share of what occurs, window by window, that belongs to edges which were seen.
//! - Chao2 is a lower bound on the number of unseen edges.
//! - Both speak of edges of the kind that already occurs. What waits for something that never happened while watching
//!   (the end of the month, a failover, a deploy) is in no estimate.
//! - There is no number under [`FEWEST_WINDOWS`] windows, and no interval under [`INTERVAL_DAYS`] days.

pub mod bootstrap;
pub mod chao2;
pub mod comment;
pub mod complete;
mod gather;
pub mod incidence;
mod random;
pub mod rare_events;
pub mod sample;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use rayon::prelude::*;

use super::model::Direction;
use super::options::{OneWay, OptionsFor, RejectedEdge};
use crate::graph::{FlowGraph, Windows};
use crate::identity::Life;

pub use bootstrap::Interval;
pub use complete::{Completeness, Requirements};
pub use incidence::Incidence;
pub use seen::{Seen, Sight};

use gather::Gathered;

/// Under so many windows nothing is estimated.
pub const FEWEST_WINDOWS: u32 = 24;
/// From so many days on there are intervals.
pub const INTERVAL_DAYS: f64 = 7.0;

/// What a person may choose about the estimates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Hours of a window: a divisor of 24.
    pub hours: u32,
    /// When UDP that was never replied to counts as an edge.
    pub one_way: OneWay,
    /// Only what was seen before this time counts.
    pub until: Option<Timestamp>,
    /// Where intervals are wanted.
    pub intervals: Intervals,
    /// Learned edges that a person does not want: they make no rule, and are no edges here.
    pub reject: BTreeSet<RejectedEdge>,
}

/// Around which estimates intervals are wanted. They take most of the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Intervals {
    /// None.
    Nowhere,
    /// Those of both directions together.
    Together,
    /// All of them.
    Everywhere,
}

/// What is known of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// When it was watched.
    pub watched: Watched,
    /// Its edges in both directions together.
    pub all: Estimate,
    /// Its edges as a server.
    pub ingress: Estimate,
    /// Its edges as a client.
    pub egress: Estimate,
    /// How many edges are none here because a person rejected them; those of which no time is known are not counted.
    pub rejected: usize,
    /// What of its life was seen.
    pub seen: Seen,
}

/// The time in which a workload was watched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Watched {
    /// How many windows.
    pub windows: u32,
    /// How many hours those windows make.
    pub hours: u32,
    /// How many whole days those windows make.
    pub days: u32,
    /// From when to when.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// What is estimated of some edges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Edges that were seen and make rules, all external peers of a port as one.
    pub edges: usize,
    /// Those of them of which no record tells a time: they are in no estimate.
    pub timeless: usize,
    /// Nothing under [`FEWEST_WINDOWS`] windows, nor where no edge was seen in them.
    pub numbers: Option<Numbers>,
}

/// The estimates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// The sample coverage, between 0 and 1.
    pub coverage: f64,
    /// Chao2: at least so many edges are estimated to be unseen.
    pub unseen: f64,
    /// Nothing under [`INTERVAL_DAYS`] days.
    pub interval: Option<Interval>,
}

/// The coverage of every workload that the graph or `lives` names. `lives` are those of its pods.
#[must_use]
pub fn coverage(
    graph: &FlowGraph,
    lives: &BTreeMap<WorkloadName, Vec<Life>>,
    options: &Options,
) -> BTreeMap<WorkloadName, Coverage> {
    let gathered = gather::workloads(graph, lives, |_| (options.one_way, &options.reject));
    estimated(gathered, graph, options)
}

/// Like [`coverage`], with edges that are what a synthesis with these options makes rules of, whatever namespaces and
/// workloads ask for.
#[must_use]
pub fn coverage_for(
    graph: &FlowGraph,
    lives: &BTreeMap<WorkloadName, Vec<Life>>,
    options: &Options,
    synthesis: &OptionsFor,
) -> BTreeMap<WorkloadName, Coverage> {
    let gathered = gather::workloads(graph, lives, |name| {
        let own = synthesis.workload(name);
        (own.one_way, &own.reject)
    });
    estimated(gathered, graph, options)
}

fn estimated(
    gathered: BTreeMap<&WorkloadName, Gathered<'_>>,
    graph: &FlowGraph,
    options: &Options,
) -> BTreeMap<WorkloadName, Coverage> {
    let gathered: Vec<_> = gathered.into_iter().collect();
    let all: Vec<(WorkloadName, Coverage)> = gathered
        .into_par_iter()
        .map(|(name, gathered)| (name.clone(), gathered.coverage(name, graph, options)))
        .collect();
    all.into_iter().collect()
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hours: 1,
            one_way: OneWay::default(),
            until: None,
            intervals: Intervals::Everywhere,
            reject: BTreeSet::new(),
        }
    }
}

impl Coverage {
    /// What is estimated of one direction.
    #[must_use]
    pub fn of(&self, direction: Direction) -> &Estimate {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Numbers {
    /// What incidences come to; nothing if they are too few.
    #[must_use]
    pub fn of(incidence: &Incidence) -> Option<Self> {
        let mut numbers = Self::point(incidence)?;
        if incidence.days() >= INTERVAL_DAYS {
            numbers.interval = Some(bootstrap::interval(incidence));
        }
        Some(numbers)
    }

    /// The number of unseen edges, and the bound that holds as often as [`bootstrap::LEVEL`] says.
    #[must_use]
    pub fn unseen_text(&self) -> String {
        let bound = self.interval.map_or_else(String::new, |interval| {
            format!(" (>= {:.0})", interval.unseen_at_least.floor())
        });
        format!("{:.1}{bound}", self.unseen)
    }

    /// Those of them that take no resampling.
    fn point(incidence: &Incidence) -> Option<Self> {
        let tally = incidence.tally();
        if incidence.windows() < FEWEST_WINDOWS || tally.edges == 0 {
            return None;
        }
        let point = bootstrap::Point::of(&tally, incidence);
        Some(Self {
            coverage: (1.0 - point.missing).clamp(0.0, 1.0),
            unseen: point.unseen,
            interval: None,
        })
    }
}

impl Watched {
    fn of(windows: &Windows, hours: u32, span: Option<(Timestamp, Timestamp)>) -> Self {
        let count = Incidence::new([], windows, hours).windows();
        Self {
            windows: count,
            hours: count * hours,
            days: count * hours / 24,
            span,
        }
    }
}

/// The coverage in a few words, as policies' comments and tables show it.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Share(self.coverage))?;
        match self.interval {
            Some(interval) => write!(f, " ({} to {})", Share(interval.low), Share(interval.high)),
            None => Ok(()),
        }
    }
}

/// A share with two decimals, which is 1.00 only where it is 1.
struct Share(f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = (self.0 * 100.0).floor() / 100.0;
        write!(f, "{hundredths:.2}")
    }
}
