//! Reading headers: Ethernet, VLAN tags, IPv4, IPv6, TCP, UDP, SCTP and ICMP errors.

mod bytes;
mod icmp;
mod ip;
mod transport;

use netpol_common::abi::{self, Fate};

pub use bytes::{Bytes, Head};
pub use ip::{Transport, follow_extensions};

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
#[repr(u32)]
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

/// The IP header of a packet, by the byte where it begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// IPv4.
    V4(u32),
    /// IPv6.
    V6(u32),
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
    // The last step once for each family: if the two met in one place, the verifier would not know where they read.
    match parse_link(bytes, packet)? {
        Network::V4(at) => {
            let transport = ip::v4(bytes, at, side, packet)?;
            parse_transport(bytes, transport, side, packet)
        }
        Network::V6(at) => {
            let transport = ip::v6(bytes, at, side, packet)?;
            parse_transport(bytes, transport, side, packet)
        }
    }
}

/// The first step of [`parse`]: Ethernet and tags.
///
/// # Errors
///
/// As [`parse`].
#[inline(always)]
pub fn parse_link<B: Bytes>(bytes: &B, packet: &mut Packet) -> Result<Network, Stop> {
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
        IPV4 => Ok(Network::V4(at + 2)),
        IPV6 => Ok(Network::V6(at + 2)),
        _ => Err(Stop::End(Fate::NotIp)),
    }
}

/// The second step of [`parse`]: the IP header and all that belongs to it.
///
/// # Errors
///
/// As [`parse`].
#[inline(always)]
pub fn parse_network<B: Bytes>(
    bytes: &B,
    network: Network,
    side: Side,
    packet: &mut Packet,
) -> Result<Transport, Stop> {
    match network {
        Network::V4(at) => ip::v4(bytes, at, side, packet),
        Network::V6(at) => ip::v6(bytes, at, side, packet),
    }
}

/// The last step of [`parse`].
///
/// # Errors
///
/// As [`parse`].
#[inline(always)]
pub fn parse_transport<B: Bytes>(
    bytes: &B,
    transport: Transport,
    side: Side,
    packet: &mut Packet,
) -> Result<Kind, Stop> {
    const TCP: u32 = abi::TCP as u32;
    const UDP: u32 = abi::UDP as u32;
    const SCTP: u32 = abi::SCTP as u32;
    match transport.protocol {
        TCP => transport::tcp(bytes, transport, side, packet),
        UDP => transport::udp(bytes, transport, side, packet),
        _ if B::SHALLOW => Err(Stop::Deep),
        SCTP => transport::sctp(bytes, transport, side, packet),
        ip::ICMP => icmp::v4(bytes, transport, side, packet),
        ip::ICMPV6 => icmp::v6(bytes, transport, side, packet),
        _ => Err(Stop::End(Fate::OtherProtocol)),
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
