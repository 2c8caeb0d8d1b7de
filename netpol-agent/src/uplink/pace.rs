//! When to send. Time is an argument, and so is chance.

use std::time::Duration;

/// How fast, at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pacing {
    /// Between the beginnings of two deliveries at least; up to half as much again is added by chance.
    pub interval: Duration,
    /// Over how long the agents of a cluster are spread when they come back after an outage.
    pub spread: Duration,
    /// The longest pause after failures.
    pub longest: Duration,
    /// The pause while only a person can help.
    pub slow: Duration,
    /// The longest pause that the aggregator may ask for.
    pub asked: Duration,
}

/// How to go on after a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// It was acknowledged, or something else is to be sent at once.
    Go,
    /// The connection was gone though nothing had failed: the aggregator may have restarted for everybody.
    Spread,
    /// It failed, and may work later.
    BackOff,
    /// It failed, and the aggregator says how long to wait.
    After(Duration),
    /// It failed, and will until somebody changes something.
    Slowly,
}

/// When the next delivery is due, as time since the sender began.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pacing: Pacing,
    failures: u32,
    due: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            spread: Duration::from_secs(30),
            longest: Duration::from_secs(120),
            slow: Duration::from_secs(300),
            asked: Duration::from_secs(600),
        }
    }
}

impl Pacing {
    /// Everything sooner by that factor, for tests.
    #[must_use]
    pub fn hurried(self, hurry: u32) -> Self {
        let hurry = hurry.max(1);
        Self {
            interval: self.interval / hurry,
            spread: self.spread / hurry,
            longest: self.longest / hurry,
            slow: self.slow / hurry,
            asked: self.asked / hurry,
        }
    }
}

impl Pace {
    /// The first delivery is due within an interval. `draw` is drawn from 0 to 1, here and below.
    #[must_use]
    pub fn new(pacing: Pacing, draw: f64) -> Self {
        Self {
            pacing,
            failures: 0,
            due: share(pacing.interval, draw),
        }
    }

    /// When the next delivery may begin.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Whether the last delivery failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Takes in how a delivery ended that began at `began`.
    pub fn ended(&mut self, began: Duration, now: Duration, next: Next, draw: f64) {
        let Pacing {
            interval,
            spread,
            longest,
            slow,
            asked,
        } = self.pacing;
        self.failures = match next {
            Next::Go => 0,
            Next::Spread => self.failures,
            _ => self.failures.saturating_add(1),
        };
        let pause = match next {
            Next::Go => share(interval / 2, draw),
            Next::Spread => share(spread, draw),
            Next::BackOff => {
                let doublings = self.failures.saturating_sub(1).min(16);
                let window = spread
                    .saturating_mul(1 << doublings)
                    .min(longest.max(spread));
                share(window, draw)
            }
            Next::After(wait) => wait.min(asked) + share(spread, draw),
            Next::Slowly => slow / 2 + share(slow / 2, draw),
        };
        let earliest = began + interval;
        self.due = match next {
            Next::Go | Next::Spread | Next::BackOff => earliest.max(now) + pause,
            Next::After(_) | Next::Slowly => earliest.max(now + pause),
        };
    }
}

fn share(of: Duration, draw: f64) -> Duration {
    of.mul_f64(draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn next() -> impl Strategy<Value = Next> {
        prop_oneof![
            Just(Next::Go),
            Just(Next::Spread),
            Just(Next::BackOff),
            (0_u64..100_000).prop_map(|wait| Next::After(seconds(wait))),
            Just(Next::Slowly),
        ]
    }

    proptest! {
        #[test]
        fn deliveries_are_at_least_an_interval_apart_and_never_put_off_for_ever(
            steps in proptest::collection::vec((next(), 0.0_f64..=1.0, 0_u64..70), 1..60),
        ) {
            let pacing = Pacing::default();
            let mut pace = Pace::new(pacing, 0.5);
            for (next, draw, took) in steps {
                let began = pace.due();
                let now = began + seconds(took);
                pace.ended(began, now, next, draw);
                prop_assert!(pace.due() >= began + pacing.interval);
                prop_assert!(pace.due() <= now.max(began + pacing.interval) + pacing.asked + pacing.spread);
            }
        }
    }

    #[test]
    fn pauses_grow_with_failures_up_to_the_longest_and_begin_anew_after_success() {
        let mut pace = Pace::new(Pacing::default(), 0.0);
        let mut pause = |next| {
            let began = pace.due();
            pace.ended(began, began, next, 1.0);
            (pace.due() - began).as_secs_f64()
        };
        let expected = [
            (Next::Go, 7.5),
            (Next::BackOff, 35.0),
            (Next::BackOff, 65.0),
            (Next::BackOff, 125.0),
            (Next::BackOff, 125.0),
            (Next::Go, 7.5),
            (Next::BackOff, 35.0),
            (Next::Spread, 35.0),
            (Next::After(seconds(2)), 32.0),
            (Next::After(seconds(100_000)), 630.0),
            (Next::Slowly, 300.0),
        ];
        for (at, (next, seconds)) in expected.into_iter().enumerate() {
            assert_eq!(pause(next), seconds, "step {at}: {next:?}");
        }
    }

    /// When each of many agents comes back, whose aggregator is away for `outage`; in seconds after its return.
    fn returns(agents: usize, outage: u64, noticed: bool) -> Vec<f64> {
        let mut chance = fastrand::Rng::with_seed(7);
        let (down, up) = (seconds(1000), seconds(1000 + outage));
        let come_back = |_| {
            let mut pace = Pace::new(Pacing::default(), chance.f64());
            loop {
                let now = pace.due();
                let next = match now {
                    _ if now < down => Next::Go,
                    _ if now < up => Next::BackOff,
                    // The first delivery after the restart finds the connection gone.
                    _ if !noticed && !pace.is_failing() && pace.due() < up + seconds(8) => {
                        pace.ended(now, now, Next::Spread, chance.f64());
                        return (pace.due() - up).as_secs_f64();
                    }
                    _ => return (now - up).as_secs_f64(),
                };
                pace.ended(now, now, next, chance.f64());
            }
        };
        (0..agents).map(come_back).collect()
    }

    #[test]
    fn agents_come_back_over_half_a_minute_or_more() {
        for (outage, noticed) in [(3600, true), (60, true), (10, true), (2, false)] {
            let returns = returns(5_000, outage, noticed);
            let latest = returns.iter().copied().fold(0.0, f64::max);
            assert!(
                latest >= 30.0,
                "after {outage} s all are back in {latest} s"
            );
            for from in 0..30 {
                let from = f64::from(from);
                let at_once = returns.iter().filter(|at| (from..from + 1.0).contains(*at));
                let at_once = at_once.count();
                assert!(
                    at_once <= 5_000 * 2 / 30,
                    "after {outage} s {at_once} come back in one second"
                );
            }
        }
    }
}
