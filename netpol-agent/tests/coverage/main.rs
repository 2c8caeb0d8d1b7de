//! Whether the intervals of coverage hold as often as they say, on simulated workloads whose edges are known, and what
//! `kubectl-netpol status` prints. `cargo xtask bench coverage` does the first for more kinds and sizes.

mod status;
mod worlds;

use netpol_agent::policy::coverage::bootstrap::LEVEL;
use worlds::{Chance, Outcome, Pattern};

/// Simulated workloads of each kind and size.
const WORLDS: usize = 200;

fn watch(pattern: Pattern, edges: usize, days: u32) -> Vec<Outcome> {
    let mut chance = Chance(u64::from(days) << 32 | edges as u64);
    let worlds = (0..WORLDS).filter_map(|_| pattern.watch(edges, days, &mut chance));
    worlds.collect()
}

fn share(worlds: &[Outcome], of: impl Fn(&Outcome) -> bool) -> f64 {
    worlds.iter().filter(|world| of(world)).count() as f64 / worlds.len() as f64
}

#[test]
fn intervals_hold_as_stated_where_days_are_alike() {
    for pattern in &Pattern::ALL[..3] {
        for (edges, days) in [(5, 7), (10, 28), (20, 14)] {
            let worlds = watch(*pattern, edges, days);
            let name = pattern.name();
            let (holds, bound) = (
                share(&worlds, Outcome::holds),
                share(&worlds, Outcome::bound_holds),
            );
            assert!(
                holds >= LEVEL,
                "{name}, {edges} edges, {days} days: {holds}"
            );
            assert!(
                bound >= LEVEL,
                "{name}, {edges} edges, {days} days: bound {bound}"
            );
        }
    }
}

#[test]
fn intervals_are_not_merely_wide() {
    for pattern in &Pattern::ALL[..3] {
        let worlds = watch(*pattern, 20, 14);
        let name = pattern.name();
        let narrow = share(&worlds, |world| {
            let interval = world.numbers.interval;
            interval.is_some_and(|interval| interval.high - interval.low < 0.35)
        });
        assert!(narrow > 0.9, "{name}: {narrow}");
    }
}

#[test]
fn what_waits_for_a_deploy_is_not_held() {
    let worlds = watch(Pattern::Deploys, 100, 7);
    assert!(share(&worlds, Outcome::holds) < LEVEL);
}
