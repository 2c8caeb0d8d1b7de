//! TCP clients.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use socket2::Socket;

use super::ports::Ports;

/// What is sent first: HTTP servers, Redis and echo servers all answer it.
const HELLO: &[u8] = b"PING\r\n";
/// Longer than the first retransmission of a SYN, shorter than the second.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What is to become of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Expected {
    /// The handshake is answered.
    Established,
    /// It is refused, by a reset or an ICMP error.
    Refused,
    /// Nothing comes back.
    Unanswered,
}

/// How the client closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Close {
    /// In order.
    Fin,
    /// By a reset.
    Reset,
    /// After the server's reset.
    Await,
}

/// Short connections.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server.
    #[arg(long)]
    to: IpAddr,
    /// Its ports.
    #[arg(long)]
    ports: Ports,
    /// How many connections to each.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// What is to become of each.
    #[arg(long, value_enum, default_value = "established")]
    expect: Expected,
    /// How each ends.
    #[arg(long, value_enum, default_value = "fin")]
    close: Close,
    /// The source address; the kernel's choice by default.
    #[arg(long)]
    source: Option<IpAddr>,
}

/// A long connection.
#[derive(Args, Debug)]
pub struct Hold {
    /// The server.
    #[arg(long)]
    to: SocketAddr,
    /// Milliseconds between messages; without it the connection is idle after the first.
    #[arg(long)]
    every: Option<u64>,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<()> {
        for _ in 0..self.count {
            for port in &self.ports.0 {
                let to = SocketAddr::new(self.to, *port);
                self.attempt(to).with_context(|| format!("TCP to {to}"))?;
            }
        }
        Ok(())
    }

    fn attempt(&self, to: SocketAddr) -> Result<()> {
        let (happened, stream) = match self.connect(to) {
            Ok(stream) => (Expected::Established, Some(stream)),
            Err(error) => (outcome(&error)?, None),
        };
        if happened != self.expect {
            bail!("{happened:?} where {:?} was expected", self.expect);
        }
        match stream {
            Some(stream) => self.converse(stream),
            None => Ok(()),
        }
    }

    fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = Socket::new(
            socket2::Domain::for_address(to),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Ok(socket.into())
    }

    fn converse(&self, mut stream: TcpStream) -> Result<()> {
        greet(&mut stream)?;
        match self.close {
            Close::Fin => Ok(()),
            Close::Reset => Ok(Socket::from(stream).set_linger(Some(Duration::ZERO))?),
            Close::Await => match stream.read(&mut [0; 16]) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
                other => bail!("the server was to reset the connection, but: {other:?}"),
            },
        }
    }
}

impl Hold {
    pub(super) fn run(&self) -> Result<()> {
        let mut stream =
            TcpStream::connect(self.to).with_context(|| format!("connect to {}", self.to))?;
        greet(&mut stream)?;
        super::announce(super::serve::READY)?;
        loop {
            match self.every {
                Some(milliseconds) => {
                    sleep(Duration::from_millis(milliseconds));
                    greet(&mut stream)?;
                }
                None => sleep(Duration::from_secs(3600)),
            }
        }
    }
}

fn greet(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(HELLO).context("send")?;
    let length = stream.read(&mut [0; 4096]).context("receive")?;
    if length == 0 {
        bail!("the server closed without an answer");
    }
    Ok(())
}

fn outcome(error: &std::io::Error) -> Result<Expected> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Ok(Expected::Refused),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(Expected::Unanswered),
        _ => bail!("{error}"),
    }
}
