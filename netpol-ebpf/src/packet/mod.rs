//! Reading headers: Ethernet, VLAN tags, IPv4, IPv6, TCP, UDP, SCTP and ICMP errors.

mod bytes;
mod icmp;
mod ip;
mod transport;

use netpol_common::abi::Fate;

pub use bytes::{Bytes, Head};

use crate::key::{Key, MAPPED, Side};

/// How many VLAN tags are followed inside the packet; the outermost is in its metadata already.
const MAX_TAGS: u32 = 2;
const ETHERTYPE: u32 = 12;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad.
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// What a packet is, as far as edges care.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// TCP.
    Segment,
    /// UDP.
    Datagram,
    /// SCTP that begins with one of the chunks of [`chunk`].
    Chunk,
    /// ICMP or ICMPv6 unreachable; the packet's fields are those of the packet that it embeds.
    Unreachable,
}

/// The fields of a packet that edges care about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Packet {
    /// Protocol and addresses; the rest is for decisions to fill in.
    pub key: Key,
    /// The port on the pod's side.
    pub local_port: u16,
    /// The port on the other side.
    pub remote_port: u16,
    /// TCP: the flags; SCTP: the type of the first chunk.
    pub flags: u8,
    /// Whether the frame goes to a group of stations.
    pub group: bool,
    /// TCP: the sequence number; SCTP INIT and INIT-ACK: the initiate tag.
    pub sequence: u32,
    /// TCP: the acknowledgement number; SCTP: the verification tag.
    pub acknowledgement: u32,
}

/// Why a packet was not read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The source has no more bytes.
    Short,
    /// The source is shallow, and the packet is not.
    Deep,
    /// There is nothing about it that edges care about.
    End(Fate),
}

/// The control bits of TCP (RFC 9293, 3.1).
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 16;
}

/// The SCTP chunks that open, answer and refuse (RFC 9260, 3.2).
pub mod chunk {
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// ABORT.
    pub const ABORT: u8 = 6;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
}

/// Reads a packet that goes past the interface on `side`.
///
/// # Errors
///
/// [`Stop`], whose fate is the packet's.
#[inline(always)]
pub fn parse<B: Bytes>(bytes: &B, side: Side, packet: &mut Packet) -> Result<Kind, Stop> {
    let [first] = bytes.words::<1>(0)?;
    packet.group = first.to_ne_bytes()[0] & 1 != 0;
    let mut at = ETHERTYPE;
    let mut ethertype = bytes.half(at)?;
    if B::SHALLOW && TAGS.contains(&ethertype) {
        return Err(Stop::Deep);
    }
    let mut tags = 0;
    while !B::SHALLOW && TAGS.contains(&ethertype) {
        if tags == MAX_TAGS {
            return Err(Stop::End(Fate::TooDeep));
        }
        tags += 1;
        at += 4;
        ethertype = bytes.half(at)?;
    }
    match ethertype {
        IPV4 => ip::v4(bytes, at + 2, side, packet),
        IPV6 => ip::v6(bytes, at + 2, side, packet),
        _ => Err(Stop::End(Fate::NotIp)),
    }
}

/// Whether this is, beyond doubt and at first glance, a well-formed TCP segment without SYN, FIN and RST: untagged, no
/// IPv4 options, no IPv6 extension headers. Everything else is for [`parse`].
#[inline(always)]
pub fn is_plain_segment<B: Bytes>(bytes: &B) -> bool {
    match bytes.half(ETHERTYPE) {
        Ok(IPV4) => ip::is_plain_segment_v4(bytes),
        Ok(IPV6) => ip::is_plain_segment_v6(bytes),
        _ => false,
    }
}

impl Packet {
    /// Whether this is a TCP segment without SYN, FIN and RST.
    #[must_use]
    #[inline(always)]
    pub const fn is_plain_segment(&self) -> bool {
        self.flags & (flag::SYN | flag::FIN | flag::RST) == 0
    }

    /// Sets the addresses of a packet on `side`.
    #[inline(always)]
    fn set_addresses(&mut self, side: Side, source: [u32; 4], destination: [u32; 4]) {
        (self.key.local, self.key.remote) = match side {
            Side::FromPod => (source, destination),
            Side::ToPod => (destination, source),
        };
    }

    /// Sets the ports of a packet on `side` from the first word of its transport header.
    #[inline(always)]
    fn set_ports(&mut self, side: Side, word: u32) {
        let ports = u32::from_be(word);
        let (source, destination) = ((ports >> 16) as u16, ports as u16);
        (self.local_port, self.remote_port) = match side {
            Side::FromPod => (source, destination),
            Side::ToPod => (destination, source),
        };
    }
}

/// An IPv4 address as IPv4-mapped.
#[inline(always)]
const fn mapped(address: u32) -> [u32; 4] {
    [0, 0, MAPPED, address]
}
