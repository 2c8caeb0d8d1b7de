//! What the counters say that no edge does, for people: what was lost, left out, or not seen.

use std::collections::BTreeMap;
use std::fmt;

use netpol_common::abi::{Counters, Event, Fate};

use super::interfaces::Interface;
use crate::observe::Losses;

/// What is to be told of one interface. Nothing of it becomes an edge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    losses: Losses,
    slots_lost: u64,
    other_protocol: u64,
    one_sided: bool,
}

/// The packets and events of a node, by name; those that never occurred are left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traffic(Vec<(&'static str, u64)>);

/// How much a person should care.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Weight {
    /// Good to know.
    Note,
    /// Something is missing from the graph.
    Loss,
}

/// What was told last, so that a count is told when it comes up and whenever it has doubled, not at every look.
#[derive(Clone, Debug, Default)]
pub struct Teller {
    by_handle: BTreeMap<u32, Tally>,
    traffic: Traffic,
}

impl Tally {
    /// The tally of an interface with those losses.
    #[must_use]
    pub fn new(interface: &Interface, losses: Losses) -> Self {
        Self {
            losses,
            slots_lost: interface.lost.slots,
            other_protocol: interface.lost.other_protocol,
            one_sided: interface.one_sided,
        }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(|(_, _, count)| *count == 0)
    }

    fn counts(&self) -> [(&'static str, Weight, u64); 10] {
        let losses = &self.losses;
        [
            ("edges missing", Weight::Loss, losses.missing_edges()),
            (
                "edges without room in their map but known",
                Weight::Note,
                losses.edges_recovered,
            ),
            ("attempts missing", Weight::Loss, losses.missing_attempts()),
            (
                "attempts without room but answered later",
                Weight::Note,
                losses.attempts_recovered,
            ),
            (
                "attempts from addresses not the pod's",
                Weight::Note,
                losses.foreign,
            ),
            (
                "attempts to addresses not the pod's",
                Weight::Note,
                losses.not_for_pod,
            ),
            (
                "handshakes forgotten while pending",
                Weight::Note,
                self.slots_lost,
            ),
            (
                "packets of protocols that make no edges",
                Weight::Note,
                self.other_protocol,
            ),
            (
                "time unobserved while the pod ran",
                Weight::Note,
                u64::from(losses.observation_gap),
            ),
            (
                "packets towards the pod pass unseen",
                Weight::Note,
                u64::from(self.one_sided),
            ),
        ]
    }

    /// The weight of what has come up, or doubled, since `told`; `None` if nothing has.
    fn news_since(&self, told: &Self) -> Option<Weight> {
        let pairs = self.counts().into_iter().zip(told.counts());
        let grown = pairs.filter(|((_, _, new), (_, _, old))| magnitude(*new) > magnitude(*old));
        grown.map(|((_, weight, _), _)| weight).max()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.counts().into_iter().filter(|(_, _, count)| *count > 0);
        for (at, (what, _, count)) in told.enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            match what {
                "time unobserved while the pod ran" | "packets towards the pod pass unseen" => {
                    write!(f, "{separator}{what}")?;
                }
                _ => write!(f, "{separator}{what}: {count}")?,
            }
        }
        Ok(())
    }
}

impl Traffic {
    /// All of it.
    #[must_use]
    pub fn of(counters: &Counters) -> Self {
        let fates = Fate::ALL.iter().map(|fate| fate.name());
        let events = Event::ALL.iter().map(|event| event.name());
        let fates = fates.zip(counters.fates);
        let all = fates.chain(events.zip(counters.events));
        Self(all.filter(|(_, count)| *count > 0).collect())
    }

