//! Which batches go out, and when.

use netpol_common::abi::{Direction, EdgeValue};
use netpol_common::words::Protocol;

use super::*;
use crate::kernel::MapKind;
use crate::node::account::NoCarries;
use crate::node::bind::Evidence;
use crate::node::clock::Sample;
use crate::node::interfaces::{Bound, kernel_key};
use crate::observe::{ObjectIdentity, PodIdentity, Source};

const SECOND: u64 = 1_000_000_000;

fn bound(pod: &str) -> Bound {
    let name = ObjectIdentity {
        namespace: "shop".to_owned(),
        name: pod.to_owned(),
    };
    Bound {
        pod: PodIdentity {
            name,
            uid: "u1".to_owned(),
        },
        addresses: vec!["10.1.0.5".parse().unwrap()],
        evidence: Evidence::Process,
    }
}

fn observed_key(port: u16, local: &str) -> ObservedKey {
    ObservedKey {
        interface: 1,
        source: Source::Kernel,
        direction: Direction::Egress,
        protocol: Protocol::Tcp,
        port,
        local: local.parse().unwrap(),
        remote: "10.1.0.9".parse().unwrap(),
    }
}

fn moment(kernel: u64) -> Moment {
    let wall = Timestamp::from_nanosecond(i128::from(kernel)).unwrap();
    Moment { kernel, wall }
}

struct World {
    books: Books,
    outbox: Outbox,
}

impl World {
    fn new() -> Self {
        let mut books = Books::default();
        books.clock.sample(Sample { kernel: 1, wall: 1 });
        let mut interface = Interface::new(1, 3, "veth1");
        interface.bind(bound("web-0"));
        books.interfaces.insert(interface);
        let epoch = Epoch {
            boot_id: "b".to_owned(),
            instance: 1,
            abi_version: 1,
        };
        Self {
            books,
            outbox: Outbox::new("node-a".to_owned(), epoch, 6),
        }
    }

    fn seen(&mut self, port: u16, local: &str, attempts: u64, answered: u64) {
        let value = EdgeValue {
            attempts,
            answered,
            refused: 0,
            first_seen: 10,
            last_seen: 10 + attempts,
        };
        let key = kernel_key(&observed_key(port, local));
        self.books
            .account
            .observe(MapKind::Edges, key, &value, &NoCarries)
            .unwrap();
    }

    fn fill(&mut self, kernel: u64, urgency: Urgency) -> Option<Arc<Batch>> {
        self.outbox.fill(&self.books, moment(kernel), urgency)
    }

    fn ports(&mut self, kernel: u64, urgency: Urgency) -> Vec<u16> {
        let batch = self.fill(kernel, urgency);
        let ports = batch.map(|batch| batch.edges.iter().map(|edge| edge.key.port).collect());
        self.outbox.acknowledged(&mut self.books);
        ports.unwrap_or_default()
    }
}

#[test]
fn a_batch_stays_under_way_until_it_is_acknowledged() {
    let mut world = World::new();
    world.seen(80, "10.1.0.5", 3, 3);
    let first = world.fill(SECOND, Urgency::Due).unwrap();
    assert_eq!((first.sequence, first.edges[0].attempts), (7, 3));
    world.seen(80, "10.1.0.5", 4, 4);
    assert_eq!(world.fill(2 * SECOND, Urgency::All), Some(first));
    world.outbox.acknowledged(&mut world.books);
    let second = world.fill(3 * SECOND, Urgency::All).unwrap();
    assert_eq!((second.sequence, second.edges[0].attempts), (8, 4));
    world.outbox.acknowledged(&mut world.books);
    assert_eq!(world.fill(3 * SECOND, Urgency::All), None);
}

#[test]
fn news_goes_at_once_and_mere_counts_when_due() {
    let mut world = World::new();
    world.seen(80, "10.1.0.5", 1, 0);
    let start = 100 * SECOND;
    assert_eq!(world.ports(start, Urgency::Due), [80]);
    world.seen(80, "10.1.0.5", 2, 0);
    assert!(world.ports(start + SECOND, Urgency::Due).is_empty());
    world.seen(81, "10.1.0.5", 1, 1);
    assert_eq!(world.ports(start + SECOND, Urgency::Due), [81]);
    world.seen(80, "10.1.0.5", 2, 1);
    assert_eq!(world.ports(start + SECOND, Urgency::Due), [80]);
    world.seen(80, "10.1.0.5", 3, 2);
    assert!(world.ports(start + SECOND, Urgency::Due).is_empty());
    assert_eq!(world.ports(start + REFRESH, Urgency::Due), [80]);
    world.seen(80, "10.1.0.5", 4, 2);
    assert_eq!(world.ports(start + REFRESH + 1, Urgency::All), [80]);
}

