//! Captures made by hand.

use etherparse::{PacketBuilder, TcpHeader};

/// A capture in the format pcap, Ethernet, microseconds.
#[derive(Clone)]
pub(crate) struct Capture {
    bytes: Vec<u8>,
}

/// A host in 10.0.0.0/24 by its last octet, and a port there.
pub(crate) type Socket = (u8, u16);

impl Capture {
    pub(crate) fn new() -> Self {
        Self::with_link(1)
    }

    pub(crate) fn with_link(link: u32) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(0xa1b2_c3d4_u32.to_le_bytes());
        bytes.extend([2, 0, 4, 0]);
        bytes.extend([0; 8]);
        bytes.extend(65_535_u32.to_le_bytes());
        bytes.extend(link.to_le_bytes());
        Self { bytes }
    }

    pub(crate) fn frame(mut self, second: u32, frame: &[u8]) -> Self {
        let length = u32::try_from(frame.len()).unwrap();
        for field in [second, 0, length, length] {
            self.bytes.extend(field.to_le_bytes());
        }
        self.bytes.extend(frame);
        self
    }

    /// A segment with flags out of `S`, `A`, `R`, `F`.
    pub(crate) fn tcp(self, second: u32, from: Socket, to: Socket, flags: &str, seq: u32) -> Self {
        self.frame(second, &tcp(from, to, flags, seq))
    }

    pub(crate) fn udp(self, second: u32, from: Socket, to: Socket) -> Self {
        self.frame(second, &udp(from, to))
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

pub(crate) fn tcp(from: Socket, to: Socket, flags: &str, seq: u32) -> Vec<u8> {
    let mut header = TcpHeader::new(from.1, to.1, seq, 1000);
    header.syn = flags.contains('S');
    header.ack = flags.contains('A');
    header.rst = flags.contains('R');
    header.fin = flags.contains('F');
    let builder = ip(from.0, to.0).tcp_header(header);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

pub(crate) fn udp(from: Socket, to: Socket) -> Vec<u8> {
    let builder = ip(from.0, to.0).udp(from.1, to.1);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[1, 2, 3]).unwrap();
    frame
}

/// ICMP port unreachable from `from` to the sender of the frame, which it embeds.
pub(crate) fn unreachable(from: u8, to: u8, frame: &[u8]) -> Vec<u8> {
    let kind = etherparse::Icmpv4Type::DestinationUnreachable(
        etherparse::icmpv4::DestUnreachableHeader::Port,
    );
    let builder = ip(from, to).icmpv4(kind);
    let mut made = Vec::new();
    builder.write(&mut made, &frame[14..14 + 28]).unwrap();
    made
}

pub(crate) fn sctp(from: Socket, to: Socket, chunk: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend([0; 8]);
    packet.extend([chunk, 0, 0, 20]);
    packet.extend([0, 0, 0, 7]);
    packet.extend([0; 12]);
    let mut frame = Vec::new();
    let builder = ip(from.0, to.0);
    builder
        .write(&mut frame, etherparse::IpNumber::SCTP, &packet)
        .unwrap();
    frame
}

fn ip(from: u8, to: u8) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, from], [10, 0, 0, to], 64)
}
