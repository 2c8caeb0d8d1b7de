//! ICMP (RFC 792) and ICMPv6 (RFC 4443) unreachable, and the packet that they embed.

use netpol_common::abi::{Fate, SCTP, TCP, UDP};

use super::ip::{self, Transport, V4, V6};
use super::{Bytes, Kind, Packet, Stop, mapped};
use crate::key::Side;

/// "Destination unreachable" of each family.
const UNREACHABLE_V4: u8 = 3;
const UNREACHABLE_V6: u8 = 1;
/// "Fragmentation needed": the path's size, not a refusal (RFC 1191).
const FRAGMENTATION_NEEDED: u8 = 4;
/// Bytes before the embedded packet.
const HEADER: u32 = 8;

#[inline(always)]
pub(super) fn v4<B: Bytes>(
    bytes: &B,
    outer: Transport,
    side: Side,
    packet: &mut Packet,
) -> Result<Kind, Stop> {
    let (kind, code) = head(bytes, outer)?;
    if kind != UNREACHABLE_V4 || code == FRAGMENTATION_NEEDED {
        return Err(Stop::End(Fate::Icmp));
    }
    let V4 {
        transport,
        source,
        destination,
    } = ip::header_v4(bytes, outer.at + HEADER).map_err(plain)?;
    embedded(
        bytes,
        side,
        packet,
        transport,
        mapped(source),
        mapped(destination),
    )
}

#[inline(always)]
pub(super) fn v6<B: Bytes>(
    bytes: &B,
    outer: Transport,
    side: Side,
    packet: &mut Packet,
) -> Result<Kind, Stop> {
    let (kind, _) = head(bytes, outer)?;
    if kind != UNREACHABLE_V6 {
        return Err(Stop::End(Fate::Icmp));
    }
    let V6 {
        transport,
        source,
        destination,
    } = ip::header_v6(bytes, outer.at + HEADER).map_err(plain)?;
    embedded(bytes, side, packet, transport, source, destination)
}

/// Type and code.
#[inline(always)]
fn head<B: Bytes>(bytes: &B, Transport { at, end, .. }: Transport) -> Result<(u8, u8), Stop> {
    let [word] = bytes.words::<1>(at)?;
    if at + HEADER > end {
        return Err(Stop::End(Fate::Malformed));
    }
    let word = u32::from_be(word);
    Ok(((word >> 24) as u8, (word >> 16) as u8))
}

/// Reads the ports of the embedded packet, of which 8 bytes of transport header are sure (RFC 792). It went the other
/// way than the error does, and the error must go to its sender.
#[inline(always)]
fn embedded<B: Bytes>(
    bytes: &B,
    side: Side,
    packet: &mut Packet,
    transport: Transport,
    source: [u32; 4],
    destination: [u32; 4],
) -> Result<Kind, Stop> {
    let receiver = match side {
        Side::FromPod => packet.key.remote,
        Side::ToPod => packet.key.local,
    };
    if receiver != source || !matches!(transport.protocol as u8, TCP | UDP | SCTP) {
        return Err(Stop::End(Fate::Icmp));
    }
    let [ports, sequence] = bytes.words::<2>(transport.at).map_err(plain)?;
    packet.set_addresses(side.opposite(), source, destination);
    packet.set_ports(side.opposite(), ports);
    packet.sequence = u32::from_be(sequence);
    packet.key.protocol = transport.protocol as u8;
    Ok(Kind::Unreachable)
}

/// An embedded packet that cannot be read makes a plain ICMP packet of the error; more bytes may be had elsewhere.
#[inline(always)]
const fn plain(stop: Stop) -> Stop {
    match stop {
        Stop::End(_) => Stop::End(Fate::Icmp),
        short => short,
    }
}
