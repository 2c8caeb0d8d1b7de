//! What became of the attempts: from cumulative counts to counts by outcome.

use netpol_common::words::{Outcome, Protocol};

/// What happened in one stretch of an edge's life: differences of cumulative counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Growth {
    pub(super) attempts: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
    /// Whether it ended long enough ago to call an attempt without an answer unanswered.
    pub(super) over: bool,
    /// Whether the edge had been answered by the end of it.
    pub(super) proven: bool,
}

/// What outcomes depend on besides counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) protocol: Protocol,
    /// Whether the interface shows one side only.
    pub(super) one_sided: bool,
}

/// The counts by outcome of each stretch, given in order of time. A stretch in which nothing was counted of an edge
/// that had been answered is established with count 0: a connection was still open.
pub(super) fn judge(stretches: &[Growth], of: Circumstances) -> Vec<Vec<(Outcome, u64)>> {
    let answered = stretches.iter().any(|stretch| stretch.answered > 0);
    let counted = match of.protocol {
        Protocol::Udp => datagrams(stretches, answered, of.one_sided),
        Protocol::Tcp | Protocol::Sctp => handshakes(stretches, of.one_sided),
    };
    let counted = counted.into_iter().zip(stretches);
    counted
        .map(|(counts, stretch)| present(counts, stretch.proven))
        .collect()
}

/// Every datagram of an edge that was ever replied to is part of a conversation.
fn datagrams(stretches: &[Growth], answered: bool, one_sided: bool) -> Vec<Vec<(Outcome, u64)>> {
    let rest = match (answered, one_sided) {
        (true, _) => Outcome::Established,
        (false, true) => Outcome::Unknown,
        (false, false) => Outcome::OneWay,
    };
    let debts = settle(stretches.iter().map(|s| net(s.attempts, s.refused)));
    let counts =
        |(stretch, left): (&Growth, u64)| vec![(rest, left), (Outcome::Refused, stretch.refused)];
    stretches.iter().zip(debts).map(counts).collect()
}

/// An attempt without an answer is pending for 30 s, and then unanswered, unless the answer could not be seen.
fn handshakes(stretches: &[Growth], one_sided: bool) -> Vec<Vec<(Outcome, u64)>> {
    let missing = if one_sided {
        Outcome::Unknown
    } else {
        Outcome::Unanswered
    };
    let nets = stretches
        .iter()
        .map(|s| net(s.attempts, s.answered.saturating_add(s.refused)));
    let counts = |(stretch, left): (&Growth, u64)| {
        vec![
            (Outcome::Established, stretch.answered),
            (Outcome::Refused, stretch.refused),
            (missing, if stretch.over { left } else { 0 }),
        ]
    };
    stretches.iter().zip(settle(nets)).map(counts).collect()
}

/// What is left of each stretch's own attempts once the answers of later stretches are taken off earlier attempts.
fn settle(nets: impl DoubleEndedIterator<Item = i128>) -> Vec<u64> {
    let mut late_answers = 0_i128;
    let mut left: Vec<u64> = nets
        .rev()
        .map(|net| {
            let rest = net - late_answers;
            late_answers = (-rest).max(0);
            u64::try_from(rest).unwrap_or(0)
        })
        .collect();
    left.reverse();
    left
}

fn net(attempts: u64, settled: u64) -> i128 {
    i128::from(attempts) - i128::from(settled)
}

/// Only the outcomes that occurred.
fn present(mut counts: Vec<(Outcome, u64)>, proven: bool) -> Vec<(Outcome, u64)> {
    counts.retain(|(_, count)| *count > 0);
    if counts.is_empty() && proven {
        counts.push((Outcome::Established, 0));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Circumstances = Circumstances {
        protocol: Protocol::Tcp,
        one_sided: false,
    };
    const UDP: Circumstances = Circumstances {
        protocol: Protocol::Udp,
        one_sided: false,
    };

    fn growth(attempts: u64, answered: u64, refused: u64) -> Growth {
        Growth {
            attempts,
            answered,
            refused,
            over: true,
            proven: answered > 0,
        }
    }

    #[test]
    fn an_answer_in_the_next_stretch_corrects_unanswered() {
        let counts = judge(&[growth(3, 1, 0), growth(1, 2, 0)], TCP);
        assert_eq!(
            counts,
            [
                vec![(Outcome::Established, 1), (Outcome::Unanswered, 1)],
                vec![(Outcome::Established, 2)]
            ]
        );
    }

    #[test]
    fn a_young_attempt_has_no_outcome_yet() {
        let young = Growth {
            over: false,
            ..growth(2, 0, 1)
        };
        assert_eq!(judge(&[young], TCP), [vec![(Outcome::Refused, 1)]]);
    }

    #[test]
    fn one_sided_interfaces_never_show_unanswered() {
        let of = Circumstances {
            one_sided: true,
            ..TCP
        };
        assert_eq!(
            judge(&[growth(3, 1, 0)], of),
            [vec![(Outcome::Established, 1), (Outcome::Unknown, 2)]]
        );
        let of = Circumstances {
            one_sided: true,
            ..UDP
        };
        assert_eq!(judge(&[growth(3, 0, 0)], of), [vec![(Outcome::Unknown, 3)]]);
    }

    #[test]
    fn a_reply_makes_every_datagram_established() {
        assert_eq!(
            judge(&[growth(2, 0, 0), growth(1, 9, 0)], UDP),
            [
                vec![(Outcome::Established, 2)],
                vec![(Outcome::Established, 1)]
            ]
        );
        assert_eq!(
            judge(&[growth(5, 0, 2)], UDP),
            [vec![(Outcome::OneWay, 3), (Outcome::Refused, 2)]]
        );
    }

    #[test]
    fn an_open_connection_counts_as_present() {
        let open = Growth {
            proven: true,
            ..growth(0, 0, 0)
        };
        assert_eq!(
            judge(&[growth(1, 1, 0), open], TCP),
            [
                vec![(Outcome::Established, 1)],
                vec![(Outcome::Established, 0)]
            ]
        );
        assert_eq!(judge(&[growth(0, 0, 0)], TCP), [vec![]]);
    }
}
