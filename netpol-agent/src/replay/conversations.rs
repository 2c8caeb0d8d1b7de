//! From what was seen of single packets or flows to counts of edges.

use std::collections::HashSet;

use jiff::Timestamp;
use netpol_common::words::{Outcome, Protocol};

use super::datagrams::Datagrams;
use super::edge::{Socket, Tuple};
use super::handshakes::Handshakes;
use super::tally::{Each, Tally};

/// Conversations without an opening that are told apart; more are not counted.
const OLDER: usize = 1 << 16;

/// What a packet of TCP or SCTP means for the opening of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Signal {
    /// SYN or INIT, with the initial sequence number or the initiate tag where it is told.
    Open(Option<u32>),
    /// SYN-ACK or INIT-ACK.
    Accept,
    /// RST or ABORT.
    Reset,
    /// Anything else.
    Carry,
    /// The input does not tell.
    Untold,
}

/// Who opened a conversation, where the input tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sender {
    /// The sender of this packet.
    Client,
    /// The receiver of this packet.
    Server,
    /// Not told.
    Unknown,
}

/// A packet, or a flow that stands for some.
#[derive(Clone, Debug)]
pub(super) struct Passing {
    pub(super) at: Option<Timestamp>,
    pub(super) from: Socket,
    pub(super) to: Socket,
    pub(super) sender: Sender,
}

/// All conversations of an input.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    tally: Tally,
    handshakes: Handshakes,
    datagrams: Datagrams,
    /// Pairs of sockets that were met in the middle of their conversation.
    older: HashSet<(Protocol, Socket, Socket)>,
}

impl Conversations {
    /// A packet of TCP or SCTP.
    pub(super) fn signal(
        &mut self,
        protocol: Protocol,
        passing: &Passing,
        signal: Signal,
        each: Each<'_>,
    ) {
        let Passing {
            at,
            from,
            to,
            sender,
        } = passing;
        self.handshakes.pass(*at, (&mut self.tally, &mut *each));
        let sent = Tuple::new(from, to, protocol);
        let replied = Tuple::new(to, from, protocol);
        let into = (&mut self.tally, each);
        match (signal, sender) {
            (Signal::Open(isn), Sender::Client | Sender::Unknown) => {
                self.handshakes.open(sent, isn, *at, into);
            }
            (Signal::Accept, Sender::Server | Sender::Unknown) => {
                self.handshakes.answer(&replied, *at, into);
            }
            (Signal::Untold, Sender::Client) => self.handshakes.meet(sent, *at),
            (Signal::Untold, Sender::Unknown) if self.handshakes.knows(&sent) => {}
            (Signal::Reset, Sender::Client) => {}
            (Signal::Reset, _) => self.handshakes.refuse(&replied, into),
            (_, Sender::Client) => self.handshakes.answer(&sent, *at, into),
            (_, Sender::Server) => self.handshakes.answer(&replied, *at, into),
            _ if self.handshakes.knows(&sent) => self.handshakes.answer(&sent, *at, into),
            _ if self.handshakes.knows(&replied) => self.handshakes.answer(&replied, *at, into),
            _ => self.note_older(protocol, from, to),
        }
    }

    /// A datagram of UDP.
    pub(super) fn datagram(&mut self, passing: &Passing, each: Each<'_>) {
        let Passing {
            at,
            from,
            to,
            sender,
        } = passing;
        let of = |client, server| Tuple::new(client, server, Protocol::Udp);
        match sender {
            Sender::Client => self.datagrams.request(&of(from, to), *at, each),
            Sender::Server => self.datagrams.reply(&of(to, from), *at, each),
            Sender::Unknown => self.datagrams.pass(from, to, *at, each),
        }
    }

    /// The network says that what `client` sent to `server` did not arrive there, or was not allowed.
    pub(super) fn refuse(
        &mut self,
        protocol: Protocol,
        (client, server): (&Socket, &Socket),
        at: Option<Timestamp>,
        each: Each<'_>,
    ) {
        let tuple = Tuple::new(client, server, protocol);
        match protocol {
            Protocol::Udp if self.datagrams.knows(&tuple.edge) => {
                self.datagrams.refuse(&tuple, at, each);
            }
            Protocol::Udp => {}
            Protocol::Tcp | Protocol::Sctp => {
                self.handshakes.refuse(&tuple, (&mut self.tally, each));
            }
        }
    }

    /// Whether a packet of which the sender is not told goes back on a conversation that is known the other way round.
    pub(super) fn goes_back(&self, protocol: Protocol, passing: &Passing) -> bool {
        let sent = Tuple::new(&passing.from, &passing.to, protocol);
        let replied = Tuple::new(&passing.to, &passing.from, protocol);
        let knows = |tuple: &Tuple| match protocol {
            Protocol::Udp => self.datagrams.knows(&tuple.edge),
            Protocol::Tcp | Protocol::Sctp => self.handshakes.knows(tuple),
        };
        passing.sender == Sender::Unknown && !knows(&sent) && knows(&replied)
    }

    /// An attempt that was kept from leaving its host or arriving at the other.
    pub(super) fn drop_attempt(&mut self, protocol: Protocol, passing: &Passing, each: Each<'_>) {
        let tuple = Tuple::new(&passing.from, &passing.to, protocol);
        match protocol {
            Protocol::Udp => self.datagrams.refuse(&tuple, passing.at, each),
            Protocol::Tcp | Protocol::Sctp => {
                let mut into = |outcome| self.tally.add(&tuple.edge, outcome, passing.at, each);
                into(Outcome::Refused);
            }
        }
    }

    /// Sends everything on its way, and tells how many conversations are without an opening.
    pub(super) fn finish(mut self, each: Each<'_>) -> u64 {
        self.handshakes.finish((&mut self.tally, &mut *each));
        self.tally.finish(&mut *each);
        self.datagrams.finish(each);
        let tally = &self.tally;
        let untold = |(protocol, one, other): &&(Protocol, Socket, Socket)| {
            let ways = [(one, other), (other, one)];
            !ways
                .iter()
                .any(|(client, server)| tally.knows(&Tuple::new(client, server, *protocol).edge))
        };
        self.older.iter().filter(untold).count() as u64
    }

    fn note_older(&mut self, protocol: Protocol, from: &Socket, to: &Socket) {
        if self.older.len() < OLDER {
            let (one, other) = (from.min(to), from.max(to));
            self.older.insert((protocol, one.clone(), other.clone()));
        }
    }
}
