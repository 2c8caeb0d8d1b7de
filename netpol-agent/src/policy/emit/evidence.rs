//! The edges that a rule rests on, in words: one line for each other end, days instead of times, no counts, so that
//! a policy does not change with every connection.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::identity::Peer;
use crate::policy::model::{Basis, Direction, Rule, Support};
use crate::policy::ports::{self, Ports};
use crate::policy::text;

/// What the edges from or to one peer have in common.
#[derive(Default)]
struct Seen {
    ports: Ports,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// One line for each peer, and for each kind of word that its edges rest on.
pub(super) fn lines(direction: Direction, rule: &Rule) -> Vec<String> {
    let mut by_peer: BTreeMap<(&Peer, Basis), Seen> = BTreeMap::new();
    for support in &rule.evidence {
        by_peer
            .entry((other_end(direction, support), support.basis))
            .or_default()
            .add(support);
    }
    by_peer
        .iter()
        .map(|((peer, basis), seen)| line(direction, peer, *basis, seen))
        .collect()
}

impl Seen {
    fn add(&mut self, support: &Support) {
        self.ports
            .insert((support.edge.protocol, support.edge.port));
        let firsts = self.first.into_iter().chain(support.first_seen);
        let lasts = self.last.into_iter().chain(support.last_seen);
        (self.first, self.last) = (firsts.min(), lasts.max());
    }
}

fn line(direction: Direction, peer: &Peer, basis: Basis, seen: &Seen) -> String {
    let preposition = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let ports = text::list(ports::specs(&seen.ports));
    let mut line = format!("{preposition} {}: {ports}", text::peer(peer));
    for part in [days(seen), word(basis).to_owned()] {
        if !part.is_empty() {
            line.push_str("; ");
            line.push_str(&part);
        }
    }
    line
}

/// What the edges rest on, where it is not the plain case.
fn word(basis: Basis) -> &'static str {
    match basis {
        Basis::Established => "",
        Basis::OneWay => "one-way",
        Basis::OtherView { one_way: false } => "seen at the other end only",
        Basis::OtherView { one_way: true } => "one-way, seen at the other end only",
        Basis::DnsPair => "not seen: DNS may turn from UDP to TCP",
        Basis::DnsAlways => "not seen: DNS is always allowed",
    }
}

/// From which day to which day, in UTC; empty if no time is known, or if nothing was seen.
fn days(seen: &Seen) -> String {
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date().to_string();
    match (seen.first.map(day), seen.last.map(day)) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(day), _) | (None, Some(day)) => day,
        (None, None) => String::new(),
    }
}

fn other_end(direction: Direction, support: &Support) -> &Peer {
    match direction {
        Direction::Ingress => &support.edge.client,
        Direction::Egress => &support.edge.server,
    }
}
