//! When interfaces are tried again to which the programs could not be attached.

use std::collections::BTreeMap;

/// The pause after the first failure, in nanoseconds; doubled after each further one.
const FIRST_PAUSE: u64 = 20_000_000_000;
/// How often it is doubled at most: to about twenty minutes.
const DOUBLINGS: u32 = 6;

/// Interfaces that failed, by ifindex: how often, and until when they are left alone, in nanoseconds of
/// `CLOCK_MONOTONIC`.
#[derive(Debug, Default)]
pub(super) struct Refused {
    by_ifindex: BTreeMap<u32, (u32, u64)>,
}

impl Refused {
    /// Takes note of a failure at `now`.
    pub(super) fn note(&mut self, ifindex: u32, now: u64) {
        let (failures, until) = self.by_ifindex.entry(ifindex).or_default();
        *until = now.saturating_add(FIRST_PAUSE << (*failures).min(DOUBLINGS));
        *failures += 1;
    }

    /// Whether an interface may be tried at `now`.
    pub(super) fn is_due(&self, ifindex: u32, now: u64) -> bool {
        let until = self.by_ifindex.get(&ifindex);
        until.is_none_or(|(_, until)| *until <= now)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_ifindex.len()
    }

    /// Forgets an interface: it is observed, or gone.
    pub(super) fn forget(&mut self, ifindex: u32) {
        self.by_ifindex.remove(&ifindex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_tried_again_after_ever_longer_pauses() {
        let mut refused = Refused::default();
        assert!(refused.is_due(7, 0));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            refused.note(7, 0);
            let pause = (1..).find(|times| refused.is_due(7, times * FIRST_PAUSE));
            pauses.push(pause.unwrap());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert!(refused.is_due(8, 0));
        refused.forget(7);
        assert!(refused.is_due(7, 0));
    }
}
