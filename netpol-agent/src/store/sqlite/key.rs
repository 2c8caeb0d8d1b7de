//! Edge keys as schema 2 wrote them: 41 bytes. Interface, source, direction, protocol, port, local and remote address, IPv4
//! mapped into IPv6.

use std::net::{IpAddr, Ipv6Addr};

use netpol_common::abi::Direction;
use netpol_common::words::Protocol;

use crate::observe::{ObservedKey, Source};

/// The length of a key.
const LENGTH: usize = 41;

/// A key that this version did not write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct InvalidKey;

/// The key of 41 bytes.
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

fn address(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

fn part<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
