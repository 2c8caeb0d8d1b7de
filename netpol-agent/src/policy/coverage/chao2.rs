//! How many edges are still unseen: Chao2, a lower bound.
//!
//! Source: A. Chao, Biometrics 43 (1987), 783–791; as given, with the factor for few sampling units, in R. K. Colwell
//! et al., Journal of Plant Ecology 5 (2012), 3–21, equations 6 and 7.

use super::incidence::Rare;

/// The estimated number of unseen edges, from the edges that were seen in one and in two of some sampling units.
///
/// What is expected of the estimate is no more than the truth, whatever the edges' frequencies, if the units are
/// independent of each other. Where nothing was seen twice, the form without bias is used, which needs no division;
/// where nothing was seen once, nothing is estimated to be unseen.
#[must_use]
pub fn unseen(rare: Rare, units: f64) -> f64 {
    if units <= 1.0 {
        return 0.0;
    }
    let (once, twice) = (rare.once as f64, rare.twice as f64);
    let pairs = match rare.twice {
        0 => once * (once - 1.0).max(0.0) / 2.0,
        _ => once * once / (2.0 * twice),
    };
    (units - 1.0) / units * pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(once: u64, twice: u64, units: f64) -> f64 {
        unseen(Rare { once, twice }, units)
    }

    #[test]
    fn it_is_the_published_formula() {
        assert!((of(6, 3, 10.0) - 0.9 * 36.0 / 6.0).abs() < 1e-12);
        assert!((of(6, 0, 10.0) - 0.9 * 6.0 * 5.0 / 2.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_seen_once_leaves_nothing_to_be_estimated() {
        assert_eq!(of(0, 5, 10.0), 0.0);
        assert_eq!(of(0, 0, 10.0), 0.0);
        assert_eq!(of(1, 0, 10.0), 0.0);
        assert_eq!(of(9, 3, 1.0), 0.0);
        assert_eq!(of(9, 3, 0.0), 0.0);
    }
}
