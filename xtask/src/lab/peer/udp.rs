//! UDP clients.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use super::ports::Ports;

/// How long an answer or an ICMP error may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client waits that expects nothing.
const SILENCE: Duration = Duration::from_millis(200);

/// What is to become of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Expected {
    /// It is replied to.
    Reply,
    /// An ICMP error comes back.
    Refused,
    /// Nothing comes back.
    Silence,
}

/// Datagrams.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server.
    #[arg(long)]
    to: IpAddr,
    /// Its ports.
    #[arg(long)]
    ports: Ports,
    /// How many datagrams to each.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// What is to become of each.
    #[arg(long, value_enum, default_value = "reply")]
    expect: Expected,
    /// The client's port; the kernel's choice by default.
    #[arg(long, default_value_t = 0)]
    from_port: u16,
    /// Leave the socket unconnected, as musl's resolver does: an answer may then come from any port.
    #[arg(long)]
    unconnected: bool,
    /// Keep the socket open until killed, after saying so.
    #[arg(long)]
    hold: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<()> {
        for port in &self.ports.0 {
            let to = SocketAddr::new(self.to, *port);
            let socket = self.socket(to)?;
            for _ in 0..self.count {
                self.exchange(&socket, to)
                    .with_context(|| format!("UDP to {to}"))?;
            }
            if self.hold {
                super::announce(super::serve::READY)?;
                sleep(Duration::from_secs(3600));
            }
        }
        Ok(())
    }

    fn socket(&self, to: SocketAddr) -> Result<UdpSocket> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, self.from_port)).context("bind")?;
        if !self.unconnected {
            socket
                .connect(to)
                .with_context(|| format!("connect to {to}"))?;
        }
        let patience = match self.expect {
            Expected::Silence => SILENCE,
            _ => PATIENCE,
        };
        socket.set_read_timeout(Some(patience))?;
        Ok(socket)
    }

    fn exchange(&self, socket: &UdpSocket, to: SocketAddr) -> Result<()> {
        let sent = match self.unconnected {
            true => socket.send_to(b"hello", to),
            false => socket.send(b"hello"),
        };
        let received = sent.and_then(|_| socket.recv(&mut [0; 2048]));
        let happened = match received {
            Ok(_) => Expected::Reply,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Expected::Refused,
                ErrorKind::TimedOut | ErrorKind::WouldBlock => Expected::Silence,
                _ => bail!("{error}"),
            },
        };
        if happened != self.expect {
            bail!("{happened:?} where {:?} was expected", self.expect);
        }
        Ok(())
    }
}
