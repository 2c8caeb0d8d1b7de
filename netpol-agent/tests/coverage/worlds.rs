//! Simulated workloads whose edges are known, and so the truth that the estimates are about.

use netpol_agent::graph::Windows;
use netpol_agent::policy::coverage::{Incidence, Numbers};

/// Hours of a day.
const DAY: u32 = 24;
/// Hours of a month, for what happens once in each.
const MONTH: u32 = 30 * DAY;
/// A window that begins a day.
const BEGIN: u32 = 490_080;

/// When the edges of a workload occur.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pattern {
    /// Each window for itself, from one in a thousand windows to every second one.
    Independent,
    /// At the same hours of the day, from one day in fifty to every day.
    Daily,
    /// In bursts of six hours on average, which begin from once in a thousand hours to once in ten.
    Bursty,
    /// Half of them on one day of the month only, the others independent.
    Monthly,
    /// Half of them at deploys only, one in ten days on average, the others independent.
    Deploys,
}

/// What one simulated workload came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The share of what occurs that belongs to edges which were seen.
    pub(crate) coverage: f64,
    /// How many edges were not seen.
    pub(crate) unseen: f64,
    /// What was estimated from what was seen.
    pub(crate) numbers: Numbers,
}

impl Pattern {
    /// All of them; of the first three, days are alike.
    pub(crate) const ALL: [Self; 5] = [
        Self::Independent,
        Self::Daily,
        Self::Bursty,
        Self::Monthly,
        Self::Deploys,
    ];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Daily => "daily",
            Self::Bursty => "bursty",
            Self::Monthly => "monthly",
            Self::Deploys => "deploys",
        }
    }

    /// Watches one workload of so many edges for so many days; nothing if no edge was seen.
    pub(crate) fn watch(self, edges: usize, days: u32, chance: &mut Chance) -> Option<Outcome> {
        let hours = days * DAY;
        let deploys: Vec<u32> = (0..hours).filter(|_| chance.happens(1.0 / 240.0)).collect();
        let (mut all, mut seen, mut unseen) = (0.0, 0.0, 0.0);
        let mut windows = Vec::new();
        for number in 0..edges {
            let edge = match (self, number % 2) {
                (Self::Monthly, 0) => monthly(hours, chance),
                (Self::Deploys, 0) => deployed(&deploys, chance),
                (Self::Daily, _) => daily(hours, chance),
                (Self::Bursty, _) => bursty(hours, chance),
                _ => independent(hours, chance),
            };
            all += edge.share;
            if edge.windows.is_empty() {
                unseen += 1.0;
                continue;
            }
            seen += edge.share;
            windows.push(edge.windows);
        }
        let watched = Windows::between(BEGIN, BEGIN + hours - 1);
        let numbers = Numbers::of(&Incidence::new(&windows, &watched, 1))?;
        Some(Outcome {
            coverage: seen / all,
            unseen,
            numbers,
        })
    }
}

impl Outcome {
    /// Whether the interval holds the true coverage.
    pub(crate) fn holds(&self) -> bool {
        let slack = 1e-9;
        self.numbers.interval.is_some_and(|interval| {
            interval.low - slack <= self.coverage && self.coverage <= interval.high + slack
        })
    }

    /// Whether at least so many edges were unseen as the bound says.
    pub(crate) fn bound_holds(&self) -> bool {
        let bound = self
            .numbers
            .interval
            .map(|interval| interval.unseen_at_least);
        bound.is_some_and(|bound| bound <= self.unseen + 1e-9)
    }
}

/// An edge: the share of windows in which it occurs in the long run, and those of the time watched.
struct Edge {
    share: f64,
    windows: Windows,
}

impl Edge {
    fn new(share: f64, hours: impl Iterator<Item = u32>) -> Self {
        let windows = hours.map(|hour| BEGIN + hour).collect();
        Self { share, windows }
    }
}

fn independent(hours: u32, chance: &mut Chance) -> Edge {
    let share = chance.between(0.001, 0.5);
    Edge::new(share, (0..hours).filter(|_| chance.happens(share)))
}

fn daily(hours: u32, chance: &mut Chance) -> Edge {
    let days = chance.between(0.02, 1.0);
    let (from, length) = (chance.below(DAY), 1 + chance.below(8));
    let mut seen = Vec::new();
    for day in (0..hours).step_by(DAY as usize) {
        let comes = chance.happens(days);
        let own = (from..from + length).map(|hour| day + hour % DAY);
        seen.extend(own.filter(|_| comes && chance.happens(0.9)));
    }
    Edge::new(days * 0.9 * f64::from(length) / 24.0, seen.into_iter())
}

fn bursty(hours: u32, chance: &mut Chance) -> Edge {
    let (begins, ends) = (chance.between(0.001, 0.1), 1.0 / 6.0);
    let share = begins / (begins + ends);
    let mut on = chance.happens(share);
    let mut seen = Vec::new();
    for hour in 0..hours {
        if on && chance.happens(0.8) {
            seen.push(hour);
        }
        on = match on {
            true => !chance.happens(ends),
            false => chance.happens(begins),
        };
    }
    Edge::new(0.8 * share, seen.into_iter())
}

fn monthly(hours: u32, chance: &mut Chance) -> Edge {
    let (day, from, length) = (chance.below(30), chance.below(20), 1 + chance.below(4));
    let begin = day * DAY + from;
    let own = move |hour: &u32| (begin..begin + length).contains(&(hour % MONTH));
    Edge::new(f64::from(length) / f64::from(MONTH), (0..hours).filter(own))
}

fn deployed(deploys: &[u32], chance: &mut Chance) -> Edge {
    let own = deploys.iter().copied().filter(|_| chance.happens(0.8));
    Edge::new(0.8 / 240.0, own)
}

/// Random numbers that are the same on every run: SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn happens(&mut self, share: f64) -> bool {
        self.share() < share
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.share() * f64::from(bound)) as u32
    }

    /// Between two numbers, every order of magnitude being as likely.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.share())
    }
}
