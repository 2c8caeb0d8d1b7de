//! Pending handshakes: which attempts wait for an answer, so that each counts once however often it is sent.
//!
//! A fixed array of sets of four slots. A slot is two words: the hash of interface and tuple, and what is known of
//! the handshake. Two CPUs that use one slot in the same nanosecond may mix them up; every reader of a slot
//! therefore does no more harm with a wrong one than with none.

use crate::atomic::Word;
use crate::key::Key;

/// How many sets there are; a power of two.
pub const SETS: u32 = 4096;
/// Units of 2³⁰ ns after which a handshake is given up: a SYN is sent again for 127 s by default.
const LIFETIME: u16 = 120;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Four slots: one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Set {
    slots: [Slot; 4],
}

/// One handshake, or none while `tag` is 0.
#[derive(Debug, Default)]
#[repr(C)]
struct Slot {
    tag: Word,
    word: Word,
}

/// The hash of interface, direction, protocol, addresses and both ports. Never 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tag(u64);

/// Where an attempt was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Counted {
    Nowhere = 0,
    Attempts = 1,
    Edges = 2,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum State {
    Pending = 0,
    Answered = 1,
    Refused = 2,
}

/// What a slot says: from the lowest bit, 32 of sequence, 12 of interface slot, 2 of state, 2 of where it was counted,
/// 16 of time in 2³⁰ ns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Handshake(u64);

impl Tag {
    /// Hashes a key that says interface, direction, protocol, addresses and the server's port.
    #[inline(always)]
    pub(crate) fn new(seed: u64, key: &Key, client_port: u16) -> Self {
        let [a, b, c, d, e] = *key.words();
        // Spread over the word, so that it cannot stand in for another interface's handle.
        let port = u64::from(client_port).wrapping_mul(MULTIPLIER);
        let mut hash = mix(seed ^ port, a);
        hash = mix(hash, b);
        hash = mix(hash, c);
        hash = mix(hash, d);
        hash = mix(hash, e);
        Self(hash | 1)
    }

    /// The set where the handshake may be.
    #[inline(always)]
    pub(crate) const fn set(self) -> u32 {
        (self.0 >> 40) as u32 & (SETS - 1)
    }
}

#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 32)
}

impl Handshake {
    #[inline(always)]
    pub(crate) const fn new(
        sequence: u32,
        interface: u32,
        state: State,
        counted: Counted,
        now: u64,
    ) -> Self {
        Self(
            sequence as u64
                | ((interface as u64 & 0xfff) << 32)
                | ((state as u64) << 44)
                | ((counted as u64) << 46)
                | ((now >> 30) << 48),
        )
    }

    /// TCP: the client's initial sequence number. SCTP: its initiate tag. UDP: 0.
    #[inline(always)]
    pub(crate) const fn sequence(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(crate) const fn interface(self) -> u32 {
        (self.0 >> 32) as u32 & 0xfff
    }

    #[inline(always)]
    pub(crate) const fn state(self) -> State {
        match (self.0 >> 44) & 3 {
            0 => State::Pending,
            1 => State::Answered,
            _ => State::Refused,
        }
    }

    #[inline(always)]
    pub(crate) const fn counted(self) -> Counted {
        match (self.0 >> 46) & 3 {
            0 => Counted::Nowhere,
            1 => Counted::Attempts,
            _ => Counted::Edges,
        }
    }

    #[inline(always)]
    pub(crate) const fn with(self, state: State) -> Self {
        Self((self.0 & !(3 << 44)) | ((state as u64) << 44))
    }

    /// Whether it is not yet to be given up.
    #[inline(always)]
    pub(crate) const fn is_recent(self, now: u64) -> bool {
        self.age(now) < LIFETIME
    }

    /// Whether it still waits for an answer that may come.
    #[inline(always)]
    const fn is_alive(self, now: u64) -> bool {
        matches!(self.state(), State::Pending) && self.is_recent(now)
    }

    #[inline(always)]
    const fn age(self, now: u64) -> u16 {
        ((now >> 30) as u16).wrapping_sub((self.0 >> 48) as u16)
    }

    /// How dear the slot is: the one of the lowest price is given away. An attempt that no map counted would be
    /// forgotten with its slot, so it is dearest; of equals the oldest goes.
    #[inline(always)]
    const fn price(self, now: u64) -> u32 {
        let rank = match (self.is_alive(now), self.counted()) {
            (false, _) => 0,
            (true, Counted::Attempts | Counted::Edges) => 1,
            (true, Counted::Nowhere) => 2,
        };
        (rank << 16) | (u16::MAX - self.age(now)) as u32
    }
}

impl Slot {
    #[inline(always)]
    fn handshake(&self) -> Handshake {
        Handshake(self.word.load())
    }

    #[inline(always)]
    fn set(&self, handshake: Handshake) {
        self.word.store(handshake.0);
    }

    #[inline(always)]
    fn is(&self, tag: Tag) -> bool {
        self.tag.load() == tag.0
    }

    /// What it costs to put this tag here; see [`Handshake::price`].
    #[inline(always)]
    fn price(&self, tag: Tag, now: u64) -> u32 {
        let found = self.tag.load();
        if found == tag.0 {
            0
        } else if found == 0 {
            1
        } else {
            self.handshake().price(now) + 2
        }
    }

    /// What waited here and gives way to this tag.
    #[inline(always)]
    fn lost_to(&self, tag: Tag, now: u64) -> Option<Handshake> {
        let found = self.tag.load();
        let handshake = self.handshake();
        (found != 0 && found != tag.0 && handshake.is_alive(now)).then_some(handshake)
    }
}

impl Set {
    /// The handshake with this tag.
    ///
    /// It goes by value, and back by [`Self::update`]: the kernel's verifier would follow each of four pointers to the
    /// end of the program.
    #[inline(always)]
    pub(crate) fn find(&self, tag: Tag) -> Option<Handshake> {
        for slot in &self.slots {
            if slot.is(tag) {
                return Some(slot.handshake());
            }
        }
        None
    }

    /// Overwrites the handshake with this tag, if it still has a slot.
    #[inline(always)]
    pub(crate) fn update(&self, tag: Tag, handshake: Handshake) {
        for slot in &self.slots {
            if slot.is(tag) {
                slot.set(handshake);
                return;
            }
        }
    }

    /// Puts a handshake into its slot, or else the cheapest one. Gives the handshake that lost its slot while it was
    /// still waiting.
    #[inline(always)]
    pub(crate) fn put(&self, tag: Tag, handshake: Handshake, now: u64) -> Option<Handshake> {
        let slot = self.place(tag, now);
        let lost = slot.lost_to(tag, now);
        slot.set(handshake);
        slot.tag.store(tag.0);
        lost
    }

    /// Puts a handshake that is over into a slot that nothing waits in, if there is one.
    #[inline(always)]
    pub(crate) fn remember(&self, tag: Tag, handshake: Handshake, now: u64) {
        let slot = self.place(tag, now);
        if slot.lost_to(tag, now).is_none() {
            slot.set(handshake);
            slot.tag.store(tag.0);
        }
    }

    /// The slot with this tag, or else the cheapest.
    #[inline(always)]
    fn place(&self, tag: Tag, now: u64) -> &Slot {
        let [first, rest @ ..] = &self.slots;
        let mut place = (first, first.price(tag, now));
        for slot in rest {
            let price = slot.price(tag, now);
            if price < place.1 {
                place = (slot, price);
            }
        }
        place.0
    }
}

const _: () = assert!(size_of::<Set>() == 64 && netpol_common::abi::INTERFACE_SLOTS == 4096);
