//! Packets made by hand: checksums, and packets that bear another's address.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use socket2::{Domain, Protocol, Socket, Type};

/// The protocol of a spoofed packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Transport {
    /// A TCP SYN.
    Tcp,
    /// A UDP datagram.
    Udp,
}

/// Packets with a false source.
#[derive(Args, Debug)]
pub struct Spoof {
    /// The address to bear.
    #[arg(long)]
    source: Ipv4Addr,
    /// Where to send to.
    #[arg(long)]
    to: SocketAddrV4,
    /// How many, each from another port.
    #[arg(long, default_value_t = 1)]
    count: u16,
    /// What to send.
    #[arg(long, value_enum)]
    transport: Transport,
}

impl Spoof {
    pub(super) fn run(&self) -> Result<()> {
        let raw = Protocol::from(nix::libc::IPPROTO_RAW);
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).context("raw socket")?;
        socket.set_header_included_v4(true)?;
        for number in 0..self.count {
            let packet = self.packet(30_000 + number);
            socket
                .send_to(&packet, &self.to.into())
                .context("send a spoofed packet")?;
        }
        Ok(())
    }

    /// An IPv4 packet without options (RFC 791); the kernel fills in identifier and header checksum.
    fn packet(&self, port: u16) -> Vec<u8> {
        let (number, body) = match self.transport {
            Transport::Tcp => (6, self.segment(port)),
            Transport::Udp => (17, self.datagram(port)),
        };
        let length = u16::try_from(20 + body.len()).unwrap_or(u16::MAX);
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, number, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.to.ip().octets());
        packet.extend(body);
        packet
    }

    /// A SYN without options (RFC 9293, 3.1).
    fn segment(&self, port: u16) -> Vec<u8> {
        let mut segment = self.ports(port);
        segment.extend([
            0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
        ]);
        let sum = self.checksum(6, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }

    /// A datagram (RFC 768).
    fn datagram(&self, port: u16) -> Vec<u8> {
        let mut datagram = self.ports(port);
        datagram.extend([0, 12, 0, 0]);
        datagram.extend(b"false"[..4].iter());
        let sum = self.checksum(17, &datagram);
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        datagram
    }

    fn ports(&self, port: u16) -> Vec<u8> {
        [port.to_be_bytes(), self.to.port().to_be_bytes()].concat()
    }

    /// The checksum over pseudo header and body.
    fn checksum(&self, protocol: u8, body: &[u8]) -> u16 {
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        let mut bytes = self.source.octets().to_vec();
        bytes.extend(self.to.ip().octets());
        bytes.extend([0, protocol]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        internet_checksum(&bytes)
    }
}

/// The checksum of RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_over_bytes_and_their_checksum_is_zero() {
        let bytes = [0x45, 0, 0, 0x3c, 0x1c, 0x46, 0x40, 0, 0x40, 6];
        let sum = internet_checksum(&bytes);
        assert_eq!(
            internet_checksum(&[&bytes[..], &sum.to_be_bytes()].concat()),
            0
        );
    }
}
