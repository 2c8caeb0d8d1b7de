//! Which edges make rules, and on whose word.
//!
//! A direction of a workload rests on the workload's own view of an edge. Where that view is missing, because its
//! node has no agent, or cannot show an answer, the other end's word counts and is marked. Where the workload's own
//! interface was watched and did not see the edge established, the other end's word does not count: somebody else used
//! the workload's address, or the handshake was never completed. Records that do not tell whether it was watched leave
//! both ends' words standing: an edge that either end saw established is then allowed at both, or it would not work.

use std::sync::Arc;

use netpol_common::words::Protocol;

use super::model::{Basis, Direction, Support};
use super::options::OneWay;
use super::widen::Wide;
use crate::graph::{Evidence, ViewEvidence, Windows};
use crate::identity::{EdgeId, Peer};

/// An edge as one of its ends' policies sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Learned {
    /// The direction of the policy's rules that it is for.
    pub(super) direction: Direction,
    /// The place of the other end among the workloads that are known, where that was looked up.
    pub(super) place: Option<usize>,
    /// What the rule will say that it rests on.
    pub(super) support: Support,
    /// Whether the end's own view contradicts the other end's, which counts.
    pub(super) disagreed: bool,
    /// What stands in rules instead of the peer, if something else does.
    pub(super) stand_ins: Option<Arc<[Wide]>>,
    /// The windows in which the view that it rests on saw it, if somebody asked for what needs them.
    pub(super) windows: Option<Box<Windows>>,
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
    /// Only the other end saw it, although this end was watched.
    OtherEndOnly,
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

impl Learned {
    /// The other end.
    pub(super) fn peer(&self) -> &Peer {
        peer(&self.support.edge, self.direction)
    }

    /// Whether the other end is the same.
    pub(super) fn has_same_peer(&self, other: &Self) -> bool {
        match (self.place, other.place) {
            (Some(one), Some(other)) => one == other,
            _ => self.peer() == other.peer(),
        }
    }

    /// The ports that its rule allows, as the first and the last.
    pub(super) fn ports(&self) -> (u16, u16) {
        let port = self.support.edge.port;
        self.support.range.unwrap_or((port, port))
    }

    /// The same, one by one, each with the protocol.
    pub(super) fn each_port(&self) -> impl Iterator<Item = (Protocol, u16)> + use<> {
        let protocol = self.support.edge.protocol;
        let (first, last) = self.ports();
        (first..=last).map(move |port| (protocol, port))
    }
}

/// What an edge comes to for the policy of its end in `direction`.
pub(super) fn lesson(
    edge: &Arc<EdgeId>,
    evidence: &Evidence,
    direction: Direction,
    one_way: OneWay,
) -> Result<Learned, LeftOut> {
    let (basis, disagreed) = verdict(edge, evidence, direction, one_way)?;
    let view = rested_on(evidence, direction, basis);
    Ok(Learned {
        direction,
        place: None,
        support: Support {
            edge: Arc::clone(edge),
            basis,
            first_seen: view.and_then(|view| view.first_seen),
            last_seen: view.and_then(|view| view.last_seen),
            by_service: evidence.by_service.clone(),
            written_as: None,
            range: None,
        },
        disagreed,
        stand_ins: None,
        windows: None,
    })
}

/// On whose word an edge makes a rule, and whether the end's own view contradicts that.
pub(super) fn verdict(
    edge: &EdgeId,
    evidence: &Evidence,
    direction: Direction,
    one_way: OneWay,
) -> Result<(Basis, bool), LeftOut> {
    if evidence.own_node && direction == Direction::Ingress {
        return Err(LeftOut::OwnNode);
    }
    let (own, other) = views(evidence, direction);
    let watched = match direction {
        Direction::Ingress => evidence.server_watched,
        Direction::Egress => evidence.client_watched,
    };
    let judge = |view: &ViewEvidence| word(view, edge.protocol, one_way);
    let own_word = own.map(judge);
    if own_word == Some(Word::Established) {
        return Ok((Basis::Established, false));
    }
    match (own_word, other.map(judge)) {
        (None | Some(Word::NotEstablished), Some(Word::Established | Word::OneWay)) if watched => {
            Err(LeftOut::OtherEndOnly)
        }
        (_, Some(Word::Established)) => {
            let disagreed = matches!(own_word, Some(Word::NotEstablished));
            Ok((Basis::OtherView { one_way: false }, disagreed))
        }
        (Some(Word::OneWay), _) => Ok((Basis::OneWay, false)),
        (None | Some(Word::Unknown), Some(Word::OneWay)) => {
            Ok((Basis::OtherView { one_way: true }, false))
        }
        (Some(Word::RareOneWay), _) | (None, Some(Word::RareOneWay)) => Err(LeftOut::OneWay),
        (Some(Word::Unknown), _) | (None, Some(Word::Unknown)) => Err(LeftOut::Unknown),
        _ => Err(LeftOut::NotEstablished),
    }
}

/// The other end, as the policy of the end in `direction` sees it.
pub(super) fn peer(edge: &EdgeId, direction: Direction) -> &Peer {
    match direction {
        Direction::Ingress => &edge.client,
        Direction::Egress => &edge.server,
    }
}

/// The view that a rule rests on.
pub(super) fn rested_on(
    evidence: &Evidence,
    direction: Direction,
    basis: Basis,
) -> Option<&ViewEvidence> {
    let (own, other) = views(evidence, direction);
    match basis {
        Basis::OtherView { .. } => other,
        _ => own,
    }
}

