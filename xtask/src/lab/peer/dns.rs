//! DNS clients (RFC 1035): one question for an address.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The identifier of the question.
const IDENTIFIER: [u8; 2] = [0x4e, 0x50];

/// Questions to a server.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server.
    #[arg(long)]
    server: IpAddr,
    /// The name to ask for.
    #[arg(long)]
    name: String,
    /// Ask over TCP.
    #[arg(long)]
    tcp: bool,
    /// How often.
    #[arg(long, default_value_t = 1)]
    count: u32,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<()> {
        let question = question(&self.name);
        for _ in 0..self.count {
            let answer = match self.tcp {
                true => over_tcp(self.server, &question),
                false => over_udp(self.server, &question),
            };
            judge(&answer.with_context(|| format!("ask {} for {}", self.server, self.name))?)?;
        }
        Ok(())
    }
}

/// A recursive question for an A record.
fn question(name: &str) -> Vec<u8> {
    let mut message = IDENTIFIER.to_vec();
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

fn over_udp(server: IpAddr, question: &[u8]) -> Result<Vec<u8>> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(question, (server, 53))?;
    let mut answer = vec![0; 512];
    let (length, _) = socket.recv_from(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn over_tcp(server: IpAddr, question: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect((server, 53))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = u16::try_from(question.len())?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// An answer to our question, without an error and with a record.
fn judge(answer: &[u8]) -> Result<()> {
    let [a, b, _, flags, _, _, high, low, ..] = answer else {
        bail!("an answer of {} bytes", answer.len());
    };
    if [*a, *b] != IDENTIFIER || flags & 0x0f != 0 || u16::from_be_bytes([*high, *low]) == 0 {
        bail!("no record in the answer: {:02x?}", &answer[..8]);
    }
    Ok(())
}
