//! IPv4 (RFC 791) and IPv6 (RFC 8200), down to the transport header.

use netpol_common::abi::{Fate, TCP};

use super::{Bytes, Packet, Stop, mapped, transport};
use crate::key::{MAPPED, Side};

/// Over IPv4 only.
pub(super) const ICMP: u32 = 1;
/// Over IPv6 only.
pub(super) const ICMPV6: u32 = 58;
/// How many IPv6 extension headers are followed.
const MAX_EXTENSIONS: u32 = 8;
/// Bytes of Ethernet before an untagged IP header.
const ETHERNET: u32 = 14;

/// The transport header of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transport {
    /// What it is: a `u8`, but of the size of the others, since the bpf target copies padding, which the verifier refuses.
    pub protocol: u32,
    /// Where it begins.
    pub at: u32,
    /// Where the packet ends by its own word.
    pub end: u32,
}

impl Transport {
    /// Refuses the protocol that belongs to the other family.
    #[inline(always)]
    fn unless(self, other: u32) -> Result<Self, Stop> {
        if self.protocol == other {
            return Err(Stop::End(Fate::OtherProtocol));
        }
        Ok(self)
    }
}

/// The fields of an IPv4 header that matter.
pub(super) struct V4 {
    pub(super) transport: Transport,
    pub(super) source: u32,
    pub(super) destination: u32,
}

/// The fields of an IPv6 header that matter.
pub(super) struct V6 {
    pub(super) transport: Transport,
    pub(super) source: [u32; 4],
    pub(super) destination: [u32; 4],
}

#[inline(always)]
pub(super) fn v4<B: Bytes>(
    bytes: &B,
    at: u32,
    side: Side,
    packet: &mut Packet,
) -> Result<Transport, Stop> {
    let V4 {
        transport,
        source,
        destination,
    } = header_v4(bytes, at)?;
    packet.set_addresses(side, mapped(source), mapped(destination));
    packet.key.protocol = transport.protocol as u8;
    transport.unless(ICMPV6)
}

#[inline(always)]
pub(super) fn v6<B: Bytes>(
    bytes: &B,
    at: u32,
    side: Side,
    packet: &mut Packet,
) -> Result<Transport, Stop> {
    let V6 {
        transport,
        source,
        destination,
    } = header_v6(bytes, at)?;
    packet.set_addresses(side, source, destination);
    packet.key.protocol = transport.protocol as u8;
    transport.unless(ICMP)
}

/// Reads an IPv4 header with its options.
#[inline(always)]
pub(super) fn header_v4<B: Bytes>(bytes: &B, at: u32) -> Result<V4, Stop> {
    let [first, fragment, protocol, source, destination] = bytes.words::<5>(at)?;
    let first = u32::from_be(first);
    let length = (first >> 24) & 0xf;
    if first >> 28 != 4 || length < 5 {
        return Err(Stop::End(Fate::Malformed));
    }
    if B::SHALLOW && length != 5 {
        return Err(Stop::Deep);
    }
    if u32::from_be(fragment) & 0x1fff != 0 {
        return Err(Stop::End(Fate::Fragment));
    }
    Ok(V4 {
        transport: Transport {
            protocol: (u32::from_be(protocol) >> 16) & 0xff,
            at: at + if B::SHALLOW { 20 } else { length * 4 },
            end: end(at, first & 0xffff),
        },
        source,
        destination,
    })
}

/// Reads an IPv6 header and follows its extension headers.
#[inline(always)]
pub(super) fn header_v6<B: Bytes>(bytes: &B, at: u32) -> Result<V6, Stop> {
    let [first, length, s0, s1, s2, s3, d0, d1, d2, d3] = bytes.words::<10>(at)?;
    if u32::from_be(first) >> 28 != 6 {
        return Err(Stop::End(Fate::Malformed));
    }
    let (source, destination) = ([s0, s1, s2, s3], [d0, d1, d2, d3]);
    if is_mapped(source) || is_mapped(destination) {
        return Err(Stop::End(Fate::Malformed));
    }
    let length = u32::from_be(length);
    let payload = at + 40;
    let (protocol, at) = if B::SHALLOW {
        ((length >> 8) & 0xff, payload)
    } else {
        bytes.extensions((length >> 8) & 0xff, payload)?
    };
    Ok(V6 {
        transport: Transport {
            protocol,
            at,
            end: end(payload, length >> 16),
        },
        source,
        destination,
    })
}

/// Does what [`Bytes::extensions`] says.
///
/// # Errors
///
/// As there.
#[inline(always)]
pub fn follow_extensions<B: Bytes>(
    bytes: &B,
    first: u32,
    payload: u32,
) -> Result<(u32, u32), Stop> {
    let (mut next, mut at) = (first, payload);
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
            return Ok((next, at));
        }
        let word = u32::from_be(bytes.words::<1>(at)?[0]);
        let length = (word >> 16) & 0xff;
        at += match next {
            FRAGMENT if word & 0xfff8 != 0 => return Err(Stop::End(Fate::Fragment)),
            FRAGMENT => 8,
            AUTHENTICATION => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        next = word >> 24;
    }
    if is_extension(next) {
        return Err(Stop::End(Fate::TooDeep));
    }
    Ok((next, at))
}

const FRAGMENT: u32 = 44;
/// RFC 4302; its length is in words less 2.
const AUTHENTICATION: u32 = 51;

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, Shim6 (the IANA list). Behind
/// ESP nothing can be read, so it is a protocol like any other.
#[inline(always)]
const fn is_extension(protocol: u32) -> bool {
    matches!(
        protocol,
        0 | 43 | FRAGMENT | AUTHENTICATION | 60 | 135 | 139 | 140
    )
}

/// Where a packet ends that says its length: 0 stands for one that does not fit the field (RFC 2675 and large offloaded
/// segments).
#[inline(always)]
const fn end(from: u32, length: u32) -> u32 {
    if length == 0 { u32::MAX } else { from + length }
}

#[inline(always)]
const fn is_mapped(address: [u32; 4]) -> bool {
    (address[0] | address[1]) == 0 && address[2] == MAPPED
}

#[inline(always)]
pub(super) fn is_plain_segment_v4<B: Bytes>(bytes: &B) -> bool {
    // One bound for both headers; words from the length on, so that the flags share the last one's load.
    let Ok([first, fragment, protocol, _, _, _, _, _, offset]) = bytes.words::<9>(ETHERNET) else {
        return false;
    };
    let first = u32::from_be(first);
    let length = first & 0xffff;
    first >> 24 == 0x45
        && (length >= 40 || length == 0)
        && u32::from_be(fragment) & 0x1fff == 0
        && (u32::from_be(protocol) >> 16) as u8 == TCP
        && transport::is_plain(offset)
}

#[inline(always)]
pub(super) fn is_plain_segment_v6<B: Bytes>(bytes: &B) -> bool {
    let Ok([first, length, s0, s1, s2, _, d0, d1, d2, _, _, _, _, offset]) =
        bytes.words::<14>(ETHERNET)
    else {
        return false;
    };
    let length = u32::from_be(length);
    u32::from_be(first) >> 28 == 6
        && (length >> 8) as u8 == TCP
        && (length >> 16 >= 20 || length >> 16 == 0)
        && !is_mapped([s0, s1, s2, 0])
        && !is_mapped([d0, d1, d2, 0])
        && transport::is_plain(offset)
}
