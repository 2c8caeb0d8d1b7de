//! What finds no room is counted where it belongs, and harms nothing else.

use std::collections::BTreeSet;

use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::Event;

use crate::kernel_common::*;
use crate::namespaces;
use crate::traffic::{attempt, connect, connect_from, quota};

/// The ports of the edges, or attempts, of an interface.
fn ports(kernel: &Kernel, kind: MapKind, interface: u32) -> BTreeSet<u16> {
    let entries = counts(kernel, kind, interface);
    entries.into_iter().map(|(key, _)| key.port).collect()
}

#[tokio::test]
async fn a_ring_of_one_page_that_nobody_reads_loses_no_edge() {
    let mut kernel = open(&KernelOptions {
        ring_bytes: 1,
        ..KernelOptions::default()
    });
    let interface = configure(&mut kernel, LOOPBACK, quota(4000));
    for port in 1..=2000 {
        connect(&mut kernel, LOOPBACK, port);
    }
    assert_eq!(
        ports(&kernel, MapKind::Edges, interface),
        (1..=2000).collect()
    );
    let dropped = event(&kernel, Event::RingFull);
    let (mut sights, mut told) = (kernel.sights().unwrap(), Vec::new());
    sights.drain(&mut told);
    assert_eq!(dropped + u64::try_from(told.len()).unwrap(), 2000);
    assert!(dropped > 1000 && !told.is_empty(), "{dropped} dropped");
    // What was read makes room.
    connect(&mut kernel, LOOPBACK, 2001);
    let mut told = Vec::new();
    sights.drain(&mut told);
    assert_eq!(told[0].key.port, 2001);
    assert_eq!(event(&kernel, Event::RingFull), dropped);
}

#[test]
fn past_the_size_of_edges_each_loss_is_counted_on_its_interface() {
    namespaces::within(|_| {
        let mut kernel = open(&KernelOptions {
            edges: 16,
            ..KernelOptions::default()
        });
        let [first, second] = namespaces::ifindexes();
        let handles = [first, second].map(|ifindex| configure(&mut kernel, ifindex, quota(100)));
        for port in 1..=10 {
            connect(&mut kernel, first, port);
        }
        for port in 1..=20 {
            connect(&mut kernel, second, port);
        }
        for port in 11..=13 {
            connect(&mut kernel, first, port);
        }
        // An edge that is there stays and counts on.
        connect_from(&mut kernel, first, 1, 2000);
        let [(_, [_, answered, _]), ..] = counts(&kernel, MapKind::Edges, handles[0])[..] else {
            panic!("no edges of the first interface")
        };
        assert_eq!(answered, 2);
        let lost = [first, second].map(|ifindex| kernel.stats(ifindex).unwrap().edges_lost);
        assert_eq!(lost, [3, 14]);
        assert_eq!(event(&kernel, Event::EdgeLost), 17);
        assert_eq!(
            ports(&kernel, MapKind::Edges, handles[0]),
            (1..=10).collect()
        );
        assert_eq!(
            ports(&kernel, MapKind::Edges, handles[1]),
            (1..=6).collect()
        );
    });
}

#[test]
fn a_lost_edge_is_made_by_its_next_connection() {
    let mut kernel = open(&KernelOptions {
        edges: 1,
        ..KernelOptions::default()
    });
    let interface = configure(&mut kernel, LOOPBACK, quota(100));
    connect(&mut kernel, LOOPBACK, 1);
    connect(&mut kernel, LOOPBACK, 2);
    let [(edge, _)] = entries(&kernel, MapKind::Edges)[..] else {
        panic!("one edge has room")
    };
    let value = kernel.delete(MapKind::Edges, &edge).unwrap().unwrap();
    assert_eq!((edge.port, value.answered), (1, 1));
    assert_eq!(kernel.delete(MapKind::Edges, &edge).unwrap(), None);
    connect_from(&mut kernel, LOOPBACK, 2, 2000);
    assert_eq!(ports(&kernel, MapKind::Edges, interface), [2].into());
}

#[test]
fn a_scan_takes_no_room_of_another_interface() {
    namespaces::within(|_| {
        let mut kernel = open(&KernelOptions {
            attempts: 20,
            ..KernelOptions::default()
        });
        let [scanning, other] = namespaces::ifindexes();
        let handles = [scanning, other].map(|ifindex| configure(&mut kernel, ifindex, quota(10)));
        for port in 1..=500 {
            attempt(&mut kernel, scanning, port);
        }
        for port in 1..=10 {
            attempt(&mut kernel, other, port);
        }
        let all: BTreeSet<u16> = (1..=10).collect();
        for handle in handles {
            assert_eq!(ports(&kernel, MapKind::Attempts, handle), all);
        }
        let lost = [scanning, other].map(|ifindex| kernel.stats(ifindex).unwrap().attempts_lost);
        assert_eq!(lost, [490, 0]);
        // Both still get their edges.
        connect(&mut kernel, scanning, 1000);
        connect(&mut kernel, other, 1000);
        for handle in handles {
            assert_eq!(ports(&kernel, MapKind::Edges, handle), [1000].into());
        }
        let stats = kernel.stats(scanning).unwrap();
        assert_eq!((stats.attempts_lost, stats.attempts_recovered), (491, 1));
    });
}

#[test]
fn places_that_were_freed_are_used_again() {
    let mut kernel = open(&KernelOptions::default());
    let interface = configure(&mut kernel, LOOPBACK, quota(4));
    for port in 1..=5 {
        attempt(&mut kernel, LOOPBACK, port);
    }
    let kept = entries(&kernel, MapKind::Attempts);
    for (key, value) in &kept[..2] {
        let freed = kernel.delete(MapKind::Attempts, key).unwrap();
        assert_eq!(freed, Some(*value));
        assert_eq!(kernel.delete(MapKind::Attempts, key).unwrap(), None);
    }
    for port in 6..=8 {
        attempt(&mut kernel, LOOPBACK, port);
    }
    assert_eq!(
        ports(&kernel, MapKind::Attempts, interface),
        [3, 4, 6, 7].into()
    );
    assert_eq!(kernel.stats(LOOPBACK).unwrap().attempts_lost, 2);
}
