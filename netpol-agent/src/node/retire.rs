//! Which entries of the kernel's maps are to be deleted.
//!
//! Only what was delivered and acknowledged, or is never delivered, may go, and only when it is idle. How long it must
//! have been idle depends on how full the map is. UDP is kept longer than TCP: an entry tells who is the client, and
//! without it a late datagram of the server would look like the first of a client.

use netpol_common::abi::{EdgeKey, UDP};

use super::account::{Account, Cell, Entry};
use super::interfaces::{Interfaces, Verdict};
use crate::kernel::MapKind;

#[cfg(test)]
mod tests;

/// Most entries deleted in one go, so that the rest of the observer is never kept waiting.
const ROUND: usize = 4096;
/// Most edges that wait on one interface for its pod to be known.
const PARKED: usize = 1024;
/// How long the edges of a dead interface wait for its pod to be known.
const PARKED_FOR: u64 = 10 * MINUTE;
/// An entry is told from the next one of its key by the time it was made, on a clock that ticks every few
/// milliseconds: one younger than this is never deleted.
const YOUNG: u64 = SECOND;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// How many entries there is room for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity {
    /// Entries of `EDGES`.
    pub edges: usize,
    /// Entries of `ATTEMPTS`.
    pub attempts: usize,
    /// Entries of `ATTEMPTS` that one interface may hold.
    pub quota: usize,
    /// By how much sooner than they should entries are taken for idle: 1 but in tests.
    pub hurry: u64,
}

/// What is to be deleted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// Delivered: their cells are to be made durable first.
    pub delivered: Vec<(MapKind, EdgeKey, Cell)>,
    /// Not to be learned: what they count at last is added to the interface's losses.
    pub unlearned: Vec<(MapKind, EdgeKey, Verdict)>,
}

/// How full a map is, in steps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Use {
    Low,
    Half,
    High,
}

impl Plan {
    fn len(&self) -> usize {
        self.delivered.len() + self.unlearned.len()
    }

    /// Whether nothing is to be deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Plans the next deletions at kernel time `now`.
#[must_use]
pub fn plan(account: &Account, interfaces: &Interfaces, now: u64, capacity: Capacity) -> Plan {
    let mut plan = Plan::default();
    let mut keys = account.iter().peekable();
    while let Some((key, _)) = keys.peek() {
        let handle = key.interface;
        let of_interface: Vec<_> =
            std::iter::from_fn(|| keys.next_if(|(key, _)| key.interface == handle)).collect();
        let interface = OfInterface::new(account, interfaces, handle, &of_interface, now, capacity);
        for (key, entry) in of_interface {
            if plan.len() >= ROUND {
                return plan;
            }
            interface.judge(key, entry, &mut plan);
        }
    }
    plan
}

/// What the entries of one interface are judged by.
struct OfInterface<'a> {
    interfaces: &'a Interfaces,
    now: u64,
    dead_for: Option<u64>,
    edges: Use,
    attempts: Use,
    /// Parked edges first seen before this time are beyond the bound.
    parked_before: u64,
    revision: Option<u32>,
    hurry: u64,
}

impl<'a> OfInterface<'a> {
    fn new(
        account: &Account,
        interfaces: &'a Interfaces,
        handle: u32,
        entries: &[(&EdgeKey, &Entry)],
        now: u64,
        capacity: Capacity,
    ) -> Self {
        let interface = interfaces.get(handle);
        let dead_since = interface.map_or(Some(0), |interface| interface.dead_since);
        let attempts = |entry: &Entry| entry.live(MapKind::Attempts).is_some();
        let held = entries.iter().filter(|(_, entry)| attempts(entry)).count();
        let of_map = |map, capacity| Use::of(account.live(map), capacity);
        Self {
            interfaces,
            now,
            dead_for: dead_since.map(|since| now.saturating_sub(since)),
            edges: of_map(MapKind::Edges, capacity.edges),
            attempts: of_map(MapKind::Attempts, capacity.attempts)
                .max(Use::of(held, capacity.quota)),
            parked_before: bound_of_parked(interfaces, entries),
            revision: interface.map(|interface| interface.revision),
            hurry: capacity.hurry,
        }
    }

    fn judge(&self, key: &EdgeKey, entry: &Entry, plan: &mut Plan) {
        let interface = self.interfaces.get(key.interface);
        let verdict = interface.map_or(Verdict::Park, |known| known.verdict_on(key, entry));
        for map in [MapKind::Edges, MapKind::Attempts] {
            let Some(cell) = entry.live(map).filter(|cell| self.age(cell.entry) > YOUNG) else {
                continue;
            };
            let last_seen = cell.last_seen.max(entry.open_at());
            match verdict {
                Verdict::Learn if self.is_delivered(entry) && self.is_idle(map, key, last_seen) => {
                    plan.delivered.push((map, *key, *cell));
                }
                Verdict::Foreign | Verdict::NotForPod | Verdict::Beyond
                    if self.is_idle(map, key, cell.last_seen) =>
                {
                    plan.unlearned.push((map, *key, verdict));
                }
                Verdict::Park if self.waited_long(cell) => {
                    plan.unlearned.push((map, *key, verdict));
                }
                _ => {}
            }
        }
    }

    fn is_delivered(&self, entry: &Entry) -> bool {
        let revision = entry.delivered().map(|delivered| delivered.revision);
        entry.is_settled() && (entry.is_blank() || revision == self.revision)
    }

    fn is_idle(&self, map: MapKind, key: &EdgeKey, last_seen: u64) -> bool {
        self.dead_for.is_some() || self.age(last_seen) > self.idle(map, key.protocol) / self.hurry
    }

    fn waited_long(&self, cell: &Cell) -> bool {
        self.dead_for.is_some_and(|time| time > PARKED_FOR) || cell.first_seen < self.parked_before
    }

    fn age(&self, time: u64) -> u64 {
        self.now.saturating_sub(time)
    }

    /// How long an entry must have been idle.
    fn idle(&self, map: MapKind, protocol: u8) -> u64 {
        match (map, protocol) {
            (MapKind::Edges, UDP) => [24 * HOUR, HOUR, 10 * MINUTE][self.edges as usize],
            (MapKind::Edges, _) => [HOUR, 10 * MINUTE, MINUTE][self.edges as usize],
            (MapKind::Attempts, UDP) => {
                [30 * MINUTE, 5 * MINUTE, 4 * MINUTE][self.attempts as usize]
            }
            (MapKind::Attempts, _) => [10 * MINUTE, 2 * MINUTE, MINUTE][self.attempts as usize],
        }
    }
}

impl Use {
    fn of(held: usize, capacity: usize) -> Self {
        match held.saturating_mul(100) / capacity.max(1) {
            0..50 => Self::Low,
            50..80 => Self::Half,
            _ => Self::High,
        }
    }
}

/// The time before which parked edges are beyond the bound: the newest are kept.
fn bound_of_parked(interfaces: &Interfaces, entries: &[(&EdgeKey, &Entry)]) -> u64 {
    if entries.len() <= PARKED {
        return 0;
    }
    let parked = entries
        .iter()
        .filter(|(key, _)| interfaces.verdict(key) == Verdict::Park);
    let mut times: Vec<u64> = parked
        .filter_map(|(_, entry)| entry.totals())
        .map(|totals| totals.first_seen)
        .collect();
    let Some(beyond) = times.len().checked_sub(PARKED).filter(|beyond| *beyond > 0) else {
        return 0;
    };
    *times.select_nth_unstable(beyond).1
}
