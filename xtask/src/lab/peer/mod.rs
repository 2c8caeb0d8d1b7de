//! The lab's own clients and servers: `xtask lab-peer …`, run inside pods. A client knows what it expects and fails if
//! something else happens, so that the truth of the lab is checked from the sockets' side too.

pub(super) mod dns;
pub(super) mod ports;
pub(super) mod raw;
pub(super) mod sctp;
pub mod serve;
pub(super) mod tcp;
pub(super) mod udp;

use anyhow::Result;
use clap::Subcommand;

/// What a peer is to do.
#[derive(Debug, Subcommand)]
pub enum Peer {
    /// Serves until it is killed.
    Serve(serve::Arguments),
    /// Opens TCP connections one after the other.
    Tcp(tcp::Arguments),
    /// Keeps one TCP connection open until it is killed.
    Hold(tcp::Hold),
    /// Sends UDP datagrams.
    Udp(udp::Arguments),
    /// Asks a DNS server for a name.
    Dns(dns::Arguments),
    /// Opens SCTP associations, as crafted packets.
    Sctp(sctp::Arguments),
    /// Sends packets that bear the address of another.
    Spoof(raw::Spoof),
}

impl Peer {
    /// Does it.
    ///
    /// # Errors
    ///
    /// If anything happens that was not expected.
    pub fn run(&self) -> Result<()> {
        match self {
            Self::Serve(arguments) => arguments.run(),
            Self::Tcp(arguments) => arguments.run(),
            Self::Hold(arguments) => arguments.run(),
            Self::Udp(arguments) => arguments.run(),
            Self::Dns(arguments) => arguments.run(),
            Self::Sctp(arguments) => arguments.run(),
            Self::Spoof(arguments) => arguments.run(),
        }
    }
}

/// Says on standard output that a peer is ready; whoever started it waits for that.
pub(super) fn announce(word: &str) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}
