//! Edges and epochs as bytes: what the ledger holds in memory, and what the store keeps.
//!
//! Numbers take as many bytes as they need (LEB128; signed ones zigzag), and points are written as differences from the
//! point before, so that a usual edge of one point takes about 35 bytes and each further point about 8. Decoding trusts
//! nothing: bytes that no version wrote are an error.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netpol_common::abi::Direction;
use netpol_common::words::Protocol;
use sha2::{Digest, Sha256};

use super::edges::Edges;
use super::{Curve, EpochLedger, Interface, Point, Told};
use crate::observe::{Losses, ObjectIdentity, ObservedKey, PodIdentity, Source};

/// The version of the format, which is its first byte.
const FORMAT: u8 = 1;
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 8;

/// Bytes that this version did not write, or that were damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("does not decode")]
pub struct Damaged;

/// Reads from the front of some bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Told {
    /// As bytes, with a checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let epoch = &self.epoch;
        let mut to = vec![FORMAT];
        unsigned(&mut to, epoch.sequence);
        signed(&mut to, epoch.time);
        count(&mut to, epoch.interfaces.len());
        for (handle, interface) in &epoch.interfaces {
            unsigned(&mut to, u64::from(*handle));
            unsigned(&mut to, interface.sequence);
            to.push(u8::from(interface.one_sided));
            pod(&mut to, &interface.pod);
        }
        count(&mut to, epoch.edges.len());
        epoch.edges.bytes().for_each(|block| to.extend(block));
        count(&mut to, epoch.losses.len());
        for ((handle, identity), losses) in &epoch.losses {
            unsigned(&mut to, u64::from(*handle));
            pod(&mut to, identity);
            put_losses(&mut to, losses);
        }
        count(&mut to, self.node_addresses.len());
        for address in &self.node_addresses {
            to.push(u8::from(address.is_ipv4()));
            put_address(&mut to, *address);
        }
        let sum = checksum(&to);
        to.extend(sum);
        to
    }

    /// What such bytes say.
    ///
    /// # Errors
    ///
    /// [`Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Damaged)?;
        if checksum(body) != *sum {
            return Err(Damaged);
        }
        let mut from = Reader(body);
        if from.byte()? != FORMAT {
            return Err(Damaged);
        }
        let mut epoch = EpochLedger {
            sequence: from.unsigned()?,
            time: from.signed()?,
            ..EpochLedger::default()
        };
        for _ in 0..from.unsigned()? {
            let handle = from.number()?;
            let interface = Interface {
                sequence: from.unsigned()?,
                one_sided: from.byte()? != 0,
                pod: from.pod()?,
            };
            epoch.interfaces.insert(handle, Box::new(interface));
        }
        epoch.edges = from.edges()?;
        epoch.losses = from.all_losses()?;
        let mut told = Self {
            epoch,
            ..Self::default()
        };
        for _ in 0..from.unsigned()? {
            let v4 = from.byte()? != 0;
            told.node_addresses.insert(from.address(v4)?);
        }
        match from.0 {
            [] => Ok(told),
            _ => Err(Damaged),
        }
    }
}

