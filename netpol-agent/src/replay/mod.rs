//! Replay: flow records from what other tools captured, for the same graph code as our own records.
//!
//! [`pcap`] reads packet captures, [`hubble`] the JSON that Hubble exports, [`conntrack`] dumps of the connection
//! tracking table. Each hands [`FlowRecord`](netpol_common::record::FlowRecord)s on as it reads, one for each edge,
//! outcome and hour in a row, so that what is held grows with the number of distinct edges and not with the input. The
//! same input gives the same records in the same order.

mod connections;
pub mod conntrack;
mod conversations;
mod datagrams;
mod edge;
mod frame;
mod handshakes;
pub mod hubble;
mod lines;
pub mod pcap;
mod tally;

use std::collections::BTreeMap;

/// What was read, and what of it made no edge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Packets, flows or lines that were looked at.
    pub read: u64,
    /// Of these, what is no unicast TCP, UDP or SCTP between two hosts, or does not show its ports.
    pub other: u64,
    /// Of these, what Hubble tells besides: what a socket asked for before its address was translated, replies that
    /// were dropped, and notices that are about no flow.
    pub aside: u64,
    /// Packets of link types that are not read, by the number of the type; none where an interface had no packet.
    pub unread: BTreeMap<i32, u64>,
    /// TCP and SCTP conversations of which the opening is not in the input, so that who opened them cannot be told.
    /// They make no edge.
    pub older: u64,
    /// Events that the input itself says were lost before they were written.
    pub lost: u64,
    /// Lines that were skipped because they cannot be read, and the first of them with the reason.
    pub skipped: u64,
    /// The first line, packet or block that was skipped, counted from 1, and why.
    pub first_skipped: Option<(u64, String)>,
}

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Neither pcap nor pcapng.
    #[error("{input} is no packet capture: it begins like neither pcap nor pcapng")]
    NoCapture {
        /// The file, or how else the input is called.
        input: String,
    },
    /// No interface of a capture has a link type that is read.
    #[error(
        "{input} is of link type {links}, which is not read: Ethernet, raw IP, BSD loopback and Linux cooked (tcpdump -i any) are"
    )]
    Links {
        /// The file, or how else the input is called.
        input: String,
        /// The numbers of the link types.
        links: String,
    },
    /// A capture that ends within a packet, as one that is stopped does.
    #[error(
        "{input}, packet {number}: the capture breaks off here; with --skip-bad-lines what is before it is taken"
    )]
    BreaksOff {
        /// The file, or how else the input is called.
        input: String,
        /// Which packet, from 1 on.
        number: u64,
    },
    /// A packet, block or line that cannot be read.
    #[error("{input}, {unit} {number}: {problem}")]
    Bad {
        /// The file, or how else the input is called.
        input: String,
        /// What is counted: `packet` or `line`.
        unit: &'static str,
        /// Which, from 1 on.
        number: u64,
        /// What is wrong.
        problem: String,
    },
    /// The input broke off.
    #[error("{input} cannot be read after {unit} {number}")]
    Read {
        /// The file, or how else the input is called.
        input: String,
        /// What is counted: `packet` or `line`.
        unit: &'static str,
        /// The last one that was read.
        number: u64,
        /// Why.
        source: std::io::Error,
    },
}

/// How many link types are named.
const NAMED: usize = 4;

impl Summary {
    /// The numbers of the link types that are not read, in words.
    #[must_use]
    pub fn unread_links(&self) -> String {
        let named: Vec<String> = self.unread.keys().take(NAMED).map(i32::to_string).collect();
        let more = self.unread.len().saturating_sub(NAMED);
        match more {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    fn skip(&mut self, number: u64, problem: String) {
        self.skipped += 1;
        self.first_skipped.get_or_insert((number, problem));
    }
}
