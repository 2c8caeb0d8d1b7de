//! Dumps of the connection tracking table: `conntrack -L`, `conntrack -E`, and `/proc/net/nf_conntrack`.
//!
//! The original tuple of an entry tells the client and the direction, the reply tuple the server behind DNAT. A dump
//! tells no times, except that of `conntrack -E -o timestamp`. An entry of a table is one connection; of events, all
//! that are about one connection count once.

use std::io::BufRead;
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol};

use super::connections::{Connections, Event, Original};
use super::edge::{Edge, is_one_host};
use super::lines;
use super::tally::{Each, Tally};
use super::{ReplayError, Summary};
use crate::flows::{BadLines, MAX_LINE};

/// Reads a dump and hands on flow records. `input` is the name that errors give the input.
///
/// # Errors
///
/// [`ReplayError`] for the first line that is no entry, unless those are skipped.
pub fn read(
    input: &str,
    reader: impl BufRead,
    bad: BadLines,
    mut each: impl FnMut(FlowRecord),
) -> Result<Summary, ReplayError> {
    let mut tally = Tally::default();
    let mut connections = Connections::default();
    let summary = lines::read(input, reader, bad, MAX_LINE, |line, summary| {
        match Entry::parse(line)? {
            Some(entry) => {
                let (edge, outcome) = entry.judge();
                let into = (&mut tally, &mut each as Each<'_>);
                match entry.event {
                    Some(event) => {
                        let seen = (edge, outcome);
                        connections.tell(event, entry.original, seen, entry.at, into);
                    }
                    None => into.0.add(&edge, outcome, entry.at, into.1),
                }
            }
            None => summary.other += 1,
        }
        Ok(())
    })?;
    connections.finish((&mut tally, &mut each));
    tally.finish(&mut each);
    Ok(summary)
}

/// One entry of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    at: Option<Timestamp>,
    /// What happened to it, if the line tells an event.
    event: Option<Event>,
    original: Original,
    protocol: Protocol,
    /// TCP's and SCTP's state, in the words of the dump.
    state: Option<String>,
    client: IpAddr,
    server: IpAddr,
    port: u16,
    unreplied: bool,
    /// Seen established, and for that kept when the table is full.
    assured: bool,
}

/// `src=… dst=… sport=… dport=…`, once for each direction.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Entry {
    /// The entry of a line; nothing where it is of another protocol, or not between two hosts.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let (at, line) = timestamp(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        let (original, reply) = sides(&words)?;
        let Some(protocol) = words.iter().find_map(protocol) else {
            return Ok(None);
        };
        let missing = |what: &str| format!("an entry of conntrack without {what}");
        let client = original.source.ok_or_else(|| missing("src="))?;
        let addressed = original.destination.ok_or_else(|| missing("dst="))?;
        let addressed_port = original.destination_port.ok_or_else(|| missing("dport="))?;
        let server = reply.source.unwrap_or(addressed);
        let port = reply.source_port.unwrap_or(addressed_port);
        let original = Original {
            protocol,
            source: (client, original.source_port.unwrap_or_default()),
            destination: (addressed, addressed_port),
        };
        if port == 0 || !is_one_host(client) || !is_one_host(server) {
            return Ok(None);
        }
        let states = [
            "NONE",
            "SYN_SENT",
            "SYN_RECV",
            "ESTABLISHED",
            "FIN_WAIT",
            "CLOSE_WAIT",
            "LAST_ACK",
            "TIME_WAIT",
            "CLOSE",
            "SYN_SENT2",
            "CLOSED",
            "COOKIE_WAIT",
            "COOKIE_ECHOED",
            "SHUTDOWN_SENT",
            "SHUTDOWN_RECD",
            "SHUTDOWN_ACK_SENT",
            "HEARTBEAT_SENT",
            "HEARTBEAT_ACKED",
        ];
        Ok(Some(Self {
            at,
            event: words.first().and_then(event),
            original,
            protocol,
            state: words
                .iter()
                .find(|word| states.contains(word))
                .map(|word| (*word).to_owned()),
            client: client.to_canonical(),
            server: server.to_canonical(),
            port,
            unreplied: words.contains(&"[UNREPLIED]"),
            // What a flow table has taken over shows neither its state nor that it is assured.
            assured: ["[ASSURED]", "[OFFLOAD]", "[HW_OFFLOAD]"]
                .iter()
                .any(|flag| words.contains(flag)),
        }))
    }

    /// What the entry says of its edge. An entry that was replied to and is closed without ever having been assured
    /// was refused; where the state is not told, as of a connection that ended, it is not known whether it was.
    fn judge(&self) -> (Edge, Outcome) {
        let opening = |state: &str| {
            matches!(
                state,
                "NONE" | "SYN_SENT" | "SYN_SENT2" | "COOKIE_WAIT" | "COOKIE_ECHOED"
            )
        };
        let outcome = match (self.protocol, self.state.as_deref()) {
            (Protocol::Udp, _) if self.unreplied => Outcome::OneWay,
            (Protocol::Udp, _) => Outcome::Established,
            (_, Some("CLOSE" | "CLOSED")) if !self.assured && !self.unreplied => Outcome::Refused,
            (_, Some(state)) if opening(state) => Outcome::Unanswered,
            _ if self.unreplied => Outcome::Unanswered,
            (_, None) if !self.assured => Outcome::Unknown,
            _ => Outcome::Established,
        };
        let edge = Edge {
            client: Endpoint::Ip(self.client),
            server: Endpoint::Ip(self.server),
            protocol: self.protocol,
            port: self.port,
        };
        (edge, outcome)
    }
}

