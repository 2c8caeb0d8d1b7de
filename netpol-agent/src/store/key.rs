//! Edge keys as bytes: 41 of them, so that edges of one interface lie side by side.

use std::net::{IpAddr, Ipv6Addr};

use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

use crate::observe::{ObservedKey, Source};

/// The length of a key.
pub(super) const LENGTH: usize = 41;

/// A key that this version did not write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct InvalidKey;

/// The bytes of a key: interface, source, direction, protocol, port, local and remote address. IPv4 is mapped into
/// IPv6, as in the kernel's keys.
pub(super) fn encode(key: &ObservedKey) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[0..4].copy_from_slice(&key.interface.to_be_bytes());
    bytes[4] = key.source as u8;
    bytes[5] = key.direction as u8;
    bytes[6] = key.protocol.number();
    bytes[7..9].copy_from_slice(&key.port.to_be_bytes());
    bytes[9..25].copy_from_slice(&octets(key.local));
    bytes[25..41].copy_from_slice(&octets(key.remote));
    bytes
}

/// The key of such bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<ObservedKey, InvalidKey> {
    let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| InvalidKey)?;
    Ok(ObservedKey {
        interface: u32::from_be_bytes(part(bytes, 0)),
        source: source(bytes[4])?,
        direction: Direction::from_raw(bytes[5]).map_err(|_| InvalidKey)?,
        protocol: Protocol::from_number(bytes[6]).ok_or(InvalidKey)?,
        port: u16::from_be_bytes(part(bytes, 7)),
        local: address(part(bytes, 9)),
        remote: address(part(bytes, 25)),
    })
}

fn source(raw: u8) -> Result<Source, InvalidKey> {
    [Source::Kernel, Source::Conntrack, Source::Sockets]
        .into_iter()
        .find(|source| *source as u8 == raw)
        .ok_or(InvalidKey)
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

fn part<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
