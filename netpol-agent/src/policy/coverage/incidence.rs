//! In which windows each edge was seen, and what the estimators ask of that.
//!
//! Traffic comes in bursts and by the hour of the day, so windows of the same day are alike and days are what repeats.
//! An edge is therefore counted in two ways: in how many windows it was seen, and on how many *days*. A day of an edge
//! is 24 hours from the first window in which it is seen, and the next begins with the first window after those; so a
//! burst across midnight is one day. For resampling, time is cut into blocks of 24 hours from the first watched window
//! on, each of which holds every hour of the day once.

use crate::graph::Windows;

/// Hours of a day.
const DAY: u32 = 24;

/// Edges by windows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incidence {
    /// For each edge the windows of each block in which it was seen, as bits. Sorted, so that the order in which
    /// edges came does not matter; none is without a window.
    edges: Vec<Vec<u32>>,
    /// How many windows were watched.
    windows: u32,
    /// How many blocks that takes.
    blocks: usize,
    /// Windows of a day.
    per_day: u32,
}

/// What estimators count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Edges seen at all.
    pub edges: u64,
    /// Windows in which an edge was seen, over all edges.
    pub incidences: u64,
    /// Edges by the number of their windows.
    pub by_window: Rare,
    /// Edges by the number of their days.
    pub by_day: Rare,
    /// The windows of edges seen on one day.
    pub once: u64,
    /// The squares of the numbers of those windows, over these edges.
    pub once_squared: u64,
    /// The windows of an edge on one of its days, averaged over days and then added up over edges.
    pub on_a_day: f64,
}

/// How many edges were seen rarely.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rare {
    /// In one sampling unit only: Q1 in the literature.
    pub once: u64,
    /// In two: Q2.
    pub twice: u64,
}

impl Incidence {
    /// Edges by the windows in which they were seen, as far as those were watched. `hours` is the length of a window;
    /// a length that does not divide the day is taken as the day.
    #[must_use]
    pub fn new<'a>(
        edges: impl IntoIterator<Item = &'a Windows>,
        watched: &Windows,
        hours: u32,
    ) -> Self {
        let hours = if hours > 0 && DAY.is_multiple_of(hours) {
            hours
        } else {
            DAY
        };
        let per_day = DAY / hours;
        let first = watched.first().unwrap_or_default() / hours;
        let place = |window: u32| {
            let number = window / hours - first;
            (number / per_day, number % per_day)
        };
        let blocks = watched.last().map_or(0, |last| place(last).0 as usize + 1);
        let masks = |windows: &Windows| {
            let mut masks = vec![0_u32; blocks];
            for window in windows.iter().filter(|window| watched.contains(*window)) {
                let (block, bit) = place(window);
                masks[block as usize] |= 1 << bit;
            }
            masks
        };
        let all = masks(watched);
        let seen = |masks: &Vec<u32>| masks.iter().any(|mask| *mask != 0);
        let mut edges: Vec<Vec<u32>> = edges.into_iter().map(masks).filter(seen).collect();
        edges.sort_unstable();
        Self {
            edges,
            windows: all.iter().map(|mask| mask.count_ones()).sum(),
            blocks,
            per_day,
        }
    }

    /// How many windows were watched.
    #[must_use]
    pub fn windows(&self) -> u32 {
        self.windows
    }

    /// How many days those windows make.
    #[must_use]
    pub fn days(&self) -> f64 {
        f64::from(self.windows) / f64::from(self.per_day)
    }

    /// How many edges were seen in them.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.edges.len()
    }

    /// The counts of what was seen.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let order: Vec<usize> = (0..self.blocks).collect();
        self.tally_of(&order)
    }

    /// The counts of some blocks, put one after the other.
    pub(super) fn tally_of(&self, order: &[usize]) -> Tally {
        let mut tally = Tally::default();
        for masks in &self.edges {
            let (windows, days) = Self::count(masks, order);
            tally.add(windows, days);
        }
        tally
    }

    /// How many blocks the watched time is cut into.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// The edges that are in none of some blocks: how many, and in how many windows they were seen.
    pub(super) fn absent(&self, order: &[usize]) -> (u64, u64) {
        let lacks = |masks: &&Vec<u32>| order.iter().all(|block| masks[*block] == 0);
        let absent = self.edges.iter().filter(lacks);
        absent.fold((0, 0), |(edges, windows), masks| {
            let own: u32 = masks.iter().map(|mask| mask.count_ones()).sum();
            (edges + 1, windows + u64::from(own))
        })
    }

    /// How many windows of an edge lie in each block, over all edges.
    pub(super) fn totals(&self) -> impl Iterator<Item = u64> {
        (0..self.blocks).map(|block| {
            let of_edge = |masks: &Vec<u32>| u64::from(masks[block].count_ones());
            self.edges.iter().map(of_edge).sum()
        })
    }

    /// The windows and the days of one edge.
    fn count(masks: &[u32], order: &[usize]) -> (u32, u32) {
        let (mut windows, mut days) = (0, 0);
        // The windows of the block ahead that still belong to the edge's latest day.
        let mut taken = 0;
        for block in order {
            let mask = masks[*block];
            windows += mask.count_ones();
            let fresh = mask >> taken << taken;
            taken = match fresh {
                0 => 0,
                _ => fresh.trailing_zeros(),
            };
            days += u32::from(fresh != 0);
        }
        (windows, days)
    }
}

impl Tally {
    fn add(&mut self, windows: u32, days: u32) {
        if windows == 0 {
            return;
        }
        self.edges += 1;
        self.incidences += u64::from(windows);
        self.by_window.add(windows);
        self.by_day.add(days);
        self.on_a_day += f64::from(windows) / f64::from(days);
        if days == 1 {
            self.once += u64::from(windows);
            self.once_squared += u64::from(windows).pow(2);
        }
    }
}

impl Rare {
    fn add(&mut self, units: u32) {
        self.once += u64::from(units == 1);
        self.twice += u64::from(units == 2);
    }
}
