//! Dumps of the connection tracking table: `conntrack -L`, `conntrack -E`, and `/proc/net/nf_conntrack`.
//!
//! The original tuple of an entry tells the client and the direction, the reply tuple the server behind DNAT. A dump
//! tells no times, except that of `conntrack -E -o timestamp`.

use std::io::BufRead;
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol};

use super::edge::{Edge, is_one_host};
use super::lines;
use super::tally::Tally;
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
    let summary = lines::read(input, reader, bad, MAX_LINE, |line, summary| {
        match Entry::parse(line)? {
            Some(entry) => {
                let (edge, outcome) = entry.judge();
                tally.add(&edge, outcome, entry.at, &mut each);
            }
            None => summary.other += 1,
        }
        Ok(())
    })?;
    tally.finish(&mut each);
    Ok(summary)
}

/// One entry of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    at: Option<Timestamp>,
    protocol: Protocol,
    /// TCP's and SCTP's state, in the words of the dump.
    state: Option<String>,
    client: IpAddr,
    server: IpAddr,
    port: u16,
    unreplied: bool,
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
        let mut words = line.split_whitespace().peekable();
        let at = words.peek().and_then(|word| timestamp(word)).inspect(|_| {
            words.next();
        });
        let words: Vec<&str> = words.collect();
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
            protocol,
            state: words
                .iter()
                .find(|word| states.contains(word))
                .map(|word| (*word).to_owned()),
            client: client.to_canonical(),
            server: server.to_canonical(),
            port,
            unreplied: words.contains(&"[UNREPLIED]"),
            assured: words.contains(&"[ASSURED]"),
        }))
    }

    /// What the entry says of its edge. An entry that was replied to and is closed without ever having been assured
    /// was refused.
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

/// `[1700000000.123456]`, what `-o timestamp` begins a line with.
fn timestamp(word: &str) -> Option<Timestamp> {
    let number = word.strip_prefix('[')?.strip_suffix(']')?;
    let (seconds, micros) = number.split_once('.').unwrap_or((number, "0"));
    let micros: i32 = format!("{micros:0<6}").get(..6)?.parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, micros.checked_mul(1000)?).ok()
}
