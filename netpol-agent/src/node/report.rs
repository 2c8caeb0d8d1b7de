//! What an observer says of itself when somebody asks.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use netpol_common::abi::Counters;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::attach::Mechanism;
use crate::observe::Losses;

/// How an observer stands.
#[derive(Clone, Debug)]
pub struct Report {
    /// How programs are attached.
    pub mechanism: Mechanism,
    /// Interfaces that they are attached to.
    pub attached: usize,
    /// Interfaces that they could not be attached to.
    pub refused: usize,
    /// Living interfaces whose pod is known.
    pub bound: usize,
    /// Living interfaces whose pod is not known.
    pub unbound: usize,
    /// Living interfaces that show one side only.
    pub one_sided: usize,
    /// Edges and attempts that are pods' own.
    pub learned: usize,
    /// Edges and attempts that wait until it is known whose they are.
    pub parked: usize,
    /// Entries of the kernel's maps of edges and of attempts, and how many there may be.
    pub maps: [(&'static str, usize, u32); 2],
    /// When those maps were last read whole.
    pub walked: Option<Timestamp>,
    /// What the kernel program counted in this epoch; nothing, if it cannot be read.
    pub counters: Option<Counters>,
    /// What was lost in this epoch on all interfaces together.
    pub losses: Losses,
    /// Pending handshakes that gave their slot to another.
    pub slots_lost: u64,
}

/// Where a report is to be sent.
pub type Ask = SyncSender<Report>;

/// Asks one observer.
#[derive(Clone, Debug)]
pub struct Asker(UnboundedSender<Ask>);

/// Two ends: to ask, and to be asked.
#[must_use]
pub fn asking() -> (Asker, UnboundedReceiver<Ask>) {
    let (asks, asked) = unbounded_channel();
    (Asker(asks), asked)
}

impl Asker {
    /// How the observer stands; `None` if it does not say so in time. Waits.
    #[must_use]
    pub fn ask(&self, patience: Duration) -> Option<Report> {
        let (tell, told) = sync_channel(1);
        self.0.send(tell).ok()?;
        told.recv_timeout(patience).ok()
    }
}