#[test]
fn a_change_of_the_binding_delivers_everything_again() {
    let mut world = World::new();
    world.seen(80, "10.1.0.5", 1, 1);
    assert_eq!(world.ports(SECOND, Urgency::All), [80]);
    world
        .books
        .interfaces
        .get_mut(1)
        .unwrap()
        .bind(bound("web-1"));
    let batch = world.fill(SECOND + 1, Urgency::Due).unwrap();
    assert_eq!(batch.edges[0].pod.name.name, "web-1");
}

#[test]
fn foreign_edges_are_counted_and_not_learned() {
    let mut world = World::new();
    world.seen(80, "10.9.9.9", 5, 0);
    world.seen(81, "10.9.9.9", 6, 0);
    let batch = world.fill(SECOND, Urgency::Due).unwrap();
    assert_eq!((batch.edges.len(), batch.losses[0].losses.foreign), (0, 11));
    world.outbox.acknowledged(&mut world.books);
    assert_eq!(world.fill(2 * SECOND, Urgency::All), None);
}

#[test]
fn a_blank_entry_is_no_edge_until_something_is_counted() {
    let mut world = World::new();
    world.seen(80, "10.1.0.5", 0, 0);
    assert!(world.ports(100 * SECOND, Urgency::All).is_empty());
    world.seen(80, "10.1.0.5", 0, 1);
    assert_eq!(world.ports(101 * SECOND, Urgency::Due), [80]);
}

#[test]
fn beyond_the_bound_an_edge_is_delivered_once_it_is_answered() {
    let mut world = World::new();
    let interface = world.books.interfaces.get_mut(1).unwrap();
    interface.unanswered = crate::node::interfaces::UNANSWERED;
    world.seen(80, "10.1.0.5", 3, 0);
    assert!(world.ports(100 * SECOND, Urgency::All).is_empty());
    world.seen(80, "10.1.0.5", 4, 1);
    assert_eq!(world.ports(101 * SECOND, Urgency::Due), [80]);
}

#[test]
fn edges_of_an_unbound_interface_wait() {
    let mut world = World::new();
    world.books.interfaces.insert(Interface::new(1, 3, "veth1"));
    world.seen(80, "10.1.0.5", 5, 0);
    assert!(world.ports(100 * SECOND, Urgency::All).is_empty());
    world
        .books
        .interfaces
        .get_mut(1)
        .unwrap()
        .bind(bound("web-0"));
    assert_eq!(world.ports(101 * SECOND, Urgency::Due), [80]);
}

#[test]
fn seeds_are_delivered_as_answered_attempts_of_their_source() {
    let mut world = World::new();
    let key = ObservedKey {
        source: Source::Conntrack,
        ..observed_key(80, "10.1.0.5")
    };
    world.books.seeds.add(key.clone(), 2, 50);
    let batch = world.fill(SECOND, Urgency::Due).unwrap();
    let edge = &batch.edges[0];
    assert_eq!((&edge.key, edge.attempts, edge.answered), (&key, 2, 2));
    world.outbox.acknowledged(&mut world.books);
    assert_eq!(world.fill(2 * SECOND, Urgency::All), None);
    assert!(world.books.open(&key, 90, &NoCarries).unwrap());
    let batch = world.fill(3 * SECOND, Urgency::All).unwrap();
    assert_eq!(batch.edges[0].last_seen.as_nanosecond(), 90);
}

#[test]
fn silence_is_broken_now_and_then() {
    let mut world = World::new();
    assert!(world.ports(100 * SECOND, Urgency::Due).is_empty());
    assert!(
        world
            .fill(100 * SECOND + SILENCE - 1, Urgency::Due)
            .is_none()
    );
    let batch = world.fill(100 * SECOND + SILENCE, Urgency::Due).unwrap();
    assert!(batch.edges.is_empty() && batch.losses.is_empty());
}

#[test]
fn what_is_too_much_for_one_batch_goes_in_several() {
    let mut world = World::new();
    for port in 0..5000 {
        world.seen(port, "10.1.0.5", 1, 1);
    }
    let mut ports = Vec::new();
    while let Some(batch) = world.fill(SECOND, Urgency::All) {
        assert!(batch.edges.len() <= BATCH);
        ports.extend(batch.edges.iter().map(|edge| edge.key.port));
        world.outbox.acknowledged(&mut world.books);
    }
    assert_eq!(ports, (0..5000).collect::<Vec<_>>());
}

#[test]
fn the_addresses_of_the_node_are_news() {
    let mut world = World::new();
    let _ = world.ports(100 * SECOND, Urgency::All);
    world
        .outbox
        .set_node_addresses(vec!["192.0.2.1".parse().unwrap()]);
    let batch = world.fill(100 * SECOND + 1, Urgency::Due).unwrap();
    assert_eq!(batch.node_addresses.len(), 1);
}
