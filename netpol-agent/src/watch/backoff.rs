//! How long to wait after a failure of the API server.

use std::time::{Duration, Instant};

use kube::runtime::utils::Backoff;

/// Without a failure for so long, the next one counts as the first.
const QUIET: Duration = Duration::from_secs(120);

/// Delays that double from failure to failure up to a limit, each of random length between half of it and all of it.
///
/// A watcher says that all is well when it *begins* a list, so its word does not reset the delays here: only time
/// without failures does. Otherwise a server that fails every list would be asked again at the shortest delay for ever.
#[derive(Clone, Debug)]
pub(crate) struct Delays {
    shortest: Duration,
    longest: Duration,
    next: Duration,
    failed: Option<Instant>,
}

impl Delays {
    pub(crate) fn new((shortest, longest): (Duration, Duration)) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
            failed: None,
        }
    }

    /// The limit of the delay after a failure at `now`.
    fn after(&mut self, now: Instant) -> Duration {
        let quiet = QUIET + self.next;
        if self.failed.is_some_and(|at| now.duration_since(at) > quiet) {
            self.next = self.shortest;
        }
        self.failed = Some(now);
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        delay
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.after(Instant::now());
        Some(delay.mul_f64(jitter()))
    }
}

impl Backoff for Delays {
    fn reset(&mut self) {}
}

/// Between 0.5 and 1.
///
/// Drawn from the seed of a hasher, which the standard library takes from the operating system's randomness.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let drawn = RandomState::new().hash_one(0_u8);
    let share = f64::from(u32::try_from(drawn >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    0.5 + share / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_anew_after_quiet() {
        let mut delays = Delays::new((Duration::from_secs(1), Duration::from_secs(5)));
        let start = Instant::now();
        for (second, limit) in [(0, 1), (1, 2), (2, 4), (3, 5), (100, 5), (300, 1), (301, 2)] {
            delays.reset();
            let delay = delays.after(start + Duration::from_secs(second));
            assert_eq!(delay, Duration::from_secs(limit), "at {second} s");
        }
    }

    #[test]
    fn keeps_delays_between_half_of_the_limit_and_all_of_it() {
        for _ in 0..100 {
            let mut delays = Delays::new((Duration::from_secs(4), Duration::from_secs(4)));
            let delay = delays.next().unwrap();
            assert!((2.0..=4.0).contains(&delay.as_secs_f64()), "{delay:?}");
        }
    }
}
