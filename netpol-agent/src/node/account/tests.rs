//! A model of the kernel's maps, of the durable cells and of the ledger, against which the account is run.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MAPS: [MapKind; 2] = [MapKind::Edges, MapKind::Attempts];

#[derive(Clone, Copy, Debug)]
struct Packet {
    key: u16,
    map: bool,
    field: u8,
}

/// Where the process dies while it deletes an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Crash {
    Never,
    BeforeDelete,
    AfterDelete,
}

#[derive(Clone, Debug)]
enum Step {
    Packet(Packet),
    Walk,
    Deliver {
        acknowledged: bool,
    },
    Delete {
        key: u16,
        map: bool,
        racing: Vec<Packet>,
        tells_last: bool,
        crash: Crash,
    },
    Crash,
}

#[derive(Default)]
struct World {
    now: u64,
    kernel: [BTreeMap<EdgeKey, EdgeValue>; 2],
    durable: BTreeMap<(usize, EdgeKey), Cell>,
    account: Account,
    ledger: BTreeMap<EdgeKey, Totals>,
    truth: BTreeMap<EdgeKey, Counts>,
    raced: BTreeMap<EdgeKey, Counts>,
}

impl Carries for BTreeMap<(usize, EdgeKey), Cell> {
    type Error = Infallible;

    fn carried(&self, map: MapKind, key: &EdgeKey) -> Result<Option<Cell>, Infallible> {
        Ok(self.get(&(index(map), *key)).copied())
    }
}

fn key(port: u16) -> EdgeKey {
    EdgeKey {
        port,
        ..first(u32::from(port % 2))
    }
}

fn map(edges: bool) -> MapKind {
    MAPS[usize::from(!edges)]
}

impl World {
    fn packet(&mut self, packet: Packet) {
        self.now += 1;
        let new = EdgeValue {
            first_seen: self.now,
            ..EdgeValue::default()
        };
        let key = key(packet.key);
        let entry = self.kernel[index(map(packet.map))]
            .entry(key)
            .or_insert(new);
        let truth = self.truth.entry(key).or_default();
        entry.last_seen = self.now;
        let (count, truth) = match packet.field {
            0 => (&mut entry.attempts, &mut truth.attempts),
            1 => (&mut entry.answered, &mut truth.answered),
            _ => (&mut entry.refused, &mut truth.refused),
        };
        *count += 1;
        *truth += 1;
    }

    fn walk(&mut self) {
        for map in MAPS {
            for (key, value) in &self.kernel[index(map)] {
                self.account
                    .observe(map, *key, value, &self.durable)
                    .unwrap();
            }
        }
    }

    fn deliver(&mut self, acknowledged: bool) {
        let all: Vec<_> = self
            .account
            .iter()
            .map(|(key, entry)| (*key, entry.totals()))
            .collect();
        for (key, totals) in all {
            let totals = totals.expect("a key has cells");
            if let Some(earlier) = self.ledger.insert(key, totals) {
                assert_eq!(
                    earlier.counts.since(totals.counts),
                    Counts::default(),
                    "{key:?} fell"
                );
                assert_eq!(earlier.first_seen, totals.first_seen);
            }
            if acknowledged {
                let revision = 1;
                self.account
                    .acknowledge(&key, Delivered { totals, revision });
            }
        }
    }

    fn delete(&mut self, map: MapKind, key: EdgeKey, racing: &[Packet], last: bool, crash: Crash) {
        let Some(entry) = self.account.get(&key).filter(|entry| entry.is_settled()) else {
            return;
        };
        let Some(cell) = entry.live(map).copied() else {
            return;
        };
        self.durable.insert((index(map), key), cell);
        let (before, after) = racing.split_at(racing.len() / 2);
        before.iter().for_each(|packet| self.packet(*packet));
        if crash == Crash::BeforeDelete {
            return self.crash();
        }
        let value = self.kernel[index(map)]
            .remove(&key)
            .expect("live, so the kernel holds it");
        after.iter().for_each(|packet| self.packet(*packet));
        if crash == Crash::AfterDelete || !last {
            let raced = self.raced.entry(key).or_default();
            *raced = *raced + Counts::from(&value).since(cell.value);
        }
        if crash == Crash::AfterDelete {
            return self.crash();
        }
        if let Some(cell) = self.account.deleted(map, &key, last.then_some(&value)) {
            self.durable.insert((index(map), key), cell);
        }
    }

    fn crash(&mut self) {
        self.account = Account::default();
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Packet(packet) => self.packet(*packet),
            Step::Walk => self.walk(),
            Step::Deliver { acknowledged } => self.deliver(*acknowledged),
            Step::Delete {
                key: port,
                map: edges,
                racing,
                tells_last,
                crash,
            } => {
                self.delete(map(*edges), key(*port), racing, *tells_last, *crash);
            }
            Step::Crash => self.crash(),
        }
    }

    /// Every key once more, so that nothing is left in a cell alone.
    fn settle(&mut self) {
        let ports: Vec<_> = self.truth.keys().map(|key| key.port).collect();
        for key in ports {
            self.packet(Packet {
                key,
                map: true,
                field: 0,
            });
        }
        self.walk();
        self.deliver(true);
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    (0..3u16, any::<bool>(), 0..3u8).prop_map(|(key, map, field)| Packet { key, map, field })
}