/// The original and the reply tuple. A field that comes again belongs to the reply.
fn sides(words: &[&str]) -> Result<(Side, Side), String> {
    let (mut original, mut reply) = (Side::default(), Side::default());
    let mut known = false;
    for word in words {
        let Some((field, value)) = word.split_once('=') else {
            continue;
        };
        match field {
            "src" => {
                known = true;
                put((&mut original.source, &mut reply.source), field, value)?;
            }
            "dst" => put(
                (&mut original.destination, &mut reply.destination),
                field,
                value,
            )?,
            "sport" => put(
                (&mut original.source_port, &mut reply.source_port),
                field,
                value,
            )?,
            "dport" => put(
                (&mut original.destination_port, &mut reply.destination_port),
                field,
                value,
            )?,
            _ => {}
        }
    }
    match known {
        true => Ok((original, reply)),
        false => Err("not an entry of conntrack: there is no src=".to_owned()),
    }
}

fn put<T: std::str::FromStr>(
    (first, second): (&mut Option<T>, &mut Option<T>),
    field: &str,
    value: &str,
) -> Result<(), String> {
    let parsed = value
        .parse()
        .map_err(|_| format!("{field}={value} cannot be read"))?;
    match first {
        None => *first = Some(parsed),
        Some(_) => *second = Some(parsed),
    }
    Ok(())
}

fn protocol(word: &&str) -> Option<Protocol> {
    match *word {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// What kind of event a line begins with.
fn event(word: &&str) -> Option<Event> {
    match *word {
        "[NEW]" => Some(Event::New),
        "[UPDATE]" => Some(Event::Update),
        "[DESTROY]" => Some(Event::Destroy),
        _ => None,
    }
}

/// The time that `-o timestamp` begins a line with, and what follows it. Behind the dot is the number of microseconds,
/// filled up with blanks: `[1700000000.5     ]` is five of them.
fn timestamp(line: &str) -> (Option<Timestamp>, &str) {
    let inside = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let Some((number, rest)) = inside else {
        return (None, line);
    };
    let time = || {
        let (seconds, micros) = number.split_once('.')?;
        let micros: i32 = micros.trim().parse().ok()?;
        Timestamp::new(seconds.trim().parse().ok()?, micros.checked_mul(1000)?).ok()
    };
    match time() {
        Some(at) => (Some(at), rest),
        None => (None, line),
    }
}
