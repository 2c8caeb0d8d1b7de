//! Whether what was learned of a workload is complete, and if not, why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::WorkloadName;
use netpol_common::record::Endpoint;
use netpol_common::words::Outcome;

use super::{Coverage, FEWEST_WINDOWS, Share, Sight};
use crate::graph::{FlowGraph, ViewEvidence};
use crate::identity::{EdgeId, Peer};
use crate::policy::model::Direction;
use crate::policy::text;

/// What completeness takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requirements {
    /// For so many hours a workload must have been watched, and nothing may have gone wrong in them.
    pub hours: u32,
    /// The least sample coverage, as estimated.
    pub coverage: f64,
}

/// Whether a workload is complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completeness {
    /// What speaks against it, in canonical order.
    pub reasons: Vec<Reason>,
    /// What nothing tells, so that it cannot be vouched for.
    pub untold: Vec<Untold>,
    /// Directions in which nothing was seen. They are denied altogether, which is right only if the workload is
    /// complete.
    pub silent: Vec<Direction>,
}

/// Whether a workload is complete, in one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is.
    Complete,
    /// Nothing speaks against it, but not everything is known.
    AsFarAsTold,
    /// It is not.
    Incomplete,
}

/// What speaks against completeness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// Watched for too short a time.
    TooShort {
        /// Hours.
        watched: u32,
        /// Hours that it takes.
        needed: u32,
    },
    /// Too few windows for an estimate.
    TooFewWindows {
        /// How many.
        windows: u32,
    },
    /// No edge, or none of which a time is known, so that nothing can be estimated.
    NoEdges,
    /// Too little of the traffic belongs to edges that were seen.
    LowCoverage {
        /// The estimate.
        estimate: f64,
        /// What it takes.
        needed: f64,
    },
    /// No start was seen.
    NoStart,
    /// Nothing tells whether a start was seen.
    StartUntold,
    /// Flows to or from it of which the other end cannot be told.
    Unresolved {
        /// How many.
        flows: usize,
    },
    /// Edges of which no answer could be seen.
    UnknownOutcome {
        /// The direction.
        direction: Direction,
        /// How many.
        edges: usize,
    },
}

/// What records in files do not tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Untold {
    /// Whether a working agent watched every pod for as long as it ran, and whether it lost anything.
    AgentHealth,
    /// More unresolved flows than could be kept: any workload may be an end of them.
    Unresolved,
}

/// Tells whom one end of a flow stood for within a time.
pub type PeerAtEnd<'a> = dyn Fn(&Endpoint, Option<(Timestamp, Timestamp)>) -> Option<Peer> + 'a;

impl Default for Requirements {
    fn default() -> Self {
        Self {
            hours: 24,
            coverage: 0.95,
        }
    }
}

impl Completeness {
    /// Whether it is complete.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.reasons.is_empty(), self.untold.is_empty()) {
            (true, true) => Verdict::Complete,
            (true, false) => Verdict::AsFarAsTold,
            (false, _) => Verdict::Incomplete,
        }
    }
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "yes",
            Self::AsFarAsTold => "unknown",
            Self::Incomplete => "no",
        }
    }
}

/// Whether the workloads are complete whose coverage is given, by what records in files tell. `peer` tells whom one end
/// of a flow stood for.
#[must_use]
pub fn completeness(
    graph: &FlowGraph,
    coverage: &BTreeMap<WorkloadName, Coverage>,
    requirements: &Requirements,
    peer: &PeerAtEnd<'_>,
) -> BTreeMap<WorkloadName, Completeness> {
    let recent = Recent::of(graph, requirements.hours);
    let unresolved = recent.unresolved(graph, peer);
    let unknown = recent.unknown(graph);
    let mut untold = vec![Untold::AgentHealth];
    if graph.unresolved.beyond_bound > 0 {
        untold.push(Untold::Unresolved);
    }
    let of = |(name, coverage): (&WorkloadName, &Coverage)| {
        let mut reasons = of_coverage(coverage, requirements);
        if let Some(flows) = unresolved.get(name) {
            reasons.push(Reason::Unresolved { flows: *flows });
        }
        for direction in Direction::ALL {
            if let Some(edges) = unknown.get(&(name, direction)) {
                let edges = *edges;
                reasons.push(Reason::UnknownOutcome { direction, edges });
            }
        }
        let silent = |direction: &Direction| coverage.of(*direction).edges == 0;
        let completeness = Completeness {
            reasons,
            untold: untold.clone(),
            silent: Direction::ALL.into_iter().filter(silent).collect(),
        };
        (name.clone(), completeness)
    };
    coverage.iter().map(of).collect()
}

