//! SCTP associations as crafted packets (RFC 9260), since kernels without SCTP exist.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use socket2::{Domain, Protocol, Socket, Type};

/// The IP protocol number of SCTP.
const SCTP: i32 = 132;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Chunk types (RFC 9260, 3.2).
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

/// What is to become of an INIT.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Expected {
    /// INIT-ACK.
    Established,
    /// ABORT.
    Refused,
}

/// Associations.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server; IPv4.
    #[arg(long)]
    to: Ipv4Addr,
    /// Its port.
    #[arg(long)]
    port: u16,
    /// How many, each from another port.
    #[arg(long, default_value_t = 1)]
    count: u16,
    /// What is to become of each.
    #[arg(long, value_enum, default_value = "established")]
    expect: Expected,
}

/// What matters of a packet: one chunk behind the common header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Packet {
    source: u16,
    destination: u16,
    chunk: u8,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<()> {
        let socket = raw_socket()?;
        for number in 0..self.count {
            self.associate(&socket, 20_000 + number)?;
        }
        Ok(())
    }

    fn associate(&self, socket: &Socket, port: u16) -> Result<()> {
        let to = SocketAddr::from((self.to, 0));
        let ours = |chunk| Packet {
            source: port,
            destination: self.port,
            chunk,
        };
        send(socket, to, ours(INIT))?;
        let happened = match self.answer(socket, port)? {
            INIT_ACK => Expected::Established,
            ABORT => Expected::Refused,
            other => bail!("chunk {other} where INIT-ACK or ABORT belongs"),
        };
        if happened != self.expect {
            bail!("{happened:?} where {:?} was expected", self.expect);
        }
        if happened == Expected::Established {
            send(socket, to, ours(COOKIE_ECHO))?;
            if self.answer(socket, port)? != COOKIE_ACK {
                bail!("no COOKIE-ACK");
            }
            send(socket, to, ours(ABORT))?;
        }
        Ok(())
    }

    /// The next chunk from the server to our port.
    fn answer(&self, socket: &Socket, port: u16) -> Result<u8> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some((from, packet)) = receive(socket)?
                && (from, packet.source, packet.destination)
                    == (IpAddr::V4(self.to), self.port, port)
            {
                return Ok(packet.chunk);
            }
        }
        bail!("no answer from {} port {}", self.to, self.port)
    }
}

/// Answers INITs to `open` ports by INIT-ACK and all others by ABORT.
pub(super) fn serve(socket: &Socket, open: &[u16]) {
    loop {
        let Ok(Some((from, packet))) = receive(socket) else {
            continue;
        };
        let chunk = match packet.chunk {
            INIT if open.contains(&packet.destination) => INIT_ACK,
            INIT => ABORT,
            COOKIE_ECHO => COOKIE_ACK,
            _ => continue,
        };
        let answer = Packet {
            source: packet.destination,
            destination: packet.source,
            chunk,
        };
        // A client that has gone does not matter to the server.
        let _ = send(socket, SocketAddr::new(from, 0), answer);
    }
}

/// A socket for SCTP over IPv4 that makes IP headers and leaves the rest to us.
pub(super) fn raw_socket() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(SCTP)))
        .context("make a raw socket for SCTP")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

fn send(socket: &Socket, to: SocketAddr, packet: Packet) -> Result<()> {
    socket
        .send_to(&packet.bytes(), &to.into())
        .context("send an SCTP packet")?;
    Ok(())
}

fn receive(socket: &Socket) -> Result<Option<(IpAddr, Packet)>> {
    let mut buffer = [0; 2048];
    let mut reader: &Socket = socket;
    match reader.read(&mut buffer) {
        Ok(length) => Ok(sender(&buffer[..length]).zip(Packet::parse(&buffer[..length]))),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error).context("receive an SCTP packet"),
    }
}

/// The source address of an IPv4 packet.
fn sender(bytes: &[u8]) -> Option<IpAddr> {
    let address: [u8; 4] = bytes.get(12..16)?.try_into().ok()?;
    Some(IpAddr::from(address))
}

impl Packet {
    /// The packet behind an IPv4 header, as raw sockets deliver it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let header = usize::from(bytes.first()? & 0x0f) * 4;
        let sctp = bytes.get(header..)?;
        let port = |at: usize| Some(u16::from_be_bytes([*sctp.get(at)?, *sctp.get(at + 1)?]));
        Some(Self {
            source: port(0)?,
            destination: port(2)?,
            chunk: *sctp.get(12)?,
        })
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = [self.source.to_be_bytes(), self.destination.to_be_bytes()].concat();
        // An INIT bears the tag 0, every other packet the tag of the receiver (RFC 9260, 8.5.1).
        bytes.extend(if self.chunk == INIT { 0 } else { TAG }.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.body());
        let sum = crc32c(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The chunk: INIT and INIT-ACK with the fixed parameters, INIT-ACK with a state cookie, COOKIE-ECHO with it.
    fn body(self) -> Vec<u8> {
        let value: Vec<u8> = match self.chunk {
            INIT => INITIATION.to_vec(),
            INIT_ACK => [&INITIATION[..], &[0, 7, 0, 8], &COOKIE].concat(),
            COOKIE_ECHO => COOKIE.to_vec(),
            _ => Vec::new(),
        };
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        [&[self.chunk, 0][..], &length.to_be_bytes(), &value].concat()
    }
}

/// The initiate tag of both sides.
const TAG: u32 = 0x6e70_6c31;
/// Initiate tag, receive window, streams out and in, initial TSN.
const INITIATION: [u8; 16] = [0x6e, 0x70, 0x6c, 0x31, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1];
/// A state cookie.
const COOKIE: [u8; 4] = *b"cook";

/// CRC32c (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_packet_reads_back() {
        let packet = Packet {
            source: 20_000,
            destination: 3868,
            chunk: INIT_ACK,
        };
        let mut bytes = vec![0x45; 20];
        bytes.extend(packet.bytes());
        assert_eq!(Packet::parse(&bytes), Some(packet));
    }
}