fn delete() -> impl Strategy<Value = Step> {
    let crash = prop_oneof![
        3 => Just(Crash::Never),
        1 => Just(Crash::BeforeDelete),
        1 => Just(Crash::AfterDelete),
    ];
    let racing = prop::collection::vec(packet(), 0..4);
    (0..3u16, any::<bool>(), racing, any::<bool>(), crash).prop_map(
        |(key, map, racing, tells_last, crash)| Step::Delete {
            key,
            map,
            racing,
            tells_last,
            crash,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => packet().prop_map(Step::Packet),
        3 => Just(Step::Walk),
        3 => any::<bool>().prop_map(|acknowledged| Step::Deliver { acknowledged }),
        4 => delete(),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// No count falls, none is doubled, and only packets that raced with a deletion may be missing.
    #[test]
    fn counts_are_exact_but_for_races(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        for step in &steps {
            world.run(step);
        }
        world.settle();
        let raced = |key| world.raced.get(key).copied().unwrap_or_default();
        for (key, truth) in &world.truth {
            let learned = world.ledger.get(key).expect("no edge is lost").counts;
            prop_assert_eq!(learned + raced(key), *truth, "{:?}", key);
        }
    }

    /// The number of live entries is that of the kernel's maps, once they were walked.
    #[test]
    fn live_entries_are_counted(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        for step in &steps {
            world.run(step);
        }
        world.walk();
        for map in MAPS {
            prop_assert_eq!(world.account.live(map), world.kernel[index(map)].len());
        }
    }
}

fn value(attempts: u64, first_seen: u64) -> EdgeValue {
    EdgeValue {
        attempts,
        first_seen,
        last_seen: first_seen + attempts,
        ..EdgeValue::default()
    }
}

fn counted(account: &Account, port: u16) -> Option<(u64, u64)> {
    let totals = account.get(&key(port))?.totals()?;
    Some((totals.counts.attempts, totals.first_seen))
}

#[test]
fn both_maps_add_up() {
    let mut account = Account::default();
    let key = key(1);
    account
        .observe(MapKind::Attempts, key, &value(3, 10), &NoCarries)
        .unwrap();
    account
        .observe(MapKind::Edges, key, &value(4, 20), &NoCarries)
        .unwrap();
    assert_eq!(counted(&account, 1), Some((7, 10)));
}

#[test]
fn a_carried_entry_that_is_still_there_is_not_added() {
    let cell = Cell {
        before: Counts {
            attempts: 5,
            ..Counts::default()
        },
        value: Counts {
            attempts: 2,
            ..Counts::default()
        },
        entry: 40,
        first_seen: 10,
        last_seen: 50,
    };
    let durable = BTreeMap::from([((0, key(1)), cell)]);
    for (first_seen, expected) in [(40, 5 + 3), (60, 5 + 2 + 3)] {
        let mut account = Account::default();
        account
            .observe(MapKind::Edges, key(1), &value(3, first_seen), &durable)
            .unwrap();
        assert_eq!(counted(&account, 1), Some((expected, 10)), "{first_seen}");
    }
}

#[test]
fn a_deleted_key_is_forgotten_once_delivered() {
    let mut account = Account::default();
    account
        .observe(MapKind::Edges, key(1), &value(3, 10), &NoCarries)
        .unwrap();
    let changed = account.deleted(MapKind::Edges, &key(1), Some(&value(4, 10)));
    assert_eq!(changed.map(|cell| cell.total().attempts), Some(4));
    let totals = account
        .get(&key(1))
        .and_then(Entry::totals)
        .expect("it was not delivered");
    account.acknowledge(
        &key(1),
        Delivered {
            totals,
            revision: 0,
        },
    );
    assert!(account.get(&key(1)).is_none());
    assert_eq!(account.live(MapKind::Edges), 0);
}

#[test]
fn an_open_connection_is_seen_without_being_counted() {
    let mut account = Account::default();
    account
        .observe(MapKind::Edges, key(1), &value(3, 10), &NoCarries)
        .unwrap();
    assert!(account.open(&key(1), 500, &NoCarries).unwrap());
    assert!(!account.open(&key(2), 500, &NoCarries).unwrap());
    let totals = account.get(&key(1)).and_then(Entry::totals).unwrap();
    assert_eq!((totals.counts.attempts, totals.last_seen), (3, 500));
}

#[test]
fn a_connection_may_stay_open_longer_than_its_entry() {
    let mut account = Account::default();
    let mut cell = Cell::new(&value(3, 10));
    cell.last_seen = 20;
    let durable = BTreeMap::from([((0, key(1)), cell)]);
    assert!(account.open(&key(1), 500, &durable).unwrap());
    let totals = account.get(&key(1)).and_then(Entry::totals).unwrap();
    assert_eq!((totals.counts.attempts, totals.last_seen), (3, 500));
    let revision = 0;
    account.acknowledge(&key(1), Delivered { totals, revision });
    assert!(account.get(&key(1)).is_none());
}

#[test]
fn the_keys_of_an_interface_are_found() {
    let mut account = Account::default();
    for port in 0..9 {
        account
            .observe(MapKind::Edges, key(port), &value(1, 1), &NoCarries)
            .unwrap();
    }
    let ports: Vec<_> = account.of_interface(1).map(|(key, _)| key.port).collect();
    assert_eq!(ports, [1, 3, 5, 7]);
}