/// What the coverage itself says against it.
fn of_coverage(coverage: &Coverage, requirements: &Requirements) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let watched = coverage.watched;
    if watched.hours < requirements.hours {
        reasons.push(Reason::TooShort {
            watched: watched.hours,
            needed: requirements.hours,
        });
    }
    match coverage.all.numbers {
        Some(numbers) if numbers.coverage < requirements.coverage => {
            reasons.push(Reason::LowCoverage {
                estimate: numbers.coverage,
                needed: requirements.coverage,
            });
        }
        Some(_) => {}
        None if watched.windows < FEWEST_WINDOWS => reasons.push(Reason::TooFewWindows {
            windows: watched.windows,
        }),
        // All that it does was seen and is not wanted: there is nothing to estimate.
        None if coverage.all.edges == 0 && coverage.rejected > 0 => {}
        None => reasons.push(Reason::NoEdges),
    }
    match coverage.seen.start {
        Sight::NotSeen => reasons.push(Reason::NoStart),
        Sight::Untold => reasons.push(Reason::StartUntold),
        Sight::Seen | Sight::NotApplicable => {}
    }
    reasons
}

/// The time in which nothing may have gone wrong: the last hours of all records.
struct Recent {
    from: Timestamp,
}

impl Recent {
    fn of(graph: &FlowGraph, hours: u32) -> Self {
        let hours = SignedDuration::from_hours(i64::from(hours));
        let last = graph.recorded.map(|(_, last)| last);
        let from = last.and_then(|last| last.saturating_sub(hours).ok());
        Self {
            from: from.unwrap_or(Timestamp::MIN),
        }
    }

    /// What has no time may have been at any time.
    fn holds(&self, seen: &ViewEvidence) -> bool {
        seen.last_seen.is_none_or(|last| last >= self.from)
    }

    /// How many unresolved flows each workload has.
    fn unresolved(&self, graph: &FlowGraph, peer: &PeerAtEnd<'_>) -> BTreeMap<WorkloadName, usize> {
        let attempt = |outcome| matches!(outcome, Outcome::Refused | Outcome::Unanswered);
        let mut all: BTreeMap<WorkloadName, usize> = BTreeMap::new();
        for (flow, seen) in &graph.unresolved.flows {
            if attempt(flow.outcome) || !self.holds(seen) {
                continue;
            }
            let span = seen.first_seen.zip(seen.last_seen);
            let ends = [&flow.client, &flow.server].map(|end| peer(end, span));
            let workload = |end: Option<Peer>| match end {
                Some(Peer::Workload(name)) => Some(name),
                _ => None,
            };
            let names: BTreeSet<WorkloadName> = ends.into_iter().filter_map(workload).collect();
            for name in names {
                *all.entry(name).or_default() += 1;
            }
        }
        all
    }

    /// How many edges of unknown outcome, and of no other that makes a rule, each direction of a workload has.
    fn unknown<'a>(&self, graph: &'a FlowGraph) -> BTreeMap<(&'a WorkloadName, Direction), usize> {
        let mut all = BTreeMap::new();
        for (edge, evidence) in &graph.edges {
            for direction in Direction::ALL {
                let Some(name) = own_workload(edge, direction) else {
                    continue;
                };
                let own = evidence.view(direction.own_view());
                let views = [evidence.client.as_ref(), evidence.server.as_ref()];
                let established = |seen: &&ViewEvidence| seen.counts.established > 0;
                let settled = views.into_iter().flatten().any(|seen| established(&seen));
                let unknown = |seen: &&ViewEvidence| seen.counts.unknown > 0 && self.holds(seen);
                if !settled && own.filter(unknown).is_some() {
                    *all.entry((name, direction)).or_default() += 1;
                }
            }
        }
        all
    }
}

fn own_workload(edge: &EdgeId, direction: Direction) -> Option<&WorkloadName> {
    let end = match direction {
        Direction::Ingress => &edge.server,
        Direction::Egress => &edge.client,
    };
    match end {
        Peer::Workload(name) => Some(name),
        _ => None,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { watched, needed } => {
                write!(f, "watched for {watched} h of the {needed} h that it takes")
            }
            Self::TooFewWindows { windows } => {
                write!(f, "{windows} windows, an estimate takes {FEWEST_WINDOWS}")
            }
            Self::NoEdges => f.write_str("no edge with a time"),
            Self::LowCoverage { estimate, needed } => {
                write!(f, "coverage {} is under {needed}", Share(*estimate))
            }
            Self::NoStart => f.write_str("no start was seen"),
            Self::StartUntold => f.write_str("no pod tells when it started"),
            Self::Unresolved { flows } => write!(f, "unresolved flows: {flows}"),
            Self::UnknownOutcome { direction, edges } => {
                write!(f, "{direction} of unknown outcome: {}", text::edges(*edges))
            }
        }
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AgentHealth => {
                "whether a working agent watched every pod all the time, and what it lost"
            }
            Self::Unresolved => "whose the unresolved flows are that were too many to be kept",
        })
    }
}
