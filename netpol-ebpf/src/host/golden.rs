//! Golden packets: frames written down byte for byte, and what has to come of each. The file says how to read it.

use std::net::Ipv6Addr;

use netpol_common::abi::{Direction, EdgeKey, SCTP, TCP, UDP};

use crate::key::Side;
use crate::packet::{Kind, Packet, Stop, parse};
use crate::store::Table;

static PACKETS: &str = include_str!("../../tests/golden/packets.txt");

/// A packet and what has to come of it, in the words of the file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Golden {
    /// What it is.
    pub name: String,
    /// Which way it goes: `from-pod` or `to-pod`.
    pub side: String,
    /// What has to be read of it; compare with [`read`].
    pub read: String,
    /// The name of its fate.
    pub fate: String,
    /// What it makes on empty maps; compare with [`made`]. Empty: nothing.
    pub makes: String,
    /// From the Ethernet header on.
    pub frame: Vec<u8>,
}

/// All packets of the file.
///
/// # Errors
///
/// The line that cannot be read.
pub fn packets() -> Result<Vec<Golden>, String> {
    let mut packets: Vec<Golden> = Vec::new();
    for line in PACKETS.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            packets.push(Golden {
                name: name.to_owned(),
                ..Golden::default()
            });
        } else if !line.is_empty() && !line.starts_with('#') {
            let packet = packets.last_mut().ok_or(line)?;
            packet.take(line).ok_or(line)?;
        }
    }
    Ok(packets)
}

impl Golden {
    /// Which way the packet goes.
    #[must_use]
    pub fn side(&self) -> Side {
        if self.side == "from-pod" {
            Side::FromPod
        } else {
            Side::ToPod
        }
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (first, rest) = line.split_once(' ')?;
        let field = match first {
            "side" => &mut self.side,
            "read" => &mut self.read,
            "fate" => &mut self.fate,
            "makes" => &mut self.makes,
            _ => return self.take_bytes(line),
        };
        rest.trim().clone_into(field);
        Some(())
    }

    fn take_bytes(&mut self, line: &str) -> Option<()> {
        let (digits, _header) = line.split_once('|').unwrap_or((line, ""));
        let digits: Vec<u32> = digits
            .split_whitespace()
            .flat_map(str::chars)
            .map(|digit| digit.to_digit(16))
            .collect::<Option<_>>()?;
        let (pairs, []) = digits.as_chunks::<2>() else {
            return None;
        };
        for [high, low] in pairs {
            self.frame.push(u8::try_from(high << 4 | low).ok()?);
        }
        Some(())
    }
}

/// What can be read of a frame, in the words of the file.
#[must_use]
pub fn read(frame: &[u8], side: Side) -> String {
    let mut packet = Packet::default();
    let kind = match parse(&frame, side, &mut packet) {
        Ok(kind) => kind,
        Err(Stop::End(fate)) => return fate.name().to_owned(),
        Err(Stop::Short) => return "short".to_owned(),
        Err(Stop::Deep) => return "deep".to_owned(),
    };
    let Packet {
        flags,
        sequence,
        acknowledgement,
        ..
    } = packet;
    let ends = ends(&packet);
    match (kind, packet.key.protocol) {
        (Kind::Segment, _) => {
            format!(
                "{ends} flags {flags:#04x} sequence {sequence} acknowledgement {acknowledgement}"
            )
        }
        (Kind::Datagram, _) => ends,
        (Kind::Chunk, _) => {
            format!("{ends} chunk {flags} initiate {sequence} verification {acknowledgement}")
        }
        (Kind::Unreachable, TCP) => format!("unreachable {ends} sequence {sequence}"),
        (Kind::Unreachable, _) => format!("unreachable {ends}"),
    }
}

/// An entry of a map, in the words of the file.
#[must_use]
pub fn made(table: Table, key: &EdgeKey) -> String {
    let table = match table {
        Table::Edges => "edge",
        Table::Attempts => "attempt",
    };
    let direction = match Direction::from_raw(key.direction) {
        Ok(Direction::Egress) => "egress",
        Ok(Direction::Ingress) => "ingress",
        Err(_) => "of no direction",
    };
    let [local, remote] = [key.local, key.remote].map(|octets| address(octets.into()));
    format!(
        "{table} {direction} {} {local} {remote} {}",
        protocol(key.protocol),
        key.port
    )
}

fn ends(packet: &Packet) -> String {
    let key = packet.key.as_edge_key();
    let end = |octets: [u8; 16], port| match Ipv6Addr::from(octets).to_ipv4_mapped() {
        Some(address) => format!("{address}:{port}"),
        None => format!("[{}]:{port}", Ipv6Addr::from(octets)),
    };
    format!(
        "{} {} {}",
        protocol(key.protocol),
        end(key.local, packet.local_port),
        end(key.remote, packet.remote_port)
    )
}

fn address(address: Ipv6Addr) -> String {
    address
        .to_ipv4_mapped()
        .map_or_else(|| address.to_string(), |address| address.to_string())
}

fn protocol(number: u8) -> String {
    match number {
        TCP => "TCP".to_owned(),
        UDP => "UDP".to_owned(),
        SCTP => "SCTP".to_owned(),
        _ => format!("protocol {number}"),
    }
}