    /// What hints at trouble: packets that could not be read, and events that cost something.
    #[must_use]
    pub fn troubles(&self) -> Self {
        let names = [
            Fate::Malformed.name(),
            Fate::TooDeep.name(),
            Fate::UnknownInterface.name(),
            Event::EdgeLost.name(),
            Event::AttemptLost.name(),
            Event::RingFull.name(),
            Event::SlotLost.name(),
        ];
        let all = self.0.iter().copied();
        Self(all.filter(|(name, _)| names.contains(name)).collect())
    }

    fn has_doubled_since(&self, told: &Self) -> bool {
        let before = |name| told.0.iter().find(|(known, _)| *known == name);
        self.0.iter().any(|(name, count)| {
            let before = before(*name).map_or(0, |(_, count)| *count);
            magnitude(*count) > magnitude(before)
        })
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { " " };
            write!(f, "{separator}{name}={count}")?;
        }
        Ok(())
    }
}

impl Teller {
    /// The weight of a tally that is to be told now; `None` if it is no news.
    pub fn news(&mut self, handle: u32, tally: &Tally) -> Option<Weight> {
        let told = self.by_handle.entry(handle).or_default();
        let weight = tally.news_since(told);
        if weight.is_some() {
            *told = tally.clone();
        }
        weight
    }

    /// The troubles of a node, if they are to be told now.
    pub fn troubles(&mut self, counters: &Counters) -> Option<Traffic> {
        let troubles = Traffic::of(counters).troubles();
        let news = troubles.has_doubled_since(&self.traffic);
        if news {
            self.traffic = troubles.clone();
        }
        news.then_some(troubles)
    }

    /// Forgets an interface.
    pub fn forget(&mut self, handle: u32) {
        self.by_handle.remove(&handle);
    }
}

/// How many binary digits a count has.
fn magnitude(count: u64) -> u32 {
    u64::BITS - count.leading_zeros()
}

#[cfg(test)]
mod tests {
    use netpol_common::abi::{EVENTS, FATES};

    use super::*;

    fn tally(edges_lost: u64, other_protocol: u64) -> Tally {
        let losses = Losses {
            edges_lost,
            ..Losses::default()
        };
        Tally {
            losses,
            other_protocol,
            ..Tally::default()
        }
    }

    #[test]
    fn a_count_is_told_when_it_comes_up_and_when_it_has_doubled() {
        let mut teller = Teller::default();
        let told: Vec<_> = [0, 1, 1, 2, 3, 4, 7, 8]
            .map(|edges| teller.news(1, &tally(edges, 0)))
            .map(|weight| weight.is_some())
            .into();
        let expected = [false, true, false, true, false, true, false, true];
        assert_eq!(told, expected);
        assert_eq!(teller.news(2, &tally(0, 5)), Some(Weight::Note));
        assert_eq!(teller.news(2, &tally(1, 90)), Some(Weight::Loss));
        teller.forget(2);
        assert_eq!(teller.news(2, &tally(0, 5)), Some(Weight::Note));
    }

    #[test]
    fn only_what_was_counted_is_written() {
        assert!(tally(0, 0).is_empty());
        let mut tally = tally(3, 4);
        tally.one_sided = true;
        tally.losses.edges_recovered = 1;
        assert_eq!(
            tally.to_string(),
            "edges missing: 2, edges without room in their map but known: 1, \
             packets of protocols that make no edges: 4, packets towards the pod pass unseen"
        );
    }

    #[test]
    fn troubles_of_a_node_are_told_apart_from_its_traffic() {
        let mut counters = Counters {
            fates: [0; FATES],
            events: [0; EVENTS],
        };
        counters.fates[Fate::TcpData as usize] = 100;
        let mut teller = Teller::default();
        assert_eq!(teller.troubles(&counters), None);
        counters.events[Event::RingFull as usize] = 2;
        let told = teller.troubles(&counters).unwrap();
        assert_eq!(told.to_string(), "ring_full=2");
        assert_eq!(teller.troubles(&counters), None);
        assert_eq!(
            Traffic::of(&counters).to_string(),
            "tcp_data=100 ring_full=2"
        );
    }
}
