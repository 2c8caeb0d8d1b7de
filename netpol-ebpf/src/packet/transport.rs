//! TCP (RFC 9293), UDP (RFC 768) and SCTP (RFC 9260).

use netpol_common::abi::Fate;

use super::ip::Transport;
use super::{Bytes, Kind, Packet, Stop, chunk, flag};
use crate::key::Side;

/// Whether the fourth word of a TCP header says: well-formed, and neither SYN nor FIN nor RST.
#[inline(always)]
pub(super) const fn is_plain(word: u32) -> bool {
    let word = u32::from_be(word);
    word >> 28 >= 5 && (word >> 16) as u8 & (flag::SYN | flag::FIN | flag::RST) == 0
}

#[inline(always)]
pub(super) fn tcp<B: Bytes>(
    bytes: &B,
    Transport { at, end, .. }: Transport,
    side: Side,
    packet: &mut Packet,
) -> Result<Kind, Stop> {
    let [ports, sequence, acknowledgement, offset] = bytes.words::<4>(at)?;
    let offset = u32::from_be(offset);
    if offset >> 28 < 5 || at + 20 > end {
        return Err(Stop::End(Fate::Malformed));
    }
    packet.set_ports(side, ports);
    packet.flags = (offset >> 16) as u8;
    packet.sequence = u32::from_be(sequence);
    packet.acknowledgement = u32::from_be(acknowledgement);
    Ok(Kind::Segment)
}

#[inline(always)]
pub(super) fn udp<B: Bytes>(
    bytes: &B,
    Transport { at, end, .. }: Transport,
    side: Side,
    packet: &mut Packet,
) -> Result<Kind, Stop> {
    let [ports, length] = bytes.words::<2>(at)?;
    let length = u32::from_be(length) >> 16;
    // A length of 0 is that of a jumbogram (RFC 2675).
    if (length < 8 && length != 0) || at + 8 > end {
        return Err(Stop::End(Fate::Malformed));
    }
    packet.set_ports(side, ports);
    Ok(Kind::Datagram)
}

#[inline(always)]
pub(super) fn sctp<B: Bytes>(
    bytes: &B,
    Transport { at, end, .. }: Transport,
    side: Side,
    packet: &mut Packet,
) -> Result<Kind, Stop> {
    let [ports, verification, _, first] = bytes.words::<4>(at)?;
    if at + 16 > end {
        return Err(Stop::End(Fate::Malformed));
    }
    packet.set_ports(side, ports);
    packet.flags = (u32::from_be(first) >> 24) as u8;
    packet.acknowledgement = u32::from_be(verification);
    match packet.flags {
        chunk::INIT | chunk::INIT_ACK => {
            let [initiate] = bytes.words::<1>(at + 16)?;
            packet.sequence = u32::from_be(initiate);
        }
        chunk::ABORT | chunk::COOKIE_ECHO => {}
        _ => return Err(Stop::End(Fate::SctpData)),
    }
    // "The Verification Tag field of a packet that carries an INIT chunk MUST be 0" (8.5.1), and its own tag must not be.
    let init = packet.flags == chunk::INIT;
    if init && (packet.acknowledgement != 0 || packet.sequence == 0) {
        return Err(Stop::End(Fate::Malformed));
    }
    Ok(Kind::Chunk)
}
