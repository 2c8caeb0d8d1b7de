//! Maps that outlive the process: adopted as they are, or refused.

use std::path::Path;

use netpol_agent::kernel::{Kernel, KernelError, KernelOptions, MapKind};
use netpol_agent::node::attach::detach;
use netpol_common::abi::{Direction, EdgeKey, UDP};

use crate::kernel_common::*;
use crate::namespaces;
use crate::traffic::{connect, quota};

fn pinned(bpffs: &Path) -> KernelOptions {
    KernelOptions {
        pin_dir: Some(bpffs.join("netpol/node-test/v1")),
        edges: 128,
        attempts: 64,
        ring_bytes: 8192,
    }
}

#[test]
fn pinned_maps_are_adopted() {
    namespaces::within(|bpffs| {
        let options = pinned(bpffs);
        let [host, _] = namespaces::ifindexes();
        let mut first = open(&options);
        let interface = configure(&mut first, host, quota(7));
        connect(&mut first, host, 80);
        let (instance, fates) = (first.epoch_instance().unwrap(), first.fates().unwrap());
        let [edges, attempts] =
            [MapKind::Edges, MapKind::Attempts].map(|kind| entries(&first, kind));
        let (stats, interfaces) = (first.stats(host).unwrap(), first.interfaces());
        drop(first);

        let mut second = open(&options);
        assert_eq!(second.epoch_instance().unwrap(), instance);
        assert_eq!(second.fates().unwrap(), fates);
        assert_eq!(entries(&second, MapKind::Edges), edges);
        assert_eq!(entries(&second, MapKind::Attempts), attempts);
        assert_eq!(
            (second.stats(host).unwrap(), second.interfaces()),
            (stats, interfaces)
        );
        assert!(second.next_interface().unwrap() > interface);
        connect(&mut second, host, 81);
        let ports: Vec<u16> = counts(&second, MapKind::Edges, interface)
            .iter()
            .map(|(key, _)| key.port)
            .collect();
        assert_eq!(ports, [80, 81]);
    });
}

#[test]
fn a_quota_that_was_used_up_stays_used_up() {
    namespaces::within(|bpffs| {
        let mut first = open(&pinned(bpffs));
        configure(&mut first, LOOPBACK, quota(2));
        for port in 1..=2 {
            crate::traffic::attempt(&mut first, LOOPBACK, port);
        }
        let [(freed, _), _] = entries(&first, MapKind::Attempts)[..] else {
            panic!("two attempts")
        };
        first.delete(MapKind::Attempts, &freed).unwrap();
        drop(first);
        let mut second = open(&pinned(bpffs));
        for port in 3..=4 {
            crate::traffic::attempt(&mut second, LOOPBACK, port);
        }
        assert_eq!(entries(&second, MapKind::Attempts).len(), 2);
        assert_eq!(second.stats(LOOPBACK).unwrap().attempts_lost, 1);
    });
}

#[test]
fn detaching_says_how_much_the_maps_held() {
    namespaces::within(|bpffs| {
        let kernel = open(&pinned(bpffs));
        let key = |port| EdgeKey {
            interface: 1,
            port,
            protocol: UDP,
            direction: Direction::Egress as u8,
            local: [1; 16],
            remote: [2; 16],
        };
        for (map, port) in [
            (MapKind::Edges, 1),
            (MapKind::Edges, 2),
            (MapKind::Attempts, 3),
        ] {
            assert!(kernel.insert(map, &key(port), 5).unwrap());
        }
        let instance = "node-test".parse().unwrap();
        let removed = detach(bpffs, &instance).unwrap();
        assert_eq!(removed.entries, 3);
        assert!(detach(bpffs, &instance).unwrap().is_nothing());
    });
}

#[test]
fn maps_that_are_gone_make_another_epoch() {
    namespaces::within(|bpffs| {
        let first = open(&pinned(bpffs)).epoch_instance().unwrap();
        std::fs::remove_dir_all(bpffs.join("netpol")).unwrap();
        assert_ne!(open(&pinned(bpffs)).epoch_instance().unwrap(), first);
    });
}

#[test]
fn maps_of_another_size_are_refused_and_left_alone() {
    namespaces::within(|bpffs| {
        let made = pinned(bpffs);
        let instance = open(&made).epoch_instance().unwrap();
        for (map, found, needed, options) in [
            (
                "EDGES",
                128,
                129,
                KernelOptions {
                    edges: 129,
                    ..made.clone()
                },
            ),
            (
                "ATTEMPTS",
                64,
                63,
                KernelOptions {
                    attempts: 63,
                    ..made.clone()
                },
            ),
            (
                "SIGHTS",
                8192,
                16_384,
                KernelOptions {
                    ring_bytes: 8193,
                    ..made.clone()
                },
            ),
        ] {
            let error = Kernel::open(&options).err().unwrap();
            let text = error.to_string();
            assert!(
                matches!(error, KernelError::PinnedMapMismatch { .. }),
                "{text}"
            );
            let told = format!(
                "v1/{map} does not fit this program (its number of entries is {found}, needed is {needed})"
            );
            assert!(
                text.contains(&told) && text.contains("netpol-agent detach"),
                "{text}"
            );
        }
        assert_eq!(open(&made).epoch_instance().unwrap(), instance);
    });
}

#[test]
fn a_map_of_another_kind_is_refused() {
    namespaces::within(|bpffs| {
        let options = pinned(bpffs);
        drop(open(&options));
        let directory = options.pin_dir.clone().unwrap();
        std::fs::rename(directory.join("META"), directory.join("EDGES")).unwrap();
        let error = Kernel::open(&options).err().unwrap().to_string();
        assert!(
            error.contains("EDGES does not fit this program (its type is 2, needed is 1)"),
            "{error}"
        );
    });
}

#[test]
fn pins_outside_a_bpffs_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = pinned(directory.path());
    let error = Kernel::open(&options).err().unwrap();
    assert!(matches!(error, KernelError::NoBpffs { .. }), "{error}");
    assert!(error.to_string().contains("mount -t bpf"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