impl Reader<'_> {
    fn edges(&mut self) -> Result<Edges, Damaged> {
        let mut edges = Edges::default();
        let mut told = Vec::new();
        for _ in 0..self.unsigned()? {
            told.push(self.edge()?);
        }
        edges.merge(told);
        Ok(edges)
    }

    fn all_losses(&mut self) -> Result<BTreeMap<(u32, PodIdentity), Losses>, Damaged> {
        let mut all = BTreeMap::new();
        for _ in 0..self.unsigned()? {
            let key = (self.number()?, self.pod()?);
            all.insert(key, self.losses()?);
        }
        Ok(all)
    }

    fn losses(&mut self) -> Result<Losses, Damaged> {
        Ok(Losses {
            edges_lost: self.unsigned()?,
            edges_recovered: self.unsigned()?,
            attempts_lost: self.unsigned()?,
            attempts_recovered: self.unsigned()?,
            foreign: self.unsigned()?,
            not_for_pod: self.unsigned()?,
            observation_gap: self.byte()? != 0,
        })
    }

    /// The next edge.
    pub(super) fn edge(&mut self) -> Result<(ObservedKey, Curve), Damaged> {
        let key = self.key()?;
        let mut curve = Curve {
            first_seen: self.signed()?,
            points: Vec::new(),
        };
        let points = self.unsigned()?;
        let mut last = Point {
            last: curve.first_seen,
            ..Point::default()
        };
        for _ in 0..points {
            last = self.point(&last)?;
            curve.points.push(last);
        }
        Ok((key, curve))
    }

    pub(super) fn key(&mut self) -> Result<ObservedKey, Damaged> {
        let head = self.byte()?;
        let source = [Source::Kernel, Source::Conntrack, Source::Sockets];
        let of = |raw| source.into_iter().find(|source| *source as u8 == raw);
        let interface = self.number()?;
        let port = u16::from_be_bytes(self.array()?);
        Ok(ObservedKey {
            interface,
            source: of(head & 3).ok_or(Damaged)?,
            direction: Direction::from_raw(head >> 2 & 1).or(Err(Damaged))?,
            protocol: *Protocol::ALL
                .get(usize::from(head >> 3 & 3))
                .ok_or(Damaged)?,
            port,
            local: self.address(head & 32 != 0)?,
            remote: self.address(head & 64 != 0)?,
        })
    }

    /// The point after `last`.
    fn point(&mut self, last: &Point) -> Result<Point, Damaged> {
        let first = last.last.wrapping_add(self.signed()?);
        let mut next = |known: u64| Ok(known.wrapping_add_signed(self.signed()?));
        Ok(Point {
            first,
            attempts: next(last.attempts)?,
            answered: next(last.answered)?,
            refused: next(last.refused)?,
            last: first.wrapping_add(self.signed()?),
        })
    }

    fn pod(&mut self) -> Result<PodIdentity, Damaged> {
        Ok(PodIdentity {
            name: ObjectIdentity {
                namespace: self.text()?,
                name: self.text()?,
            },
            uid: self.text()?,
        })
    }

    fn text(&mut self) -> Result<String, Damaged> {
        let length = usize::try_from(self.unsigned()?).or(Err(Damaged))?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).or(Err(Damaged))
    }

    fn address(&mut self, v4: bool) -> Result<IpAddr, Damaged> {
        Ok(match v4 {
            true => Ipv4Addr::from(self.array::<4>()?).into(),
            false => Ipv6Addr::from(self.array::<16>()?).into(),
        })
    }

    fn number(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.unsigned()?).or(Err(Damaged))
    }

    fn signed(&mut self) -> Result<i64, Damaged> {
        let raw = self.unsigned()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    fn unsigned(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// Writes an edge.
pub(super) fn put_edge(to: &mut Vec<u8>, key: &ObservedKey, curve: &Curve) {
    put_key(to, key);
    signed(to, curve.first_seen);
    count(to, curve.points.len());
    let mut last = Point {
        last: curve.first_seen,
        ..Point::default()
    };
    for point in &curve.points {
        signed(to, point.first.wrapping_sub(last.last));
        let pairs = [
            (point.attempts, last.attempts),
            (point.answered, last.answered),
            (point.refused, last.refused),
        ];
        for (now, before) in pairs {
            signed(to, now.wrapping_sub(before).cast_signed());
        }
        signed(to, point.last.wrapping_sub(point.first));
        last = *point;
    }
}

fn put_key(to: &mut Vec<u8>, key: &ObservedKey) {
    let protocol = Protocol::ALL.iter().position(|it| *it == key.protocol);
    let protocol = u8::try_from(protocol.unwrap_or_default()).unwrap_or_default();
    let families = u8::from(key.local.is_ipv4()) << 5 | u8::from(key.remote.is_ipv4()) << 6;
    to.push(key.source as u8 | (key.direction as u8) << 2 | protocol << 3 | families);
    unsigned(to, u64::from(key.interface));
    to.extend(key.port.to_be_bytes());
    put_address(to, key.local);
    put_address(to, key.remote);
}

fn put_address(to: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => to.extend(address.octets()),
        IpAddr::V6(address) => to.extend(address.octets()),
    }
}

fn put_losses(to: &mut Vec<u8>, losses: &Losses) {
    let counts = [
        losses.edges_lost,
        losses.edges_recovered,
        losses.attempts_lost,
        losses.attempts_recovered,
        losses.foreign,
        losses.not_for_pod,
    ];
    counts.into_iter().for_each(|count| unsigned(to, count));
    to.push(u8::from(losses.observation_gap));
}

fn pod(to: &mut Vec<u8>, pod: &PodIdentity) {
    for text in [&pod.name.namespace, &pod.name.name, &pod.uid] {
        count(to, text.len());
        to.extend(text.as_bytes());
    }
}

fn count(to: &mut Vec<u8>, count: usize) {
    unsigned(to, count as u64);
}

fn signed(to: &mut Vec<u8>, number: i64) {
    unsigned(to, (number << 1 ^ number >> 63).cast_unsigned());
}

fn unsigned(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&Sha256::digest(bytes)[..CHECKSUM]);
    sum
}