/// What the policy's own workload saw of an edge, and what the other end saw.
fn views(
    evidence: &Evidence,
    direction: Direction,
) -> (Option<&ViewEvidence>, Option<&ViewEvidence>) {
    let (client, server) = (evidence.client.as_ref(), evidence.server.as_ref());
    match direction {
        Direction::Ingress => (server, client),
        Direction::Egress => (client, server),
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

#[cfg(test)]
mod tests {
    use netpol_common::names::WorkloadName;

    use super::*;
    use crate::graph::Counts;

    const NOTHING: Counts = Counts {
        established: 0,
        refused: 0,
        unanswered: 0,
        one_way: 0,
        unknown: 0,
    };
    const ESTABLISHED: Counts = Counts {
        established: 1,
        ..NOTHING
    };
    const REFUSED: Counts = Counts {
        refused: 1,
        ..NOTHING
    };
    const UNANSWERED: Counts = Counts {
        unanswered: 1,
        ..NOTHING
    };
    const ONE_WAY: Counts = Counts {
        one_way: 1,
        ..NOTHING
    };
    const UNKNOWN: Counts = Counts {
        unknown: 1,
        ..NOTHING
    };

    fn view(counts: Counts, repeated: bool) -> Option<ViewEvidence> {
        Some(ViewEvidence {
            counts,
            repeated,
            ..ViewEvidence::default()
        })
    }

    /// What the client's policy learns from a client's and a server's view.
    fn egress(
        protocol: Protocol,
        client: Option<ViewEvidence>,
        server: Option<ViewEvidence>,
        one_way: OneWay,
    ) -> Result<(Basis, bool), LeftOut> {
        let end = |name| Peer::Workload(WorkloadName::new("shop", "Deployment", name));
        let edge = Arc::new(EdgeId {
            client: end("web"),
            server: end("api"),
            protocol,
            port: 80,
        });
        let evidence = Evidence {
            client,
            server,
            own_node: true,
            ..Evidence::default()
        };
        let learned = lesson(&edge, &evidence, Direction::Egress, one_way)?;
        assert_eq!(*learned.peer(), edge.server);
        Ok((learned.support.basis, learned.disagreed))
    }

    #[test]
    fn the_own_view_counts_where_it_says_established() {
        let learned = egress(
            Protocol::Tcp,
            view(ESTABLISHED, false),
            view(REFUSED, false),
            OneWay::Never,
        );
        assert_eq!(learned, Ok((Basis::Established, false)));
    }

    #[test]
    fn the_other_view_counts_where_the_own_one_does_not_say_established() {
        let other = Basis::OtherView { one_way: false };
        let cases = [
            (None, false),
            (view(UNKNOWN, false), false),
            (view(ONE_WAY, false), false),
            (view(UNANSWERED, false), true),
            (view(REFUSED, false), true),
        ];
        for (own, disagreed) in cases {
            let learned = egress(
                Protocol::Udp,
                own.clone(),
                view(ESTABLISHED, false),
                OneWay::Never,
            );
            assert_eq!(learned, Ok((other, disagreed)), "{own:?}");
        }
    }

    #[test]
    fn what_nobody_saw_established_makes_no_rule() {
        let cases = [
            (view(REFUSED, true), None, LeftOut::NotEstablished),
            (None, view(UNANSWERED, true), LeftOut::NotEstablished),
            (None, None, LeftOut::NotEstablished),
            (view(UNKNOWN, true), view(REFUSED, true), LeftOut::Unknown),
            (None, view(UNKNOWN, true), LeftOut::Unknown),
            (view(ONE_WAY, true), None, LeftOut::NotEstablished),
        ];
        for (client, server, expected) in cases {
            let learned = egress(
                Protocol::Tcp,
                client.clone(),
                server.clone(),
                OneWay::Always,
            );
            assert_eq!(learned, Err(expected), "{client:?} {server:?}");
        }
    }

    #[test]
    fn one_way_counts_as_often_as_asked_for_and_if_never_refused() {
        let udp = |repeated, one_way| egress(Protocol::Udp, view(ONE_WAY, repeated), None, one_way);
        assert_eq!(udp(false, OneWay::Always), Ok((Basis::OneWay, false)));
        assert_eq!(udp(true, OneWay::Repeated), Ok((Basis::OneWay, false)));
        assert_eq!(udp(false, OneWay::Repeated), Err(LeftOut::OneWay));
        assert_eq!(udp(true, OneWay::Never), Err(LeftOut::OneWay));
        let refused = view(
            Counts {
                refused: 1,
                ..ONE_WAY
            },
            true,
        );
        assert_eq!(
            egress(Protocol::Udp, refused, None, OneWay::Always),
            Err(LeftOut::NotEstablished)
        );
        let learned = egress(Protocol::Udp, None, view(ONE_WAY, true), OneWay::Repeated);
        assert_eq!(learned, Ok((Basis::OtherView { one_way: true }, false)));
    }

    #[test]
    fn probes_from_the_own_node_make_no_rule_for_the_server() {
        let end = Peer::Workload(WorkloadName::new("shop", "Deployment", "api"));
        let edge = Arc::new(EdgeId {
            client: Peer::Node("one".to_owned()),
            server: end,
            protocol: Protocol::Tcp,
            port: 80,
        });
        let evidence = Evidence {
            server: view(ESTABLISHED, true),
            own_node: true,
            ..Evidence::default()
        };
        let lesson = lesson(&edge, &evidence, Direction::Ingress, OneWay::Always);
        assert!(matches!(lesson, Err(LeftOut::OwnNode)));
    }
}
