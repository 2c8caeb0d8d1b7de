//! Frames of a packet capture, as far as edges go: addresses, ports, and what opens or refuses a connection.

use std::net::IpAddr;

use etherparse::{EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket};
use netpol_common::record::Endpoint;
use netpol_common::words::Protocol;

use super::conversations::Signal;
use super::edge::{Socket, is_one_host};

/// What a frame carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Frame {
    /// A segment of TCP, or the first chunk of an SCTP packet.
    Signal(Protocol, Socket, Socket, Signal),
    /// A datagram of UDP.
    Datagram(Socket, Socket),
    /// ICMP or ICMPv6 unreachable, with the sockets of the packet that did not arrive: sender and addressee.
    Unreachable(Protocol, Socket, Socket),
    /// Anything else.
    Other,
}

/// How a capture's frames begin: the link types of pcap that carry IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    Ethernet,
    /// Begins with IPv4 or IPv6.
    Ip,
    /// Four bytes, then IP (BSD loopback).
    Null,
    /// Linux "cooked" capture: the EtherType at byte 14, IP from byte 16 on.
    Cooked,
    /// Linux "cooked" capture, version 2: the EtherType at byte 0, IP from byte 20 on.
    Cooked2,
}

impl Link {
    /// The link of a `LINKTYPE_` number as <https://www.tcpdump.org/linktypes.html> lists them; the number, where that
    /// type is not read.
    pub(super) fn of(number: i32) -> Result<Self, i32> {
        Ok(match number {
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            0 | 108 => Self::Null,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            _ => return Err(number),
        })
    }
}

impl Frame {
    /// Reads as much as is there: a frame may be cut off.
    pub(super) fn parse(link: Link, bytes: &[u8]) -> Self {
        network(link, bytes)
            .and_then(|packet| Self::of_packet(&packet, true))
            .unwrap_or(Self::Other)
    }

    fn of_packet(packet: &LaxSlicedPacket<'_>, outermost: bool) -> Option<Self> {
        let (source, destination, later_fragment) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let later = header.fragments_offset().value() > 0;
                (
                    IpAddr::V4(header.source_addr()),
                    IpAddr::V4(header.destination_addr()),
                    later,
                )
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                (
                    IpAddr::V6(header.source_addr()),
                    IpAddr::V6(header.destination_addr()),
                    is_later_fragment(ip),
                )
            }
            LaxNetSlice::Arp(_) => return None,
        };
        if later_fragment || !is_one_host(source) || !is_one_host(destination) {
            return None;
        }
        let ip = packet.net.as_ref()?.ip_payload_ref()?;
        let sockets = |bytes: &[u8]| {
            let ports = (be16(bytes, 0)?, be16(bytes, 2)?);
            let end = |address: IpAddr| Endpoint::Ip(address.to_canonical());
            let sockets = (
                Socket::new(end(source), ports.0),
                Socket::new(end(destination), ports.1),
            );
            (ports.0 != 0 && ports.1 != 0).then_some(sockets)
        };
        match ip.ip_number {
            IpNumber::TCP => {
                let (from, to) = sockets(ip.payload)?;
                let signal = match outermost {
                    true => tcp(ip.payload)?,
                    false => Signal::Carry,
                };
                Some(Self::Signal(Protocol::Tcp, from, to, signal))
            }
            IpNumber::SCTP => {
                let (from, to) = sockets(ip.payload)?;
                let signal = match outermost {
                    true => sctp(ip.payload)?,
                    false => Signal::Carry,
                };
                Some(Self::Signal(Protocol::Sctp, from, to, signal))
            }
            IpNumber::UDP => sockets(ip.payload).map(|(from, to)| Self::Datagram(from, to)),
            IpNumber::ICMP | IpNumber::IPV6_ICMP if outermost => {
                unreachable(ip.ip_number, ip.payload)
            }
            _ => None,
        }
    }
}

/// The packet behind the link's header. What does not parse to the end is read as far as it goes.
fn network(link: Link, bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let typed = |at: usize, from: usize| {
        let ether_type = EtherType(be16(bytes, at)?);
        Some(LaxSlicedPacket::from_ether_type(
            ether_type,
            bytes.get(from..)?,
        ))
    };
    match link {
        Link::Ethernet => LaxSlicedPacket::from_ethernet(bytes).ok(),
        Link::Ip => LaxSlicedPacket::from_ip(bytes).ok(),
        Link::Null => LaxSlicedPacket::from_ip(bytes.get(4..)?).ok(),
        Link::Cooked => typed(14, 16),
        Link::Cooked2 => typed(0, 20),
    }
}

/// The packet that an ICMP error embeds, if the error says that it did not arrive (RFC 792, RFC 4443).
fn unreachable(icmp: IpNumber, message: &[u8]) -> Option<Frame> {
    let unreachable = match icmp {
        IpNumber::ICMP => 3,
        _ => 1,
    };
    if *message.first()? != unreachable {
        return None;
    }
    let embedded = LaxSlicedPacket::from_ip(message.get(8..)?).ok()?;
    match Frame::of_packet(&embedded, false)? {
        Frame::Signal(protocol, from, to, _) => Some(Frame::Unreachable(protocol, from, to)),
        Frame::Datagram(from, to) => Some(Frame::Unreachable(Protocol::Udp, from, to)),
        _ => None,
    }
}

/// RFC 9293, section 3.1.
fn tcp(segment: &[u8]) -> Option<Signal> {
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    let flags = *segment.get(13)?;
    Some(match flags & (SYN | RST | ACK) {
        SYN => Signal::Open(be32(segment, 4)),
        flags if flags & RST != 0 => Signal::Reset,
        flags if flags == SYN | ACK => Signal::Accept,
        _ => Signal::Carry,
    })
}

/// RFC 9260, section 3: the type of the first chunk.
fn sctp(packet: &[u8]) -> Option<Signal> {
    Some(match *packet.get(12)? {
        1 => Signal::Open(be32(packet, 16)),
        2 => Signal::Accept,
        6 => Signal::Reset,
        _ => Signal::Carry,
    })
}

/// Whether a fragment header says that the packet is not the first fragment: it then begins with no ports.
fn is_later_fragment(ip: &etherparse::LaxIpv6Slice<'_>) -> bool {
    ip.extensions().clone().into_iter().any(|extension| {
        matches!(extension, etherparse::Ipv6ExtensionSlice::Fragment(fragment) if fragment.fragment_offset().value() > 0)
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
