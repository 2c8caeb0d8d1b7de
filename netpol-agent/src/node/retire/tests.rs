//! Which entries go, and which must stay.

use netpol_common::abi::{Direction, EdgeValue, TCP};
use proptest::prelude::*;

use super::*;
use crate::node::account::{Delivered, NoCarries};
use crate::node::bind::Evidence;
use crate::node::interfaces::{Bound, Interface};
use crate::observe::{ObjectIdentity, PodIdentity};

const CAPACITY: Capacity = Capacity {
    edges: 1000,
    attempts: 1000,
    quota: 100,
    hurry: 1,
};
const NOW: u64 = 1000 * HOUR;
const OWN: &str = "10.1.0.5";

fn bound() -> Bound {
    let name = ObjectIdentity {
        namespace: "shop".to_owned(),
        name: "web-0".to_owned(),
    };
    Bound {
        pod: PodIdentity {
            name,
            uid: "u1".to_owned(),
        },
        addresses: vec![OWN.parse().unwrap()],
        evidence: Evidence::Process,
    }
}

fn key(protocol: u8, local: &str, port: u16) -> EdgeKey {
    let local: std::net::Ipv4Addr = local.parse().unwrap();
    EdgeKey {
        interface: 1,
        port,
        protocol,
        direction: Direction::Egress as u8,
        local: local.to_ipv6_mapped().octets(),
        remote: [9; 16],
    }
}

/// An account of one interface, bound unless told otherwise.
struct World {
    account: Account,
    interfaces: Interfaces,
}

impl World {
    fn new(interface: Interface) -> Self {
        let mut interfaces = Interfaces::default();
        interfaces.insert(interface);
        Self {
            account: Account::default(),
            interfaces,
        }
    }

    fn bound() -> Self {
        let mut interface = Interface::new(1, 3, "veth1");
        interface.bind(bound());
        Self::new(interface)
    }

    fn seen(&mut self, map: MapKind, key: EdgeKey, first_seen: u64, last_seen: u64) {
        let value = EdgeValue {
            attempts: 1,
            first_seen,
            last_seen,
            ..EdgeValue::default()
        };
        self.account.observe(map, key, &value, &NoCarries).unwrap();
    }

    fn delivered(&mut self) {
        let all: Vec<_> = self
            .account
            .iter()
            .map(|(key, entry)| (*key, entry.totals()))
            .collect();
        for (key, totals) in all {
            let revision = self.interfaces.get(1).unwrap().revision;
            let totals = totals.unwrap();
            self.account
                .acknowledge(&key, Delivered { totals, revision });
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.account, &self.interfaces, NOW, CAPACITY)
    }
}

#[test]
fn delivered_entries_go_once_idle_and_udp_later() {
    for (map, protocol, idle, goes) in [
        (MapKind::Edges, TCP, HOUR + 1, true),
        (MapKind::Edges, TCP, HOUR, false),
        (MapKind::Edges, UDP, HOUR + 1, false),
        (MapKind::Edges, UDP, 24 * HOUR + 1, true),
        (MapKind::Attempts, TCP, 10 * MINUTE + 1, true),
        (MapKind::Attempts, TCP, 10 * MINUTE, false),
        (MapKind::Attempts, UDP, 10 * MINUTE + 1, false),
        (MapKind::Attempts, UDP, 30 * MINUTE + 1, true),
    ] {
        let mut world = World::bound();
        world.seen(map, key(protocol, OWN, 80), 5, NOW - idle);
        assert!(
            world.plan().is_empty(),
            "not delivered: {map:?} {protocol} {idle}"
        );
        world.delivered();
        assert_eq!(
            world.plan().delivered.len(),
            usize::from(goes),
            "{map:?} {protocol} {idle}"
        );
    }
}

#[test]
fn an_edge_with_an_open_connection_stays() {
    let mut world = World::bound();
    let key = key(TCP, OWN, 80);
    world.seen(MapKind::Edges, key, 5, 6);
    assert!(world.account.open(&key, NOW - HOUR, &NoCarries).unwrap());
    world.delivered();
    assert!(world.plan().is_empty());
}

#[test]
fn a_blank_entry_goes_once_idle_without_being_delivered() {
    for (idle, goes) in [(24 * HOUR, false), (24 * HOUR + 1, true)] {
        let mut world = World::bound();
        let value = EdgeValue {
            first_seen: 5,
            last_seen: NOW - idle,
            ..EdgeValue::default()
        };
        let key = key(UDP, OWN, 53);
        let observed = world
            .account
            .observe(MapKind::Edges, key, &value, &NoCarries);
        observed.unwrap();
        assert_eq!(!world.plan().delivered.is_empty(), goes, "{idle}");
    }
}

