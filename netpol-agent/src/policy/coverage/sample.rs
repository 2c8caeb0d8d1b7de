//! Sample coverage: the share of what occurs that belongs to edges which were seen.
//!
//! Source: A. Chao and L. Jost, Ecology 93 (2012), 2533–2547, for incidences as in appendix C there and in equation 12
//! of Chao et al., Ecological Monographs 84 (2014), 45–67: C = 1 − U₁/U · A, where U₁ are the incidences of edges seen
//! in one unit, U all incidences, and A = (T−1)Q₁ / ((T−1)Q₁ + 2Q₂).
//!
//! With windows as units U₁ is Q₁. With days as units, an edge that was seen on one day brings all its windows of that
//! day: the share is then what a day holds that no other day does, so that traffic which comes in bursts or once a day
//! is not taken for frequent.

use super::incidence::{Rare, Tally};

/// From this many days on, days count as sampling units: before, an edge had no occasion to come again on another.
pub const FIRST_DAYS: f64 = 2.0;

/// The estimated share of incidences, in the windows of a tally that covers so many windows and days, which belong to
/// edges that were not seen: the greater of the estimates by window and by day. It is 1 where nothing was seen at all,
/// and 0 where nothing was seen once only.
#[must_use]
pub fn missing(tally: &Tally, windows: f64, days: f64) -> f64 {
    if tally.incidences == 0 {
        return 1.0;
    }
    let share = |once: u64| once as f64 / tally.incidences as f64;
    let by_window = share(tally.by_window.once) * never(tally.by_window, windows);
    if days < FIRST_DAYS {
        return by_window;
    }
    let by_day = share(tally.once) * never(tally.by_day, days);
    by_window.max(by_day)
}

/// The share of the incidences of edges seen once that stands for edges not seen: A. Where nothing was seen twice, one
/// edge takes that place, as in the form of [`super::chao2`] without bias.
fn never(rare: Rare, units: f64) -> f64 {
    let more = (units - 1.0).max(0.0);
    let (once, twice) = match rare.twice {
        0 => ((rare.once as f64 - 1.0).max(0.0), 1.0),
        twice => (rare.once as f64, twice as f64),
    };
    more * once / (more * once + 2.0 * twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tally of edges that are never seen twice on one day.
    fn tally(incidences: u64, once: u64, twice: u64) -> Tally {
        let rare = Rare { once, twice };
        Tally {
            edges: once + twice,
            incidences,
            by_window: rare,
            by_day: Rare::default(),
            ..Tally::default()
        }
    }

    #[test]
    fn it_is_the_published_formula() {
        let a = 9.0 * 6.0 / (9.0 * 6.0 + 2.0 * 3.0);
        let known = missing(&tally(60, 6, 3), 10.0, 0.0);
        assert!((known - 6.0 / 60.0 * a).abs() < 1e-12);
        let a = 9.0 * 5.0 / (9.0 * 5.0 + 2.0);
        let known = missing(&tally(60, 6, 0), 10.0, 0.0);
        assert!((known - 6.0 / 60.0 * a).abs() < 1e-12);
    }

    #[test]
    fn by_day_every_window_of_the_one_day_counts() {
        let tally = Tally {
            once: 20,
            by_day: Rare { once: 4, twice: 2 },
            ..tally(100, 0, 0)
        };
        let a = 6.0 * 4.0 / (6.0 * 4.0 + 2.0 * 2.0);
        assert!((missing(&tally, 168.0, 7.0) - 0.2 * a).abs() < 1e-12);
        assert_eq!(missing(&tally, 40.0, 40.0 / 24.0), 0.0);
        let two_days = 1.0 * 4.0 / (1.0 * 4.0 + 2.0 * 2.0);
        assert!((missing(&tally, 48.0, FIRST_DAYS) - 0.2 * two_days).abs() < 1e-12);
    }

    #[test]
    fn degenerate_cases_are_defined() {
        assert_eq!(missing(&Tally::default(), 24.0, 1.0), 1.0);
        assert_eq!(missing(&tally(50, 0, 3), 24.0, 1.0), 0.0);
        assert_eq!(missing(&tally(50, 1, 0), 24.0, 1.0), 0.0);
        assert_eq!(missing(&tally(1, 1, 0), 0.0, 0.0), 0.0);
    }
}
