//! What holds for any bytes. Both functions panic where it does not: for the fuzzer and its old crashers.

use netpol_common::abi::{EdgeKey, Event, Fate, InterfaceConfig};

use super::fake::{Fake, LIMITS, Limits};
use super::script::{Step, steps};
use crate::key::Side;
use crate::store::Table;

const IFINDEX: u32 = 7;

/// Takes bytes, less the first, for a packet of which the first byte says how much is linear: it has one fate and makes
/// at most one entry, the same wherever its linear part ends.
///
/// # Panics
///
/// If that does not hold.
pub fn frame(bytes: &[u8]) {
    let Some((linear, frame)) = bytes.split_first() else {
        return;
    };
    for side in [Side::FromPod, Side::ToPod] {
        let whole = alone(side, frame, frame.len());
        assert!(whole.1.len() <= 1, "{whole:?}");
        assert_eq!(alone(side, frame, usize::from(*linear)), whole);
    }
}

/// Makes traffic of bytes, on maps that are nearly full: every packet has one fate, and the counters agree with the maps.
///
/// # Panics
///
/// If that does not hold.
pub fn traffic(bytes: &[u8]) {
    let limits = Limits {
        edges: 6,
        attempts: 5,
        sights: 3,
    };
    let fake = Fake::new(limits, &[config(4)]);
    for Step { side, frame } in steps(bytes) {
        fake.observe(side, IFINDEX, &frame);
        fake.pass(1_000_000);
    }
    assert_eq!(fake.counters().fates.iter().sum::<u64>(), fake.seen());
    let (edges, attempts) = (fake.entries(Table::Edges), fake.entries(Table::Attempts));
    assert_eq!(fake.count(Event::EdgeMade), length(&edges));
    let stats = fake.statistics(IFINDEX);
    assert_eq!(stats.attempts_made, length(&attempts));
    assert_eq!(stats.edges_lost, fake.count(Event::EdgeLost));
    assert!(stats.attempts_recovered <= stats.attempts_lost);
    let told = length(&fake.sights()) + fake.count(Event::RingFull);
    assert_eq!(told, fake.count(Event::EdgeMade));
}

/// The fate of a packet and the keys that it makes on empty maps.
fn alone(side: Side, frame: &[u8], linear: usize) -> (Fate, Vec<(Table, EdgeKey)>) {
    let fake = Fake::new(LIMITS, &[config(8)]);
    let fate = fake.observe_split(side, IFINDEX, frame, linear);
    let made = [Table::Edges, Table::Attempts]
        .into_iter()
        .flat_map(|table| {
            fake.entries(table)
                .into_iter()
                .map(move |(key, _)| (table, key))
        });
    (fate, made.collect())
}

fn config(quota: u32) -> InterfaceConfig {
    InterfaceConfig {
        ifindex: IFINDEX,
        interface: 42,
        quota,
        ..InterfaceConfig::default()
    }
}

fn length<T>(entries: &[T]) -> u64 {
    u64::try_from(entries.len()).unwrap_or(u64::MAX)
}
