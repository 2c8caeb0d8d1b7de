//! Whether the kernel program sees both directions of an interface.

use netpol_common::abi::InterfaceStats;

/// How many packets must pass unexplained before an interface is called blind. Below it they may be ARP, neighbour
/// discovery and pings, which no counter of an interface holds.
const UNEXPLAINED: u64 = 1_000;
/// How many unseen answers prove a one-sided interface on which some handshakes towards the pod are seen, such as
/// those from the node itself.
const PROOFS: u64 = 3;

/// What passed an interface since the program was attached to it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Passed {
    /// What the program counted.
    pub stats: InterfaceStats,
    /// Datagrams counted on the UDP edges of the interface, in both directions.
    pub datagrams: u64,
    /// Packets from the pod, as the kernel counts them on the link ([`crate::node::links::Link::rx_packets`]).
    pub rx_packets: u64,
    /// Packets towards the pod, likewise.
    pub tx_packets: u64,
    /// Whether connections older than the program are open: their packets need no handshake.
    pub older_connections: bool,
}

/// What the counters of an interface say about what the program sees of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sight {
    /// Too little has passed to tell.
    Unproven,
    /// Handshakes are seen in both directions.
    Both,
    /// Packets towards the pod do not pass the host's side of the interface.
    OneSided,
    /// Packets pass the interface, but not the program: it is detached, or another program before it ends the chain.
    Blind,
}

/// Judges what passed an interface. A refused or unanswered attempt proves nothing; only an answer that the pod must
/// have had, and that nobody saw, does.
#[must_use]
pub fn judge(passed: &Passed) -> Sight {
    let stats = &passed.stats;
    match (stats.handshakes_from_pod > 0, stats.handshakes_to_pod > 0) {
        (true, true) if mostly_unseen(stats) => Sight::OneSided,
        (true, true) => Sight::Both,
        (true, false) if stats.unseen_answers == 0 => Sight::Unproven,
        (true, false) if answers_pass(passed) => Sight::Blind,
        (true, false) => Sight::OneSided,
        (false, true) => blind_if(passed.rx_packets >= UNEXPLAINED && !explained(passed)),
        (false, false) => blind_if(unexplained(passed)),
    }
}

fn mostly_unseen(stats: &InterfaceStats) -> bool {
    stats.unseen_answers >= PROOFS && stats.unseen_answers >= stats.handshakes_to_pod / 2
}

/// Whether so many packets pass the link towards the pod that the answers must be among them.
fn answers_pass(passed: &Passed) -> bool {
    passed.tx_packets >= passed.rx_packets / 2
}

fn unexplained(passed: &Passed) -> bool {
    let packets = passed.rx_packets.saturating_add(passed.tx_packets);
    !explained(passed) && packets >= UNEXPLAINED
}

/// Whether packets have a reason that leaves no handshake.
fn explained(passed: &Passed) -> bool {
    passed.older_connections || passed.datagrams > 0 || passed.stats.other_protocol > 0
}

fn blind_if(proven: bool) -> Sight {
    if proven {
        Sight::Blind
    } else {
        Sight::Unproven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(from: u64, to: u64, unseen: u64, rx: u64, tx: u64) -> Passed {
        Passed {
            stats: InterfaceStats {
                handshakes_from_pod: from,
                handshakes_to_pod: to,
                unseen_answers: unseen,
                ..InterfaceStats::default()
            },
            rx_packets: rx,
            tx_packets: tx,
            ..Passed::default()
        }
    }

    #[test]
    fn counters_tell_what_is_seen() {
        for (from, to, unseen, rx, tx, expected) in [
            (0, 0, 0, 0, 0, Sight::Unproven),
            (0, 0, 0, 400, 400, Sight::Unproven),
            (0, 0, 0, 600, 600, Sight::Blind),
            (9, 9, 0, 90, 90, Sight::Both),
            // A lost slot, or a handshake that the attaching fell into.
            (900, 900, 1, 9_000, 9_000, Sight::Both),
            // Redirected past the host's side, but for the node's own probes.
            (900, 20, 400, 9_000, 200, Sight::OneSided),
            (40, 0, 20, 400, 3, Sight::OneSided),
            // Nobody answers.
            (40, 0, 0, 40, 0, Sight::Unproven),
            // Answers pass the link, and the program towards the pod does not see them.
            (40, 0, 20, 400, 400, Sight::Blind),
            // The pod answers, and the program from the pod does not see it.
            (0, 50, 0, 5_000, 5_000, Sight::Blind),
            (0, 50, 0, 0, 50, Sight::Unproven),
            // A server behind a redirect that opens few connections of its own.
            (2_005, 0, 5, 30_000, 9, Sight::OneSided),
        ] {
            let case = passed(from, to, unseen, rx, tx);
            assert_eq!(judge(&case), expected, "{case:?}");
        }
    }

    #[test]
    fn packets_that_have_a_reason_are_not_missed() {
        let busy = passed(0, 0, 0, 9_000, 9_000);
        let datagrams = Passed {
            datagrams: 9_000,
            ..busy
        };
        let older = Passed {
            older_connections: true,
            ..busy
        };
        assert_eq!(judge(&busy), Sight::Blind);
        assert_eq!(judge(&datagrams), Sight::Unproven);
        assert_eq!(judge(&older), Sight::Unproven);
    }
}
