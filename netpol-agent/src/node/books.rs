//! Everything an observer knows about its node, without any I/O.

use super::account::{Account, Entry};
use super::clock::Clock;
use super::interfaces::{Interface, Interfaces, Verdict, kernel_key};
use super::seeds::Seeds;
use crate::observe::{Losses, ObservedKey, ObservedLosses};

/// The state of an observer.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What the kernel counted.
    pub account: Account,
    /// What was open before it counted.
    pub seeds: Seeds,
    /// On which interfaces, and whose they are.
    pub interfaces: Interfaces,
    /// From kernel time to wall time.
    pub clock: Clock,
}

/// Attempts of one interface's edges that are not learned.
#[derive(Clone, Copy, Debug, Default)]
struct Unlearned {
    foreign: u64,
    not_for_pod: u64,
}

impl Books {
    /// Takes note that a connection was open at kernel time `time`: one that the kernel counted, or else one that was
    /// seeded. Returns whether its edge is known.
    pub fn open(&mut self, key: &ObservedKey, time: u64) -> bool {
        self.account.open(&kernel_key(key), time) || self.seeds.open(key, time)
    }

    /// What was lost on each interface whose pod is known.
    pub fn losses(&self) -> Vec<ObservedLosses> {
        let interfaces = self.interfaces.iter();
        interfaces
            .filter_map(|interface| {
                let bound = interface.bound.as_ref()?;
                Some(ObservedLosses {
                    interface: interface.handle,
                    pod: bound.pod.clone(),
                    losses: self.losses_of(interface.handle)?,
                })
            })
            .collect()
    }

    /// Whether nothing is left to be known about a dead interface.
    #[must_use]
    pub fn is_finished(&self, handle: u32) -> bool {
        let dead = self.interfaces.get(handle).is_none_or(Interface::is_dead);
        dead && self.account.of_interface(handle).next().is_none()
    }

    fn losses_of(&self, handle: u32) -> Option<Losses> {
        let interface = self.interfaces.get(handle)?;
        let edges = self.account.of_interface(handle);
        let unlearned = edges.fold(Unlearned::default(), |sum, (key, entry)| {
            sum.with(interface.verdict(key), entry)
        });
        Some(interface.losses(unlearned.foreign, unlearned.not_for_pod))
    }
}

impl Unlearned {
    fn with(mut self, verdict: Verdict, entry: &Entry) -> Self {
        let attempts = entry.totals().map_or(0, |totals| totals.counts.attempts);
        match verdict {
            Verdict::Foreign => self.foreign += attempts,
            Verdict::NotForPod => self.not_for_pod += attempts,
            Verdict::Learn | Verdict::Park => {}
        }
        self
    }
}