#[test]
fn a_fuller_map_makes_entries_go_sooner() {
    for (entries, idle, goes) in [
        (499, 11 * MINUTE, false),
        (500, 11 * MINUTE, true),
        (799, 2 * MINUTE, false),
        (800, 2 * MINUTE, true),
        (800, MINUTE, false),
    ] {
        let mut world = World::bound();
        for port in 0..entries {
            world.seen(MapKind::Edges, key(TCP, OWN, port), 5, NOW - idle);
        }
        world.delivered();
        assert_eq!(!world.plan().is_empty(), goes, "{entries} {idle}");
    }
}

#[test]
fn a_used_up_quota_makes_attempts_go_sooner() {
    let mut world = World::bound();
    for port in 0..80 {
        world.seen(MapKind::Attempts, key(TCP, OWN, port), 5, NOW - 2 * MINUTE);
    }
    world.delivered();
    assert_eq!(world.plan().delivered.len(), 80);
}

#[test]
fn a_dead_interface_gives_its_entries_up_as_soon_as_they_are_delivered() {
    let mut world = World::bound();
    world.seen(MapKind::Edges, key(TCP, OWN, 80), 5, NOW - 2 * SECOND);
    world.interfaces.get_mut(1).unwrap().dead_since = Some(NOW - 1);
    assert!(world.plan().is_empty());
    world.delivered();
    assert_eq!(world.plan().delivered.len(), 1);
}

#[test]
fn what_was_delivered_under_another_binding_stays() {
    let mut world = World::bound();
    world.seen(MapKind::Edges, key(TCP, OWN, 80), 5, 6);
    world.delivered();
    world.interfaces.get_mut(1).unwrap().set_one_sided(true);
    assert!(world.plan().is_empty());
}

#[test]
fn an_entry_too_young_to_be_told_from_the_next_stays() {
    let mut world = World::bound();
    world.seen(MapKind::Edges, key(TCP, OWN, 80), NOW - SECOND, NOW);
    world.interfaces.get_mut(1).unwrap().dead_since = Some(NOW);
    world.delivered();
    assert!(world.plan().is_empty());
}

#[test]
fn foreign_entries_go_without_being_delivered() {
    let mut world = World::bound();
    let spoofed = key(TCP, "10.9.9.9", 80);
    world.seen(MapKind::Attempts, spoofed, 5, NOW - 11 * MINUTE);
    let plan = world.plan();
    assert_eq!(
        plan.unlearned,
        [(MapKind::Attempts, spoofed, Verdict::Foreign)]
    );
    assert!(plan.delivered.is_empty());
}

#[test]
fn too_many_never_answered_edges_go_without_being_delivered() {
    let mut world = World::bound();
    let interface = world.interfaces.get_mut(1).unwrap();
    interface.unanswered = crate::node::interfaces::UNANSWERED;
    let attempt = key(TCP, OWN, 80);
    world.seen(MapKind::Attempts, attempt, 5, NOW - 11 * MINUTE);
    let plan = world.plan();
    assert_eq!(
        plan.unlearned,
        [(MapKind::Attempts, attempt, Verdict::Beyond)]
    );
}

#[test]
fn parked_edges_are_bounded_and_the_newest_are_kept() {
    let mut world = World::new(Interface::new(1, 3, "veth1"));
    for port in 0..=u16::try_from(PARKED).unwrap() {
        world.seen(MapKind::Edges, key(TCP, OWN, port), 5 + u64::from(port), 6);
    }
    let dropped: Vec<_> = world
        .plan()
        .unlearned
        .iter()
        .map(|(_, key, _)| key.port)
        .collect();
    assert_eq!(dropped, [0]);
}

#[test]
fn parked_edges_of_a_dead_interface_wait_for_a_bounded_time() {
    for (dead_for, goes) in [(PARKED_FOR, 0), (PARKED_FOR + 1, 1)] {
        let mut world = World::new(Interface::new(1, 3, "veth1"));
        world.seen(MapKind::Edges, key(TCP, OWN, 80), 5, 6);
        world.interfaces.get_mut(1).unwrap().dead_since = Some(NOW - dead_for);
        assert_eq!(world.plan().unlearned.len(), goes);
    }
}

proptest! {
    /// Whatever the times and however full the maps: what was not delivered is never planned as delivered.
    #[test]
    fn nothing_undelivered_goes(
        entries in prop::collection::vec((any::<bool>(), 0..50u16, 0..NOW, 0..NOW), 1..60),
        late in prop::collection::vec((any::<bool>(), 0..50u16), 0..20),
        dead in any::<bool>(),
    ) {
        let map = |edges| if edges { MapKind::Edges } else { MapKind::Attempts };
        let mut world = World::bound();
        for (edges, port, first, last) in entries {
            world.seen(map(edges), key(TCP, OWN, port), first.min(last), last);
        }
        world.delivered();
        for (edges, port) in &late {
            world.seen(map(*edges), key(TCP, OWN, *port), NOW + 1, NOW + 1);
        }
        world.interfaces.get_mut(1).unwrap().dead_since = dead.then_some(NOW - 1);
        for (_, key, _) in world.plan().delivered {
            prop_assert!(!late.iter().any(|(_, port)| *port == key.port));
        }
    }
}
