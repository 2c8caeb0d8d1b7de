//! From one process to the next, from one version to the next, from one mechanism to the other: no packet goes unseen.

use std::sync::atomic::{AtomicU32, Ordering};

use netpol_agent::node::attach::{Adopted, Attacher, Mechanism};

use super::support::child::Agent;
use super::support::{BOTH, Lab, attacher, options, programs};

/// Sends numbered packets in both directions while `work` runs, at least 50 before and after it; returns the number
/// of the last.
pub(crate) fn under_traffic(lab: &Lab, send: fn(&Lab, u32), work: impl FnOnce()) -> u32 {
    let (sent, stop) = (AtomicU32::new(0), AtomicU32::new(MOST));
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| {
            while sent.load(Ordering::Acquire) < stop.load(Ordering::Acquire) {
                let number = sent.load(Ordering::Acquire) + 1;
                send(lab, number);
                sent.store(number, Ordering::Release);
            }
        });
        while sent.load(Ordering::Acquire) < 50 && !stream.is_finished() {
            std::thread::yield_now();
        }
        work();
        stop.store(sent.load(Ordering::Acquire) + 50, Ordering::Release);
        stream.join().unwrap();
    });
    let sent = sent.into_inner();
    assert!(sent < MOST, "the traffic ended before the work");
    sent
}

/// The most packets of one stream, of which some are kept for the time after it.
const MOST: u32 = 60_000;

/// The numbers that were not seen exactly once in both directions.
fn odd_ones(lab: &Lab, last: u32) -> Vec<(u32, (u64, u64))> {
    let seen = (1..=last).map(|number| (number, lab.seen(number)));
    seen.filter(|(_, seen)| *seen != (1, 1)).collect()
}

#[test]
fn every_packet_is_seen_once_while_processes_die_and_take_over() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let first = Agent::start(lab, mechanism, 3);
            let last = under_traffic(lab, Lab::send, || {
                first.kill();
                let second = Agent::start(lab, mechanism, 3);
                let third = Agent::start(lab, mechanism, 3);
                second.stop();
                third.kill();
            });
            assert_eq!(odd_ones(lab, last), [], "{mechanism}");
        });
    }
}

#[test]
fn what_a_killed_process_left_is_adopted_with_its_handle() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let ifindex = lab.ifindex();
            Agent::start(lab, mechanism, 7).kill();
            let mut attacher = attacher(lab, mechanism);
            let alive = Adopted {
                ifindex,
                interface: 7,
                alive: true,
            };
            assert_eq!(attacher.adopt().unwrap(), [alive], "{mechanism}");
            assert_eq!(attacher.attached(), [(ifindex, 7)]);
            attacher.detach(ifindex).unwrap();
            lab.send(1);
            assert_eq!(lab.seen(1), (0, 0), "{mechanism}");
        });
    }
}

#[test]
fn another_mechanism_takes_over_without_a_gap() {
    for before in BOTH {
        Lab::run(|lab| {
            let after = if before == Mechanism::Tcx {
                Mechanism::Clsact
            } else {
                Mechanism::Tcx
            };
            Agent::start(lab, before, 7).kill();
            let mut attacher = attacher(lab, after);
            let last = under_traffic(lab, Lab::insist, || {
                assert!(attacher.adopt().unwrap()[0].alive);
            });
            let unseen: Vec<_> = odd_ones(lab, last)
                .into_iter()
                .filter(|(_, (a, b))| *a.min(b) == 0)
                .collect();
            assert_eq!(unseen, [], "{before}");
            lab.send(MOST + 1);
            assert_eq!(lab.seen(MOST + 1), (1, 1), "{before}");
        });
    }
}

#[test]
fn another_version_attaches_first_and_the_old_one_is_retired() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let ifindex = lab.ifindex();
            Agent::start(lab, mechanism, 7).kill();
            let mut newer = options(lab, mechanism);
            (newer.abi_version, newer.epoch) = (2, 99);
            let mut attacher = Attacher::new(newer, programs(lab)).unwrap();
            let last = under_traffic(lab, Lab::send, || {
                assert_eq!(attacher.adopt().unwrap(), []);
                assert_eq!(attacher.other_versions().unwrap(), [1]);
                attacher.attach(ifindex, 1).unwrap();
                let observed: Vec<_> = attacher.retire(1).unwrap().into_iter().collect();
                assert_eq!(observed, [(ifindex, true)]);
            });
            let unseen: Vec<_> = odd_ones(lab, last)
                .into_iter()
                .filter(|(_, (a, b))| *a.min(b) == 0)
                .collect();
            assert_eq!(unseen, [], "{mechanism}");
            lab.send(MOST + 1);
            assert_eq!(lab.seen(MOST + 1), (1, 1), "{mechanism}");
            options(lab, mechanism)
                .pins
                .unwrap()
                .remove_version(1)
                .unwrap();
            assert!(attacher.other_versions().unwrap().is_empty(), "{mechanism}");
        });
    }
}

#[test]
fn filters_that_count_into_lost_maps_are_removed() {
    Lab::run(|lab| {
        Agent::start(lab, Mechanism::Clsact, 7).kill();
        let mut other_epoch = options(lab, Mechanism::Clsact);
        other_epoch.epoch = 1;
        let mut attacher = Attacher::new(other_epoch, programs(lab)).unwrap();
        assert_eq!(attacher.adopt().unwrap(), []);
        lab.send(1);
        assert_eq!(lab.seen(1), (0, 0));
        attacher.attach(lab.ifindex(), 1).unwrap();
        lab.send(2);
        assert_eq!(lab.seen(2), (1, 1));
    });
}
