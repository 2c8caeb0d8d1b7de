//! Frames built from what a test cares about.

use std::net::IpAddr;

use netpol_common::abi::{SCTP, TCP, UDP};

/// A frame in the making: addresses, transport header, and what may stand before it.
#[derive(Clone, Debug)]
pub struct Frame {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    transport: Vec<u8>,
    tags: Vec<u16>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: u16,
    group: bool,
}

impl Frame {
    /// An IP packet of any protocol.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8, transport: Vec<u8>) -> Self {
        Self {
            source,
            destination,
            protocol,
            transport,
            tags: Vec::new(),
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: 0,
            group: false,
        }
    }

    /// A TCP segment.
    #[must_use]
    pub fn tcp(
        from: (IpAddr, u16),
        to: (IpAddr, u16),
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
    ) -> Self {
        let mut header = ports(from.1, to.1);
        header.extend(sequence.to_be_bytes());
        header.extend(acknowledgement.to_be_bytes());
        header.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        Self::new(from.0, to.0, TCP, header)
    }

    /// A UDP datagram with four bytes of data.
    #[must_use]
    pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16)) -> Self {
        let mut header = ports(from.1, to.1);
        header.extend([0, 12, 0, 0, 1, 2, 3, 4]);
        Self::new(from.0, to.0, UDP, header)
    }

    /// An SCTP packet with one chunk, which has an initiate tag if it is INIT or INIT ACK.
    #[must_use]
    pub fn sctp(
        from: (IpAddr, u16),
        to: (IpAddr, u16),
        chunk: u8,
        verification: u32,
        initiate: u32,
    ) -> Self {
        let mut header = ports(from.1, to.1);
        header.extend(verification.to_be_bytes());
        header.extend([0; 4]);
        header.extend([chunk, 0, 0, 20]);
        header.extend(initiate.to_be_bytes());
        header.extend([0; 12]);
        Self::new(from.0, to.0, SCTP, header)
    }

    /// With VLAN tags of these ethertypes, the outermost first.
    #[must_use]
    pub fn tagged(mut self, tags: &[u16]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// IPv4: with options, a multiple of four bytes.
    #[must_use]
    pub fn with_options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// IPv6: with extension headers of these numbers and bodies, of which the first byte is made the next header.
    #[must_use]
    pub fn with_extension(mut self, number: u8, body: &[u8]) -> Self {
        self.extensions.push((number, body.to_vec()));
        self
    }

    /// IPv4: with flags and fragment offset as they stand in the header.
    #[must_use]
    pub fn fragment(mut self, bits: u16) -> Self {
        self.fragment = bits;
        self
    }

    /// Sent to a group of stations.
    #[must_use]
    pub fn to_group(mut self) -> Self {
        self.group = true;
        self
    }

    /// From the Ethernet header on.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
        frame[0] |= u8::from(self.group);
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        frame.extend(if self.source.is_ipv4() {
            [0x08, 0x00]
        } else {
            [0x86, 0xdd]
        });
        frame.extend(self.packet());
        frame
    }

    /// From the IP header on.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.v4(source.octets(), destination.octets())
            }
            (source, destination) => self.v6(octets(source), octets(destination)),
        }
    }

    fn v4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let mut packet = vec![0x40 | u8::try_from(words).unwrap_or(15), 0];
        packet.extend(short(words * 4 + self.transport.len()));
        packet.extend([0, 1]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(source);
        packet.extend(destination);
        packet.extend(&self.options);
        packet.extend(&self.transport);
        packet
    }

    fn v6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let mut payload = Vec::new();
        let following = self.extensions.iter().skip(1).map(|(number, _)| *number);
        for ((_, body), next) in self.extensions.iter().zip(following.chain([self.protocol])) {
            payload.push(next);
            payload.extend(&body[1..]);
        }
        payload.extend(&self.transport);
        let first = self.extensions.first();
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(short(payload.len()));
        packet.extend([first.map_or(self.protocol, |(number, _)| *number), 64]);
        packet.extend(source);
        packet.extend(destination);
        packet.extend(payload);
        packet
    }
}

/// "Destination unreachable" of the family of `about`, from `reporter` to the sender of `about`, which it embeds.
#[must_use]
pub fn icmp_unreachable(reporter: IpAddr, about: &Frame, code: u8) -> Frame {
    let (kind, protocol) = if about.source.is_ipv4() {
        (3, 1)
    } else {
        (1, 58)
    };
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(about.packet());
    Frame::new(reporter, about.source, protocol, message)
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(0).to_be_bytes()
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
