//! Attempts: each counted once, under the interface's quota where the edge is not known.

use netpol_common::abi::{EdgeValue, Event};

use super::Scene;
use crate::key::{Key, Side};
use crate::packet::Packet;
use crate::pending::{Counted, Handshake, State, Tag};
use crate::store::{Inserted, Store, Table};

impl<S: Store> Scene<'_, S> {
    /// A SYN or INIT.
    #[inline(always)]
    pub(super) fn attempt(&self, packet: &mut Packet) {
        packet.orient(self.side.sent_by_client());
        let tag = self.tag(packet);
        let known = self.pending(tag);
        if known.is_some_and(|known| known.sequence() == packet.sequence) {
            self.store.event(Event::Retransmission);
            return;
        }
        let now = self.store.now();
        let counted = self.count_attempt(&packet.key, now);
        self.wait(tag, packet.sequence, counted, now);
        if self.side == Side::FromPod && self.interface.config.one_sided() {
            self.interface.stats.began(now);
        }
    }

    /// Counts an attempt in the map where its key is, or makes it an entry of `ATTEMPTS`.
    #[inline(always)]
    fn count_attempt(&self, key: &Key, now: u64) -> Counted {
        if let Some(edge) = self.store.find(Table::Edges, key) {
            edge.attempt(now);
            return Counted::Edges;
        }
        if let Some(attempts) = self.store.find(Table::Attempts, key) {
            attempts.attempt(now);
            return Counted::Attempts;
        }
        self.make_attempt(key, now)
    }

    /// Makes an entry of `ATTEMPTS` for a key that no map has.
    #[inline(never)]
    pub(super) fn make_attempt(&self, key: &Key, now: u64) -> Counted {
        let stats = self.interface.stats;
        let config = self.interface.config;
        let held = stats.attempts_made.get().saturating_sub(config.freed);
        let made = if held < u64::from(config.quota) {
            let value = EdgeValue {
                attempts: 1,
                answered: 0,
                // Of two zeros side by side the bpf target makes a call of memset: a loop over bytes, which is slow and
                // which the verifier refuses without CAP_PERFMON.
                refused: core::hint::black_box(0),
                first_seen: now,
                last_seen: now,
            };
            self.store.insert(Table::Attempts, key, &value)
        } else {
            Inserted::Full
        };
        match made {
            Inserted::Made => {
                stats.attempts_made.bump();
                self.store.event(Event::AttemptMade);
                return Counted::Attempts;
            }
            // Another CPU was first.
            Inserted::Exists => {
                if let Some(attempts) = self.store.find(Table::Attempts, key) {
                    attempts.attempt(now);
                    return Counted::Attempts;
                }
            }
            Inserted::Full => {}
        }
        stats.attempts_lost.bump();
        self.store.event(Event::AttemptLost);
        Counted::Nowhere
    }

    /// Lets a handshake wait for its answer.
    #[inline(never)]
    pub(super) fn wait(&self, tag: Tag, sequence: u32, counted: Counted, now: u64) {
        let Some(set) = self.store.pending(tag.set()) else {
            return;
        };
        let index = self.interface.index;
        let handshake = Handshake::new(sequence, index, State::Pending, counted, now);
        let Some(lost) = set.put(tag, handshake, now) else {
            return;
        };
        self.store.event(Event::SlotLost);
        if let Some(stats) = self.store.stats(lost.interface()) {
            stats.slots_lost.bump();
        }
    }
}
