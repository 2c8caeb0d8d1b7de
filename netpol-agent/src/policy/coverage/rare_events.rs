//! Limits for a sum of few rare events of different weights, also for none at all.
//!
//! Source: M. P. Fay and E. J. Feuer, Statistics in Medicine 16 (1997), 791–801: a sum of weighted Poisson counts lies
//! between quantiles of gamma distributions; for the upper one, one more event is taken to have happened. Of no event
//! that leaves the "rule of three". Quantiles of the gamma distribution by the approximation of E. B. Wilson and
//! M. M. Hilferty, Proceedings of the National Academy of Sciences 17 (1931), 684–688.

/// The lower and the upper limit of a sum of weights, of which `squares` is the sum of squares. `next` is the weight of
/// an event that did not happen yet; `z` the standard normal quantile of each limit.
#[must_use]
pub fn limits(sum: f64, squares: f64, next: f64, z: f64) -> (f64, f64) {
    let lower = gamma(sum, squares, -z);
    let upper = gamma(sum + next, squares + next * next, z);
    (lower, upper)
}

/// The quantile of a gamma distribution with a mean and a variance.
fn gamma(mean: f64, variance: f64, z: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let shape = mean * mean / variance;
    let ninth = 1.0 / (9.0 * shape);
    let root = 1.0 - ninth + z * ninth.sqrt();
    mean * root.max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact limits of a Poisson count, one-sided 97.5 %: F. Garwood, Biometrika 28 (1936), 437–442.
    #[test]
    fn of_equal_weights_they_are_those_of_a_poisson_count() {
        let exact = [
            (0, 0.0, 3.689),
            (1, 0.025, 5.572),
            (5, 1.623, 11.668),
            (20, 12.217, 30.888),
        ];
        for (count, low, high) in exact {
            let (lower, upper) = limits(f64::from(count), f64::from(count), 1.0, 1.96);
            assert!((lower - low).abs() < 0.05, "{count}: {lower}");
            assert!((upper - high).abs() < 0.05, "{count}: {upper}");
        }
    }

    #[test]
    fn weights_scale_them() {
        let one = limits(3.0, 3.0, 1.0, 1.96);
        let five = limits(15.0, 75.0, 5.0, 1.96);
        assert!((one.0 * 5.0 - five.0).abs() < 1e-9 && (one.1 * 5.0 - five.1).abs() < 1e-9);
    }
}
