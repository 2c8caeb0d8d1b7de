//! How often somebody may do something: a token bucket for each.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// Buckets kept at most. Those that are full again are forgotten first; if there are none, all of them.
const MOST: usize = 10_000;

/// A bucket for each key, which holds so much at most and fills up steadily.
#[derive(Debug)]
pub(super) struct Rates<K> {
    size: f64,
    per_second: f64,
    buckets: BTreeMap<K, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Timestamp,
}

impl<K: Ord> Rates<K> {
    pub(super) fn new((size, per_second): (f64, f64)) -> Self {
        Self {
            size,
            per_second,
            buckets: BTreeMap::new(),
        }
    }

    /// Takes `amount` from a bucket. What is more than it ever holds may be taken from a full one.
    ///
    /// # Errors
    ///
    /// How long it takes until there is enough in it; nothing was taken.
    pub(super) fn take(&mut self, key: K, amount: f64, now: Timestamp) -> Result<(), Duration> {
        self.make_room(now);
        let (size, per_second) = (self.size, self.per_second);
        let full = Bucket {
            level: size,
            at: now,
        };
        let bucket = self.buckets.entry(key).or_insert(full);
        bucket.level = bucket.at_time(now, size, per_second);
        bucket.at = now;
        let missing = amount.min(size) - bucket.level;
        if missing > 0.0 {
            return Err(Duration::from_secs_f64((missing / per_second).min(3600.0)));
        }
        bucket.level -= amount;
        Ok(())
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.buckets.len() < MOST {
            return;
        }
        let (size, per_second) = (self.size, self.per_second);
        self.buckets
            .retain(|_, bucket| bucket.at_time(now, size, per_second) < size);
        if self.buckets.len() >= MOST {
            self.buckets.clear();
        }
    }
}

impl Bucket {
    fn at_time(&self, now: Timestamp, size: f64, per_second: f64) -> f64 {
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        (self.level + passed * per_second).min(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_a_second() {
        let mut rates = Rates::new((3.0, 1.0));
        let mut take = |second| rates.take("a", 1.0, at(second)).is_ok();
        let taken = [0, 0, 0, 0, 1, 1, 3, 3, 3].map(&mut take);
        let want = [true, true, true, false, true, false, true, true, false];
        assert_eq!(taken, want);
    }

    #[test]
    fn one_does_not_take_from_another() {
        let mut rates = Rates::new((1.0, 0.1));
        assert!(rates.take("a", 1.0, at(0)).is_ok());
        assert_eq!(rates.take("a", 1.0, at(0)), Err(Duration::from_secs(10)));
        assert!(rates.take("b", 1.0, at(0)).is_ok());
    }

    #[test]
    fn more_than_a_bucket_holds_has_to_be_worked_off() {
        let mut rates = Rates::new((10.0, 1.0));
        assert!(rates.take("a", 25.0, at(0)).is_ok());
        assert!(rates.take("a", 1.0, at(15)).is_err());
        assert!(rates.take("a", 1.0, at(16)).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_gives_and_takes_nothing() {
        let mut rates = Rates::new((1.0, 1.0));
        assert!(rates.take("a", 1.0, at(100)).is_ok());
        assert!(rates.take("a", 1.0, at(0)).is_err());
        assert!(rates.take("a", 1.0, at(1)).is_ok());
    }

    #[test]
    fn the_buckets_are_bounded() {
        let mut rates = Rates::new((2.0, 0.001));
        for key in 0..3 * MOST {
            assert!(rates.take(key, 1.0, at(0)).is_ok());
            assert!(rates.buckets.len() <= MOST);
        }
    }
}
