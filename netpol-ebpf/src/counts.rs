//! Map values that several CPUs add to at once.

use netpol_common::abi::{EdgeValue, InterfaceStats};

use crate::atomic::Word;

/// An [`EdgeValue`] in its map.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counts {
    attempts: Word,
    answered: Word,
    refused: Word,
    first_seen: Word,
    last_seen: Word,
}

/// An [`InterfaceStats`] in its map; the fields are described there.
#[derive(Debug, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "described at InterfaceStats")]
pub struct Stats {
    pub attempts_made: Counter,
    pub edges_lost: Counter,
    pub attempts_lost: Counter,
    pub attempts_recovered: Counter,
    pub slots_lost: Counter,
    pub other_protocol: Counter,
    pub handshakes_from_pod: Counter,
    pub handshakes_to_pod: Counter,
    pub unseen_answers: Counter,
    last_attempt: Word,
}

/// A count that only grows.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(Word);

impl Counter {
    /// Adds one.
    #[inline(always)]
    pub fn bump(&self) {
        self.0.increment();
    }

    /// What it stands at.
    #[must_use]
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load()
    }
}

impl Stats {
    /// What user space would read.
    #[must_use]
    pub fn value(&self) -> InterfaceStats {
        InterfaceStats {
            attempts_made: self.attempts_made.get(),
            edges_lost: self.edges_lost.get(),
            attempts_lost: self.attempts_lost.get(),
            attempts_recovered: self.attempts_recovered.get(),
            slots_lost: self.slots_lost.get(),
            other_protocol: self.other_protocol.get(),
            handshakes_from_pod: self.handshakes_from_pod.get(),
            handshakes_to_pod: self.handshakes_to_pod.get(),
            unseen_answers: self.unseen_answers.get(),
            last_attempt: self.last_attempt.load(),
        }
    }

    /// Notes that the pod began a handshake.
    #[inline(always)]
    pub fn began(&self, now: u64) {
        self.last_attempt.store(now);
    }

    /// Whether the pod began a handshake within the last `span` nanoseconds.
    #[must_use]
    #[inline(always)]
    pub fn began_within(&self, span: u64, now: u64) -> bool {
        now.saturating_sub(self.last_attempt.load()) < span
    }
}

impl Counts {
    /// The counts of a new entry.
    #[must_use]
    pub fn new(value: &EdgeValue) -> Self {
        Self {
            attempts: Word::new(value.attempts),
            answered: Word::new(value.answered),
            refused: Word::new(value.refused),
            first_seen: Word::new(value.first_seen),
            last_seen: Word::new(value.last_seen),
        }
    }

    /// One more attempt, or datagram of the client.
    #[inline(always)]
    pub fn attempt(&self, now: u64) {
        self.attempts.increment();
        self.last_seen.store(now);
    }

    /// One more answer, or datagram of the server.
    #[inline(always)]
    pub fn answer(&self, now: u64) {
        self.answered.increment();
        self.last_seen.store(now);
    }

    /// One more refusal.
    #[inline(always)]
    pub fn refuse(&self, now: u64) {
        self.refused.increment();
        self.last_seen.store(now);
    }

    /// Whether there ever was an answer.
    #[must_use]
    #[inline(always)]
    pub fn is_answered(&self) -> bool {
        self.answered.load() != 0
    }

    /// Attempts less answers and refusals; below 0 in a map whose attempts were counted in the other.
    #[must_use]
    #[inline(always)]
    pub fn open(&self) -> i64 {
        let settled = self.answered.load().wrapping_add(self.refused.load());
        self.attempts.load().wrapping_sub(settled).cast_signed()
    }

    /// What user space would read.
    #[must_use]
    pub fn value(&self) -> EdgeValue {
        EdgeValue {
            attempts: self.attempts.load(),
            answered: self.answered.load(),
            refused: self.refused.load(),
            first_seen: self.first_seen.load(),
            last_seen: self.last_seen.load(),
        }
    }
}

const _: () = {
    assert!(size_of::<Counts>() == EdgeValue::SIZE);
    assert!(size_of::<Stats>() == InterfaceStats::SIZE);
};
