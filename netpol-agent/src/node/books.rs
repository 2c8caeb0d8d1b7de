//! Everything an observer knows about its node, without any I/O.

use super::account::{Account, Carries, Entry};
use super::clock::Clock;
use super::interfaces::{Interface, Interfaces, Verdict, kernel_key};
use super::seeds::Seeds;
use crate::observe::{ObservedKey, ObservedLosses};

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
    ///
    /// # Errors
    ///
    /// `carries` could not be read.
    pub fn open<C: Carries>(
        &mut self,
        key: &ObservedKey,
        time: u64,
        carries: &C,
    ) -> Result<bool, C::Error> {
        let counted = kernel_key(key);
        let learned = self.interfaces.verdict(&counted) == Verdict::Learn;
        let known = learned && self.account.open(&counted, time, carries)?;
        Ok(known || self.seeds.open(key, time))
    }

    /// What was lost on each interface whose pod is known.
    #[must_use]
    pub fn losses(&self) -> Vec<ObservedLosses> {
        let handles = self.interfaces.iter().map(|interface| interface.handle);
        handles
            .filter_map(|handle| self.losses_of(handle))
            .collect()
    }

    /// What was lost on one interface, if its pod is known.
    #[must_use]
    pub fn losses_of(&self, handle: u32) -> Option<ObservedLosses> {
        let interface = self.interfaces.get(handle)?;
        let bound = interface.bound.as_ref()?;
        let edges = self.account.of_interface(handle);
        let unlearned = edges.fold(Unlearned::default(), |sum, (key, entry)| {
            sum.with(interface.verdict(key), entry)
        });
        Some(ObservedLosses {
            interface: handle,
            pod: bound.pod.clone(),
            losses: interface.losses(unlearned.foreign, unlearned.not_for_pod),
        })
    }

    /// Whether nothing is left to be known about a dead interface.
    #[must_use]
    pub fn is_finished(&self, handle: u32) -> bool {
        let dead = self.interfaces.get(handle).is_none_or(Interface::is_dead);
        dead && self.account.of_interface(handle).next().is_none()
    }
}

impl Unlearned {
    fn with(mut self, verdict: Verdict, entry: &Entry) -> Self {
        let attempts = entry.totals().map_or(0, |totals| totals.counts.attempts);
        match verdict {
            Verdict::Foreign => self.foreign += attempts,
            Verdict::NotForPod => self.not_for_pod += attempts,
            Verdict::Learn | Verdict::Park | Verdict::Beyond => {}
        }
        self
    }
}
