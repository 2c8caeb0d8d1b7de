//! Counts of one edge and outcome, by the hour, and the flow records that they become.

use indexmap::IndexMap;
use jiff::Timestamp;
use netpol_common::record::FlowRecord;
use netpol_common::words::Outcome;

use super::edge::Edge;

/// Where records go.
pub(super) type Each<'a> = &'a mut dyn FnMut(FlowRecord);

/// Counts by edge and outcome. It holds one hour of each; what belongs to another hour sends the former on its way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cells: IndexMap<Edge, [Cell; Outcome::ALL.len()]>,
}

/// How often something was seen within one hour, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    count: u64,
    span: Option<(Timestamp, Timestamp)>,
}

impl Tally {
    /// Counts one.
    pub(super) fn add(
        &mut self,
        edge: &Edge,
        outcome: Outcome,
        at: Option<Timestamp>,
        each: Each<'_>,
    ) {
        let cells = match self.cells.get_mut(edge) {
            Some(cells) => cells,
            None => self.cells.entry(edge.clone()).or_default(),
        };
        let cell = &mut cells[outcome as usize];
        if !cell.holds(at) {
            cell.flush(edge, outcome, each);
        }
        cell.add(1, at);
    }

    /// Whether anything was ever counted of the edge.
    pub(super) fn knows(&self, edge: &Edge) -> bool {
        self.cells.contains_key(edge)
    }

    /// Sends everything on its way.
    pub(super) fn finish(&mut self, each: Each<'_>) {
        self.cells.sort_keys();
        for (edge, cells) in &mut self.cells {
            for outcome in Outcome::ALL {
                cells[outcome as usize].flush(edge, outcome, each);
            }
        }
    }
}

impl Cell {
    /// Whether something of this time belongs to the hour that the cell holds.
    pub(super) fn holds(&self, at: Option<Timestamp>) -> bool {
        self.count == 0 || self.span.map(|(first, _)| hour(first)) == at.map(hour)
    }

    pub(super) fn add(&mut self, count: u64, at: Option<Timestamp>) {
        self.count = self.count.saturating_add(count);
        self.span = at
            .map(|at| match self.span {
                Some((first, last)) => (first.min(at), last.max(at)),
                None => (at, at),
            })
            .or(self.span);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes one away, if there is any.
    pub(super) fn take_one(&mut self) {
        match self.count {
            0 | 1 => *self = Self::default(),
            more => self.count = more - 1,
        }
    }

    /// Adds what another cell of the same hour holds, and empties that.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        let Self { count, span } = std::mem::take(other);
        self.count = self.count.saturating_add(count);
        self.span = match (self.span, span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    /// Hands on what it holds as a record, and empties it.
    pub(super) fn flush(&mut self, edge: &Edge, outcome: Outcome, each: Each<'_>) {
        let Self { count, span } = std::mem::take(self);
        if count == 0 {
            return;
        }
        each(FlowRecord {
            time: span.map(|(first, _)| first),
            client: edge.client.clone(),
            server: edge.server.clone(),
            protocol: edge.protocol,
            port: edge.port,
            outcome,
            count,
            last_seen: span.map(|(_, last)| last),
            view: None,
            by_service: None,
            observer: None,
            remote_node: None,
        });
    }
}

fn hour(at: Timestamp) -> i64 {
    at.as_second().div_euclid(3600)
}
