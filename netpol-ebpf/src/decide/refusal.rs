//! Refusals: a reset or ABORT in answer to a pending attempt, or an ICMP unreachable that embeds one.

use netpol_common::abi::{Event, Fate, TCP, UDP};

use super::Scene;
use super::answer::acknowledges;
use crate::counts::Counts;
use crate::key::Key;
use crate::packet::Packet;
use crate::pending::{Counted, Handshake, State, Tag};
use crate::store::{Store, Table};

impl<S: Store> Scene<'_, S> {
    /// A RST|ACK with sequence 0, or an ABORT.
    #[inline(never)]
    pub(super) fn refuse(&self, packet: &mut Packet) {
        packet.orient(self.side.sent_by_server());
        let tag = self.tag(packet);
        match self.pending(tag) {
            Some(handshake) if acknowledges(packet, handshake) => {
                self.refuse_pending(tag, handshake, &packet.key);
            }
            Some(_) => {}
            // The slot was lost. An ABORT also ends associations, so it proves nothing by itself.
            None if packet.key.protocol == TCP => self.refuse_open(&packet.key),
            None => {}
        }
    }

    /// An ICMP unreachable about the embedded packet, which the client sent the other way.
    #[inline(never)]
    pub(super) fn unreachable(&self, packet: &mut Packet) -> Fate {
        packet.orient(self.side.sent_by_server());
        if packet.key.protocol == UDP {
            self.refuse_datagram(&packet.key);
            return Fate::Icmp;
        }
        let tag = self.tag(packet);
        let is_about = |handshake: &Handshake| {
            packet.key.protocol != TCP || handshake.sequence() == packet.sequence
        };
        if let Some(handshake) = self.pending(tag).filter(is_about) {
            self.refuse_pending(tag, handshake, &packet.key);
        }
        Fate::Icmp
    }

    #[inline(always)]
    fn refuse_pending(&self, tag: Tag, handshake: Handshake, key: &Key) {
        if handshake.state() != State::Pending {
            return;
        }
        self.update(tag, handshake.with(State::Refused));
        let table = match handshake.counted() {
            Counted::Edges => Table::Edges,
            Counted::Attempts => Table::Attempts,
            Counted::Nowhere => return self.store.event(Event::Refusal),
        };
        self.count_refusal(self.store.find(table, key));
    }

    /// Refuses one attempt that still waits, whichever it is.
    #[inline(always)]
    fn refuse_open(&self, key: &Key) {
        if self.open_attempts(key) <= 0 {
            return;
        }
        let waits = |counts: &&Counts| counts.open() > 0;
        let counts = match self.store.find(Table::Attempts, key).filter(waits) {
            Some(attempts) => Some(attempts),
            None => self.store.find(Table::Edges, key).filter(waits),
        };
        self.count_refusal(counts);
    }

    /// Refuses a datagram, unless there ever was a reply.
    #[inline(always)]
    fn refuse_datagram(&self, key: &Key) {
        if self.store.find(Table::Edges, key).is_some() {
            return;
        }
        let waits = |counts: &&Counts| counts.open() > 0 && !counts.is_answered();
        self.count_refusal(self.store.find(Table::Attempts, key).filter(waits));
    }

    #[inline(always)]
    fn count_refusal(&self, counts: Option<&Counts>) {
        if let Some(counts) = counts {
            self.store.event(Event::Refusal);
            counts.refuse(self.store.now());
        }
    }
}
