//! Answers: each makes its edge, or adds to it.

use netpol_common::abi::{EdgeValue, Event, FirstSight, TCP};

use super::Scene;
use crate::counts::Counts;
use crate::key::{Key, Side};
use crate::packet::Packet;
use crate::pending::{Counted, Handshake, State, Tag};
use crate::store::{Inserted, Store, Table};

/// How far an acknowledgement may be ahead of the SYN: 1, and the data that a fast-open SYN carries (RFC 7413).
const MAX_SYN_DATA: u32 = 0xffff;

impl<S: Store> Scene<'_, S> {
    /// A SYN-ACK or INIT ACK.
    #[inline(always)]
    pub(super) fn answer(&self, packet: &mut Packet) {
        packet.orient(self.side.sent_by_server());
        let tag = self.tag(packet);
        let now = self.store.now();
        let found = self.pending(tag);
        let about = |handshake: &Handshake| acknowledges(packet, *handshake);
        let Some(handshake) = found.filter(about) else {
            return self.answer_without_slot(packet, tag, found.is_some(), now);
        };
        if handshake.state() == State::Answered {
            self.store.event(Event::Retransmission);
            return self.keep_edge(&packet.key, now);
        }
        self.update(tag, handshake.with(State::Answered));
        self.count_answer(&packet.key, handshake.counted(), now);
    }

    /// Counts an answer to an attempt that was counted where `counted` says.
    #[inline(always)]
    pub(super) fn count_answer(&self, key: &Key, counted: Counted, now: u64) {
        let recovered = counted == Counted::Nowhere;
        let value = EdgeValue {
            attempts: u64::from(recovered),
            answered: 1,
            refused: 0,
            first_seen: now,
            last_seen: now,
        };
        if self.add_or_make_edge(key, &value) && recovered {
            self.interface.stats.attempts_recovered.bump();
        }
    }

    /// Adds `value`, which has one answer and at most one attempt, to the edge of this key, or makes it. `false` if the
    /// edge found no room.
    #[inline(never)]
    fn add_or_make_edge(&self, key: &Key, value: &EdgeValue) -> bool {
        if let Some(edge) = self.store.find(Table::Edges, key) {
            add(edge, value);
            return true;
        }
        match self.store.insert(Table::Edges, key, value) {
            Inserted::Made => {
                self.tell(key, value.first_seen);
                return true;
            }
            // Another CPU was first.
            Inserted::Exists => {
                if let Some(edge) = self.store.find(Table::Edges, key) {
                    add(edge, value);
                    return true;
                }
            }
            Inserted::Full => {}
        }
        self.lose_edge(key, value.last_seen);
        false
    }

    #[inline(always)]
    fn tell(&self, key: &Key, time: u64) {
        self.store.event(Event::EdgeMade);
        let sight = FirstSight {
            key: *key.as_edge_key(),
            time,
        };
        if !self.store.sight(&sight) {
            self.store.event(Event::RingFull);
        }
    }

    /// Counts the loss of an edge, once if `ATTEMPTS` has its key to remember it by.
    #[inline(always)]
    fn lose_edge(&self, key: &Key, now: u64) {
        let attempts = self.store.find(Table::Attempts, key);
        if !attempts.is_some_and(Counts::is_answered) {
            self.interface.stats.edges_lost.bump();
            self.store.event(Event::EdgeLost);
        }
        if let Some(attempts) = attempts {
            attempts.answer(now);
        }
    }

    /// An answer whose attempt is not among the pending ones: its slot was lost, or it was never seen. `other`: the slot of
    /// its tuple is about another attempt.
    #[inline(never)]
    fn answer_without_slot(&self, packet: &Packet, tag: Tag, other: bool, now: u64) {
        if other && self.side == Side::ToPod {
            return self.store.event(Event::UnmatchedAnswer);
        }
        let key = &packet.key;
        if self.open_attempts(key) > 0 {
            self.remember(packet, tag, now);
            return self.count_answer(key, Counted::Attempts, now);
        }
        // The pod's own word suffices. Towards the pod anybody could have sent it.
        let known = self.is_known(key);
        if self.side == Side::ToPod || (known && !self.interface.config.one_sided()) {
            self.store.event(Event::UnmatchedAnswer);
            return;
        }
        self.remember(packet, tag, now);
        let value = EdgeValue {
            attempts: 1,
            answered: 1,
            refused: 0,
            first_seen: now,
            last_seen: now,
        };
        self.add_or_make_edge(key, &value);
    }

    /// Makes sure that the edge of an answer that was counted already has not been deleted or lost since.
    #[inline(always)]
    pub(super) fn keep_edge(&self, key: &Key, now: u64) {
        if !self.is_known(key) {
            self.count_answer(key, Counted::Attempts, now);
        }
    }

    /// Whether an answer of this key is on record.
    #[inline(always)]
    fn is_known(&self, key: &Key) -> bool {
        self.store.find(Table::Edges, key).is_some()
            || self
                .store
                .find(Table::Attempts, key)
                .is_some_and(Counts::is_answered)
    }

    /// Attempts of this key, in both maps, that were neither answered nor refused.
    #[inline(never)]
    pub(super) fn open_attempts(&self, key: &Key) -> i64 {
        let open = |table| self.store.find(table, key).map_or(0, Counts::open);
        open(Table::Edges).wrapping_add(open(Table::Attempts))
    }

    /// Remembers an answer, so that it counts once however often it is sent.
    #[inline(always)]
    fn remember(&self, packet: &Packet, tag: Tag, now: u64) {
        let Some(set) = self.store.pending(tag.set()) else {
            return;
        };
        let sequence = if packet.key.protocol == TCP {
            packet.acknowledgement.wrapping_sub(1)
        } else {
            packet.acknowledgement
        };
        let index = self.interface.index;
        let handshake = Handshake::new(sequence, index, State::Answered, Counted::Attempts, now);
        set.remember(tag, handshake, now);
    }

    /// The pod's own later segment or COOKIE ECHO to an answer that was not seen. If `for_lost`, it also speaks for an
    /// attempt whose slot was lost.
    #[inline(never)]
    pub(super) fn count_proof(&self, packet: &mut Packet, for_lost: bool, now: u64) {
        packet.orient(self.side.sent_by_client());
        let tag = self.tag(packet);
        if let Some(handshake) = self.pending(tag) {
            if handshake.state() != State::Answered && follows(packet, handshake) {
                self.update(tag, handshake.with(State::Answered));
                self.count_unseen(&packet.key, handshake.counted(), now);
            }
        } else if for_lost && self.open_attempts(&packet.key) > 0 {
            self.count_unseen(&packet.key, Counted::Attempts, now);
        }
    }

    #[inline(always)]
    fn count_unseen(&self, key: &Key, counted: Counted, now: u64) {
        self.store.event(Event::UnseenAnswer);
        self.interface.stats.unseen_answers.bump();
        self.count_answer(key, counted, now);
    }
}

/// Whether a SYN-ACK, reset, INIT ACK or ABORT is about this handshake.
#[inline(always)]
pub(super) const fn acknowledges(packet: &Packet, handshake: Handshake) -> bool {
    let ahead = packet.acknowledgement.wrapping_sub(handshake.sequence());
    if packet.key.protocol == TCP {
        ahead >= 1 && ahead <= MAX_SYN_DATA
    } else {
        ahead == 0
    }
}

/// Whether a segment of the client comes after the SYN of this handshake. A COOKIE ECHO has no number to tell by.
#[inline(always)]
const fn follows(packet: &Packet, handshake: Handshake) -> bool {
    let ahead = packet.sequence.wrapping_sub(handshake.sequence());
    packet.key.protocol != TCP || (ahead >= 1 && ahead < 1 << 31)
}

#[inline(always)]
fn add(edge: &Counts, value: &EdgeValue) {
    if value.attempts != 0 {
        edge.attempt(value.last_seen);
    }
    edge.answer(value.last_seen);
}
