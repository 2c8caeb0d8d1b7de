//! How far the estimates may be off, by resampling days.
//!
//! A resample draws as many blocks of 24 hours as there are, with replacement, and puts them one after the other. The
//! truth about it is known: the edges that were seen, but on none of the days drawn. So each resample shows an error
//! of the estimator, and the estimate less these errors makes the interval (the *pivotal* or *basic* bootstrap:
//! A. C. Davison and D. V. Hinkley, Bootstrap Methods and Their Application, 1997, sections 5.2 and 8.2.3).
//!
//! Resampling cannot show more than was seen: where every edge came every day, no resample lacks one. So the interval
//! is at least as wide as the limits that a few rare events leave ([`super::rare_events`]), one edge seen on one day
//! being one event.
//!
//! Few days make few different resamples, and their errors too small. What an interval is worth is therefore measured,
//! on simulated workloads whose edges are known: with tails of 1 % it holds the truth in at least 90 % of the cases if
//! days are alike, whatever happens within a day. That is what [`LEVEL`] says of it.

use super::chao2;
use super::incidence::{Incidence, Tally};
use super::random::Random;
use super::sample::missing;

/// How often the interval holds the true coverage, and how often the bound on the unseen edges holds, at least, where
/// days are alike.
pub const LEVEL: f64 = 0.90;

/// How many resamples are drawn.
const RESAMPLES: usize = 200;
/// What is cut off at each end of the errors of the coverage.
const TAIL: f64 = 0.01;
/// The normal quantile of that.
const Z: f64 = 2.326;
/// What is cut off of the errors of the number of unseen edges.
const COUNT_TAIL: f64 = 0.05;

/// What the days leave open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The least that the coverage may be.
    pub low: f64,
    /// The most that it may be.
    pub high: f64,
    /// At least so many edges are unseen. There is no upper bound: any number of edges may be too rare to be seen.
    pub unseen_at_least: f64,
}

/// The estimates of a tally over so many windows and days.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) missing: f64,
    pub(super) unseen: f64,
}

impl Point {
    pub(super) fn of(tally: &Tally, incidence: &Incidence) -> Self {
        let (windows, days) = (f64::from(incidence.windows()), incidence.days());
        let by_window = chao2::unseen(tally.by_window, windows);
        let by_day = match days < super::sample::FIRST_DAYS {
            true => 0.0,
            false => chao2::unseen(tally.by_day, days),
        };
        Self {
            missing: missing(tally, windows, days),
            unseen: by_window.max(by_day),
        }
    }
}

/// The interval around an estimate. The same incidences always give the same.
pub(super) fn interval(incidence: &Incidence) -> Interval {
    let tally = incidence.tally();
    let point = Point::of(&tally, incidence);
    let seed = [
        u64::from(incidence.windows()),
        tally.edges,
        tally.incidences,
    ];
    let mut random = Random::seeded(seed.into_iter().chain(incidence.totals()));
    let errors = (0..RESAMPLES).map(|_| error(incidence, &tally, &mut random));
    let (missing, unseen): (Vec<f64>, Vec<f64>) =
        errors.map(|error| (error.missing, error.unseen)).unzip();
    let (missing, unseen) = (sorted(missing), sorted(unseen));
    let all = tally.incidences as f64;
    let next = tally.on_a_day / tally.edges as f64;
    let (sum, squares) = (tally.once as f64, tally.once_squared as f64);
    let (least, most) = super::rare_events::limits(sum, squares, next, Z);
    let least = (point.missing - quantile(&missing, 1.0 - TAIL)).min(least / all);
    let most = (point.missing - quantile(&missing, TAIL)).max(most / all);
    let at_least = point.unseen - quantile(&unseen, 1.0 - COUNT_TAIL);
    Interval {
        low: 1.0 - most.clamp(point.missing, 1.0),
        high: 1.0 - least.clamp(0.0, point.missing),
        unseen_at_least: at_least.clamp(0.0, point.unseen),
    }
}

/// By how much the estimates are off in one resample.
fn error(incidence: &Incidence, tally: &Tally, random: &mut Random) -> Point {
    let blocks = incidence.blocks();
    let drawn: Vec<usize> = (0..blocks).map(|_| random.below(blocks)).collect();
    let estimate = Point::of(&incidence.tally_of(&drawn), incidence);
    let (edges, windows) = incidence.absent(&drawn);
    Point {
        missing: estimate.missing - windows as f64 / tally.incidences as f64,
        unseen: estimate.unseen - edges as f64,
    }
}

fn sorted(mut errors: Vec<f64>) -> Vec<f64> {
    errors.sort_unstable_by(f64::total_cmp);
    errors
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}
