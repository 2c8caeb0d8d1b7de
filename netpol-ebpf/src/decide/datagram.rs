//! UDP: which end is the client is known from the edge, or else whoever sent first.

use netpol_common::abi::{Direction, Fate};

use super::Scene;
use crate::counts::Counts;
use crate::packet::Packet;
use crate::pending::{Counted, Handshake, State, Tag};
use crate::store::{Store, Table};

/// Who a datagram may come from.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Sender {
    Client,
    Server,
}

impl<S: Store> Scene<'_, S> {
    #[inline(always)]
    pub(super) fn datagram(&self, packet: &mut Packet) -> Fate {
        // Servers tend to have the lower port. That only says where to look first.
        let replies = packet.source_port(self.side) < packet.destination_port(self.side);
        let (likelier, other) = if replies {
            (Sender::Server, Sender::Client)
        } else {
            (Sender::Client, Sender::Server)
        };
        if self.add_known(packet, likelier) || self.add_known(packet, other) {
            return Fate::UdpKnown;
        }
        self.first_datagrams(packet, likelier, other)
    }

    /// Counts a datagram if `EDGES` has its edge with this sender.
    #[inline(always)]
    fn add_known(&self, packet: &mut Packet, sender: Sender) -> bool {
        packet.orient(self.direction(sender));
        let Some(edge) = self.store.find(Table::Edges, &packet.key) else {
            return false;
        };
        let now = self.store.now();
        match sender {
            Sender::Client => edge.attempt(now),
            Sender::Server => edge.answer(now),
        }
        true
    }

    /// Counts a datagram without an edge: another one of the client, the first one of the server, or a beginning.
    #[inline(never)]
    fn first_datagrams(&self, packet: &mut Packet, likelier: Sender, other: Sender) -> Fate {
        let now = self.store.now();
        for sender in [likelier, other] {
            packet.orient(self.direction(sender));
            let Some(attempts) = self.store.find(Table::Attempts, &packet.key) else {
                continue;
            };
            return self.add_attempt(packet, sender, attempts, now);
        }
        self.begin(packet, now)
    }

    #[inline(always)]
    fn add_attempt(&self, packet: &Packet, sender: Sender, attempts: &Counts, now: u64) -> Fate {
        match sender {
            Sender::Client => {
                attempts.attempt(now);
                Fate::UdpKnown
            }
            Sender::Server => {
                self.count_answer(&packet.key, Counted::Attempts, now);
                Fate::UdpNew
            }
        }
    }

    /// A datagram that no map knows of in either orientation. Where attempts were lost, the pending handshakes may know
    /// it.
    #[inline(always)]
    fn begin(&self, packet: &mut Packet, now: u64) -> Fate {
        let lossy = self.interface.stats.attempts_lost.get() != 0;
        if lossy && self.answers_lost_attempt(packet, now) {
            return Fate::UdpNew;
        }
        packet.orient(self.direction(Sender::Client));
        let tag = self.tag(packet);
        if lossy && self.remembered(tag, now).is_some_and(waits) {
            return Fate::UdpNew;
        }
        let counted = self.make_attempt(&packet.key, now);
        if counted == Counted::Nowhere {
            self.wait(tag, 0, counted, now);
        }
        Fate::UdpNew
    }

    /// Whether the datagram replies to one that only a pending slot remembers.
    #[inline(always)]
    fn answers_lost_attempt(&self, packet: &mut Packet, now: u64) -> bool {
        packet.orient(self.direction(Sender::Server));
        let tag = self.tag(packet);
        let Some(handshake) = self.remembered(tag, now) else {
            return false;
        };
        if waits(handshake) {
            self.update(tag, handshake.with(State::Answered));
            self.count_answer(&packet.key, handshake.counted(), now);
        } else {
            self.keep_edge(&packet.key, now);
        }
        true
    }

    /// The pending slot of this tag, unless it is so old that the conversation may be another.
    #[inline(always)]
    fn remembered(&self, tag: Tag, now: u64) -> Option<Handshake> {
        self.pending(tag)
            .filter(|handshake| handshake.is_recent(now))
    }

    #[inline(always)]
    fn direction(&self, sender: Sender) -> Direction {
        match sender {
            Sender::Client => self.side.sent_by_client(),
            Sender::Server => self.side.sent_by_server(),
        }
    }
}

/// Whether a datagram that only a slot remembers still waits for its reply.
#[inline(always)]
fn waits(handshake: Handshake) -> bool {
    handshake.state() != State::Answered
}
