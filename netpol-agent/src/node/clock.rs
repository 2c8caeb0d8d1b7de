//! Kernel time to wall time.
//!
//! The kernel program stamps edges with `CLOCK_MONOTONIC`. The wall clock runs at the same rate but for steps (a clock
//! that was set, a leap second, time suspended), so the distance of the two is kept, and a new one is begun only when
//! a sample is off by more than sampling can be. A kernel time is turned by the distance that held when it passed:
//! the same kernel time always gives the same wall time, also after a restart, if the clock is kept with the epoch.

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A sample this far off means that the wall clock was stepped, in nanoseconds.
const STEP: i64 = 100_000_000;
/// How many steps are remembered; older times are turned by the oldest that is.
const SPANS: usize = 64;

/// The distances of wall time from kernel time so far.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Clock {
    spans: Vec<Span>,
    sampled: u64,
}

/// A distance, and the kernel time after which it holds, both in nanoseconds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Span {
    after: u64,
    distance: i64,
}

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sample {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub kernel: u64,
    /// The wall clock, in nanoseconds since 1970.
    pub wall: i64,
}

impl Sample {
    /// Reads both clocks; of a few tries the one with the least time in between counts.
    #[must_use]
    pub fn now() -> Self {
        let tries = std::array::from_fn::<_, 3, _>(|_| Self::once());
        let best = tries.into_iter().min_by_key(|(_, between)| *between);
        best.map_or_else(|| Self::once().0, |(sample, _)| sample)
    }

    fn once() -> (Self, u64) {
        let before = kernel_now();
        let wall = nanoseconds(ClockId::CLOCK_REALTIME);
        let between = kernel_now().saturating_sub(before);
        let kernel = before + between / 2;
        (Self { kernel, wall }, between)
    }
}

impl Clock {
    /// Takes in a sample. Returns by how much the wall clock was stepped since the last one, if it was.
    pub fn sample(&mut self, sample: Sample) -> Option<SignedDuration> {
        let distance = sample.wall.saturating_sub_unsigned(sample.kernel);
        let off = self
            .spans
            .last()
            .map(|span| distance.saturating_sub(span.distance));
        let stepped = off.is_none_or(|off| off.saturating_abs() > STEP);
        if stepped {
            self.begin(distance);
        }
        self.sampled = self.sampled.max(sample.kernel);
        off.filter(|_| stepped).map(SignedDuration::from_nanos)
    }

    /// The wall time of a kernel time in nanoseconds. Before the first sample, the epoch's start of time.
    #[must_use]
    pub fn wall(&self, kernel: u64) -> Timestamp {
        let spans = &self.spans;
        let span = spans
            .iter()
            .rev()
            .find(|span| kernel > span.after)
            .or_else(|| spans.first());
        let distance = span.map_or(0, |span| span.distance);
        let wall = i128::from(kernel) + i128::from(distance);
        Timestamp::from_nanosecond(wall).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn begin(&mut self, distance: i64) {
        if self.spans.len() == SPANS {
            self.spans.remove(0);
        }
        self.spans.push(Span {
            after: self.sampled,
            distance,
        });
    }
}

/// `CLOCK_MONOTONIC`, in nanoseconds: the clock that edges are stamped with.
#[must_use]
pub fn kernel_now() -> u64 {
    u64::try_from(nanoseconds(ClockId::CLOCK_MONOTONIC)).unwrap_or(0)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).ok();
    time.map_or(0, |time| {
        time.tv_sec()
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn sample(kernel: u64, wall: i64) -> Sample {
        Sample { kernel, wall }
    }

    fn wall(clock: &Clock, kernel: u64) -> i128 {
        clock.wall(kernel).as_nanosecond()
    }

    #[test]
    fn jitter_moves_no_time() {
        let mut clock = Clock::default();
        clock.sample(sample(1_000, 5_000));
        let first = wall(&clock, 700);
        for (kernel, jitter) in [(2_000, 900), (HOUR, -4_000_000), (2 * HOUR, 90_000_000)] {
            let stepped = clock.sample(sample(kernel, kernel as i64 + 4_000 + jitter));
            assert_eq!((stepped, wall(&clock, 700)), (None, first));
        }
    }

    #[test]
    fn a_step_moves_what_comes_after_it_only() {
        let mut clock = Clock::default();
        clock.sample(sample(HOUR, 0));
        clock.sample(sample(2 * HOUR, HOUR as i64));
        let before = wall(&clock, 2 * HOUR);
        let step = clock.sample(sample(3 * HOUR, 7 * HOUR as i64));
        assert_eq!(step, Some(SignedDuration::from_hours(5)));
        assert_eq!(wall(&clock, 2 * HOUR), before);
        assert_eq!(wall(&clock, 2 * HOUR + 1), i128::from(6 * HOUR + 1));
        let back = clock.sample(sample(4 * HOUR, HOUR as i64));
        assert_eq!(back, Some(SignedDuration::from_hours(-7)));
        assert_eq!(wall(&clock, 4 * HOUR), i128::from(HOUR));
        assert_eq!(wall(&clock, 3 * HOUR), i128::from(7 * HOUR));
    }

    #[test]
    fn a_kept_clock_turns_times_alike_after_a_restart() {
        let mut clock = Clock::default();
        clock.sample(sample(HOUR, HOUR as i64));
        let kept = serde_json::to_string(&clock).unwrap();
        let mut again: Clock = serde_json::from_str(&kept).unwrap();
        again.sample(sample(2 * HOUR, 9 * HOUR as i64));
        assert_eq!(again.wall(HOUR / 2), clock.wall(HOUR / 2));
        assert_eq!(wall(&again, 2 * HOUR), i128::from(9 * HOUR));
    }

    #[test]
    fn steps_are_bounded_and_absurd_times_do_not_panic() {
        let mut clock = Clock::default();
        for step in 0..200 {
            clock.sample(sample(step * HOUR, (step * step * HOUR) as i64));
        }
        assert_eq!(clock.spans.len(), SPANS);
        clock.sample(sample(u64::MAX, i64::MIN));
        let _ = clock.wall(u64::MAX);
        let _ = Clock::default().wall(u64::MAX);
    }

    #[test]
    fn the_clocks_of_this_machine_can_be_read() {
        let mut clock = Clock::default();
        let now = Sample::now();
        clock.sample(now);
        assert_eq!(wall(&clock, now.kernel), i128::from(now.wall));
        assert!(now.wall > 1_600_000_000_000_000_000);
    }
}
