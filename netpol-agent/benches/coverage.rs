//! How often the intervals of coverage hold, on simulated workloads whose edges are known, and what an estimate costs.
//!
//! The figures are the worst and the mean over workloads of 5 to 100 edges, watched for 7 to 28 days.

use std::io::{self, Write};
use std::time::Instant;

#[path = "../tests/coverage/worlds.rs"]
mod worlds;

use worlds::{Chance, Outcome, Pattern};

const EDGES: [usize; 5] = [5, 10, 20, 50, 100];
const DAYS: [u32; 3] = [7, 14, 28];
/// Simulated workloads of each kind, number of edges and number of days.
const WORLDS: usize = 1000;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "pattern      edges days  coverage  estimate  holds  too low  too high  width  unseen  Chao2  bound holds"
    )?;
    for pattern in Pattern::ALL {
        let (mut worst, mut sum, mut worst_bound) = (1.0_f64, 0.0, 1.0_f64);
        for edges in EDGES {
            for days in DAYS {
                let cell = Cell::of(pattern, edges, days);
                writeln!(out, "{:11}  {edges:5} {days:4}  {cell}", pattern.name())?;
                worst = worst.min(cell.holds);
                worst_bound = worst_bound.min(cell.bound_holds);
                sum += cell.holds;
            }
        }
        let name = pattern.name();
        figure(
            &mut out,
            &format!("coverage.{name}_holds_worst"),
            worst,
            "share",
        )?;
        let mean = sum / (EDGES.len() * DAYS.len()) as f64;
        figure(
            &mut out,
            &format!("coverage.{name}_holds_mean"),
            mean,
            "share",
        )?;
        figure(
            &mut out,
            &format!("coverage.{name}_bound_holds_worst"),
            worst_bound,
            "share",
        )?;
    }
    let begin = Instant::now();
    let mut chance = Chance(1);
    let seen = (0..100).filter_map(|_| Pattern::Bursty.watch(100, 28, &mut chance));
    assert_eq!(seen.count(), 100, "some of a hundred edges is always seen");
    let each = begin.elapsed().as_secs_f64() * 10.0;
    figure(
        &mut out,
        "coverage.estimate_100_edges_28_days_ms",
        each,
        "ms",
    )
}

fn figure(out: &mut impl Write, name: &str, value: f64, unit: &str) -> io::Result<()> {
    writeln!(
        out,
        "{{\"name\":\"{name}\",\"value\":{value:.4},\"unit\":\"{unit}\"}}"
    )
}

/// What many workloads of a kind come to, on average.
struct Cell {
    coverage: f64,
    estimate: f64,
    holds: f64,
    too_low: f64,
    too_high: f64,
    width: f64,
    unseen: f64,
    chao2: f64,
    bound_holds: f64,
}

impl Cell {
    fn of(pattern: Pattern, edges: usize, days: u32) -> Self {
        let mut chance = Chance(u64::from(days) << 32 | edges as u64);
        let worlds = (0..WORLDS).filter_map(|_| pattern.watch(edges, days, &mut chance));
        let worlds: Vec<Outcome> = worlds.collect();
        let mean =
            |of: &dyn Fn(&Outcome) -> f64| worlds.iter().map(of).sum::<f64>() / worlds.len() as f64;
        let share = |of: &dyn Fn(&Outcome) -> bool| mean(&|world| f64::from(u8::from(of(world))));
        let limits = |world: &Outcome| {
            let interval = world.numbers.interval;
            interval.map_or((0.0, 1.0), |interval| (interval.low, interval.high))
        };
        Self {
            coverage: mean(&|world| world.coverage),
            estimate: mean(&|world| world.numbers.coverage),
            holds: share(&Outcome::holds),
            too_low: share(&|world| !world.holds() && limits(world).1 < world.coverage),
            too_high: share(&|world| !world.holds() && limits(world).0 > world.coverage),
            width: mean(&|world| limits(world).1 - limits(world).0),
            unseen: mean(&|world| world.unseen),
            chao2: mean(&|world| world.numbers.unseen),
            bound_holds: share(&Outcome::bound_holds),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:8.3}  {:8.3}  {:5.3}  {:7.3}  {:8.3}  {:5.3}  {:6.1}  {:5.1}  {:11.3}",
            self.coverage,
            self.estimate,
            self.holds,
            self.too_low,
            self.too_high,
            self.width,
            self.unseen,
            self.chao2,
            self.bound_holds
        )
    }
}
