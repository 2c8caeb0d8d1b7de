//! Which edges make rules, and on whose word.
//!
//! A direction of a workload rests on the workload's own view of an edge. Where that view is missing, because its
//! node has no agent, or does not show an answer, the other end's word counts and is marked: an edge that either end
//! saw established is allowed at both, or it would not work.

use netpol_common::words::Protocol;

use super::model::{Basis, Direction, Support};
use super::options::OneWay;
use crate::graph::{Evidence, ViewEvidence};
use crate::identity::{EdgeId, Peer};

/// An edge as one of its ends' policies sees it.
#[derive(Clone, Debug)]
pub(super) struct Learned<'a> {
    /// The other end.
    pub(super) peer: &'a Peer,
    /// What the rule will say that it rests on.
    pub(super) support: Support,
    /// Whether the end's own view contradicts the other end's, which counts.
    pub(super) disagreed: bool,
}

/// Why an edge makes no rule in one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LeftOut {
    /// UDP without replies, too rare.
    OneWay,
    /// The outcome could not be seen.
    Unknown,
    /// Refused or not answered.
    NotEstablished,
    /// No rule is needed: traffic from the pods' own nodes is always allowed.
    OwnNode,
}

/// What one view says of an edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    NotEstablished,
    Unknown,
    RareOneWay,
    OneWay,
    Established,
}

/// What an edge comes to for the policy of its end in `direction`.
pub(super) fn lesson<'a>(
    edge: &'a EdgeId,
    evidence: &Evidence,
    direction: Direction,
    one_way: OneWay,
) -> Result<Learned<'a>, LeftOut> {
    if evidence.own_node && direction == Direction::Ingress {
        return Err(LeftOut::OwnNode);
    }
    let (own, other) = match direction {
        Direction::Ingress => (evidence.server.as_ref(), evidence.client.as_ref()),
        Direction::Egress => (evidence.client.as_ref(), evidence.server.as_ref()),
    };
    let judge = |view: &ViewEvidence| word(view, edge.protocol, one_way);
    let (own_word, other_word) = (own.map(judge), other.map(judge));
    let learned = |basis, view: Option<&ViewEvidence>, disagreed| {
        Ok(Learned {
            peer: peer(edge, direction),
            support: support(edge, basis, view),
            disagreed,
        })
    };
    match (own_word, other_word) {
        (Some(Word::Established), _) => learned(Basis::Established, own, false),
        (_, Some(Word::Established)) => {
            let disagreed = matches!(own_word, Some(Word::NotEstablished));
            learned(Basis::OtherView { one_way: false }, other, disagreed)
        }
        (Some(Word::OneWay), _) => learned(Basis::OneWay, own, false),
        (None | Some(Word::Unknown), Some(Word::OneWay)) => {
            learned(Basis::OtherView { one_way: true }, other, false)
        }
        (Some(Word::RareOneWay), _) | (None, Some(Word::RareOneWay)) => Err(LeftOut::OneWay),
        (Some(Word::Unknown), _) | (None, Some(Word::Unknown)) => Err(LeftOut::Unknown),
        _ => Err(LeftOut::NotEstablished),
    }
}

/// The other end, as the policy of the end in `direction` sees it.
fn peer(edge: &EdgeId, direction: Direction) -> &Peer {
    match direction {
        Direction::Ingress => &edge.client,
        Direction::Egress => &edge.server,
    }
}

fn support(edge: &EdgeId, basis: Basis, view: Option<&ViewEvidence>) -> Support {
    Support {
        edge: edge.clone(),
        basis,
        first_seen: view.and_then(|view| view.first_seen),
        last_seen: view.and_then(|view| view.last_seen),
    }
}

fn word(view: &ViewEvidence, protocol: Protocol, one_way: OneWay) -> Word {
    let counts = &view.counts;
    if counts.established > 0 {
        return Word::Established;
    }
    if protocol == Protocol::Udp && counts.one_way > 0 && counts.refused == 0 {
        return match one_way {
            OneWay::Always => Word::OneWay,
            OneWay::Repeated if view.repeated => Word::OneWay,
            OneWay::Repeated | OneWay::Never => Word::RareOneWay,
        };
    }
    match counts.unknown {
        0 => Word::NotEstablished,
        _ => Word::Unknown,
    }
}
