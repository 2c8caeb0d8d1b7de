//! Connections that a stream of events tells of from their beginning to their end. Each counts once, as what became of
//! it, and is held only as long as it lasts.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::words::{Outcome, Protocol};

use super::edge::Edge;
use super::tally::{Each, Tally};

/// Connections held at most. Past it the oldest counts as it stands.
const HELD: usize = 1 << 18;

/// What happened to a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    New,
    Update,
    Destroy,
}

/// What tells a connection from others: the original tuple.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Original {
    pub(super) protocol: Protocol,
    pub(super) source: (IpAddr, u16),
    pub(super) destination: (IpAddr, u16),
}

/// All connections that have not ended.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<Original, Connection>,
    /// By when they were first met.
    order: BTreeMap<u64, Original>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    at: Option<Timestamp>,
    edge: Edge,
    outcome: Outcome,
}

impl Connections {
    /// Something happened to a connection, and now it looks like `outcome`. Which event of it comes first is no matter:
    /// it may have begun before the stream.
    pub(super) fn tell(
        &mut self,
        event: Event,
        original: Original,
        (edge, outcome): (Edge, Outcome),
        at: Option<Timestamp>,
        (tally, each): (&mut Tally, Each<'_>),
    ) {
        if event == Event::New {
            // The end of a former one was lost.
            self.settle(&original, (&mut *tally, &mut *each));
        }
        match self.open.get_mut(&original) {
            Some(known) if strength(known.outcome) < strength(outcome) => known.outcome = outcome,
            Some(_) => {}
            None => self.insert(original, (edge, outcome), at),
        }
        if event == Event::Destroy {
            self.settle(&original, (&mut *tally, &mut *each));
        }
        if self.open.len() > HELD {
            self.settle_oldest((tally, each));
        }
    }

    /// Counts those that have not ended as they stand.
    pub(super) fn finish(&mut self, (tally, each): (&mut Tally, Each<'_>)) {
        while !self.open.is_empty() {
            self.settle_oldest((&mut *tally, &mut *each));
        }
    }

    fn insert(
        &mut self,
        original: Original,
        (edge, outcome): (Edge, Outcome),
        at: Option<Timestamp>,
    ) {
        let number = self.next;
        self.next += 1;
        self.order.insert(number, original);
        let connection = Connection {
            number,
            at,
            edge,
            outcome,
        };
        self.open.insert(original, connection);
    }

    fn settle_oldest(&mut self, to: (&mut Tally, Each<'_>)) {
        if let Some((_, original)) = self.order.pop_first() {
            self.settle(&original, to);
        }
    }

    fn settle(&mut self, original: &Original, (tally, each): (&mut Tally, Each<'_>)) {
        if let Some(connection) = self.open.remove(original) {
            self.order.remove(&connection.number);
            tally.add(&connection.edge, connection.outcome, connection.at, each);
        }
    }
}

/// Which of two outcomes of one connection stands: what was answered stays so, though its end shows less.
fn strength(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Unanswered | Outcome::OneWay => 0,
        Outcome::Unknown => 1,
        Outcome::Refused => 2,
        Outcome::Established => 3,
    }
}
