//! Attempts to open a connection, TCP's and SCTP's, until it is known what became of them.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use netpol_common::words::Outcome;

use super::edge::Tuple;
use super::tally::{Each, Tally};

/// How long an attempt is waited for, by the times of the input: as long as a host goes on sending SYNs.
const PATIENCE: SignedDuration = SignedDuration::from_secs(130);

/// Attempts held at most. Past it the oldest is decided as it stands.
const HELD: usize = 1 << 18;

/// Attempts of which more may be seen.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    attempts: HashMap<Tuple, Attempt>,
    /// In the order in which they were opened.
    opened: VecDeque<(Tuple, u64)>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    number: u64,
    /// The client's initial sequence number or SCTP's initiate tag, where the input tells it.
    isn: Option<u32>,
    at: Option<Timestamp>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Pending,
    /// Something of the client's was seen, and it is not told whether it opened the connection or used it.
    Untold,
    Refused,
    Answered,
}

impl Handshakes {
    /// The client asked for a connection. The same sequence number again is the same attempt; where it is not told,
    /// so is whatever comes while the former is waited for.
    pub(super) fn open(
        &mut self,
        tuple: Tuple,
        isn: Option<u32>,
        at: Option<Timestamp>,
        (tally, each): (&mut Tally, Each<'_>),
    ) {
        if let Some(known) = self.attempts.get(&tuple) {
            if known.isn.is_none() || isn.is_none() || known.isn == isn {
                return;
            }
            Self::settle(&tuple, *known, (tally, each));
        }
        self.insert(tuple, isn, at, State::Pending);
    }

    /// The client sent something: its opening, or what shows that it was answered.
    pub(super) fn meet(&mut self, tuple: Tuple, at: Option<Timestamp>) {
        if !self.attempts.contains_key(&tuple) {
            self.insert(tuple, None, at, State::Untold);
        }
    }

    /// Something showed that the server took the connection. Without a known attempt its opening was not seen.
    pub(super) fn answer(
        &mut self,
        tuple: &Tuple,
        at: Option<Timestamp>,
        (tally, each): (&mut Tally, Each<'_>),
    ) {
        let opened = match self.attempts.get_mut(tuple) {
            Some(attempt) if attempt.state == State::Answered => return,
            Some(attempt) => {
                attempt.state = State::Answered;
                attempt.at
            }
            None => {
                self.insert(tuple.clone(), None, at, State::Answered);
                at
            }
        };
        tally.add(&tuple.edge, Outcome::Established, opened, each);
    }

    /// The server, or the network, refused the connection, if it was still asked for.
    pub(super) fn refuse(&mut self, tuple: &Tuple, (tally, each): (&mut Tally, Each<'_>)) {
        let pending =
            |attempt: &&mut Attempt| matches!(attempt.state, State::Pending | State::Untold);
        if let Some(attempt) = self.attempts.get_mut(tuple).filter(pending) {
            attempt.state = State::Refused;
            tally.add(&tuple.edge, Outcome::Refused, attempt.at, each);
        }
    }

    /// Whether the conversation's opening was seen lately.
    pub(super) fn knows(&self, tuple: &Tuple) -> bool {
        self.attempts.contains_key(tuple)
    }

    /// Decides attempts that were waited for long enough.
    pub(super) fn pass(&mut self, now: Option<Timestamp>, (tally, each): (&mut Tally, Each<'_>)) {
        while let Some((tuple, number)) = self.opened.front() {
            let attempt = self.attempts.get(tuple).filter(|one| one.number == *number);
            let late = match (attempt.and_then(|attempt| attempt.at), now) {
                (Some(at), Some(now)) => now.duration_since(at) > PATIENCE,
                _ => attempt.is_none(),
            };
            if !late && self.opened.len() <= HELD {
                return;
            }
            self.drop_oldest((&mut *tally, &mut *each));
        }
    }

    /// Decides all attempts.
    pub(super) fn finish(&mut self, (tally, each): (&mut Tally, Each<'_>)) {
        while !self.opened.is_empty() {
            self.drop_oldest((&mut *tally, &mut *each));
        }
    }

    fn insert(&mut self, tuple: Tuple, isn: Option<u32>, at: Option<Timestamp>, state: State) {
        let number = self.next;
        self.next += 1;
        self.opened.push_back((tuple.clone(), number));
        let attempt = Attempt {
            number,
            isn,
            at,
            state,
        };
        self.attempts.insert(tuple, attempt);
    }

    fn drop_oldest(&mut self, to: (&mut Tally, Each<'_>)) {
        let Some((tuple, number)) = self.opened.pop_front() else {
            return;
        };
        let attempt = self.attempts.get(&tuple).copied();
        if let Some(attempt) = attempt.filter(|attempt| attempt.number == number) {
            Self::settle(&tuple, attempt, to);
            self.attempts.remove(&tuple);
        }
    }

    fn settle(tuple: &Tuple, attempt: Attempt, (tally, each): (&mut Tally, Each<'_>)) {
        let outcome = match attempt.state {
            State::Pending => Outcome::Unanswered,
            State::Untold => Outcome::Unknown,
            State::Refused | State::Answered => return,
        };
        tally.add(&tuple.edge, outcome, attempt.at, each);
    }
}
