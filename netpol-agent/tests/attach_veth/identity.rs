//! An interface that bears the ifindex of one that is gone is another interface.

use netpol_agent::node::attach::{Adopted, Outcome, State};

use super::support::child::Agent;
use super::support::{BOTH, Lab, attacher};

fn replug(lab: &mut Lab) -> u32 {
    let ifindex = lab.ifindex();
    lab.unplug();
    lab.plug(Some(ifindex));
    ifindex
}

#[test]
fn after_a_restart_the_other_interface_is_told_apart() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            Agent::start(lab, mechanism, 7).kill();
            let ifindex = replug(lab);
            let mut attacher = attacher(lab, mechanism);
            let adopted = attacher.adopt().unwrap();
            assert!(
                !adopted.iter().any(|adopted| adopted.alive),
                "{mechanism}: {adopted:?}"
            );
            assert!(attacher.attached().is_empty());
            lab.send(1);
            assert_eq!(attacher.attach(ifindex, 8).unwrap(), Outcome::Attached);
            lab.send(2);
            assert_eq!([lab.seen(1), lab.seen(2)], [(0, 0), (1, 1)], "{mechanism}");
        });
    }
}

#[test]
fn a_dead_pinned_link_is_reported_once() {
    Lab::run(|lab| {
        let mechanism = BOTH[0];
        Agent::start(lab, mechanism, 7).kill();
        let ifindex = replug(lab);
        let dead = Adopted {
            ifindex,
            interface: 7,
            alive: false,
        };
        assert_eq!(attacher(lab, mechanism).adopt().unwrap(), [dead]);
        assert_eq!(attacher(lab, mechanism).adopt().unwrap(), []);
    });
}

#[test]
fn while_running_the_other_interface_is_told_apart() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut attacher = attacher(lab, mechanism);
            attacher.attach(lab.ifindex(), 7).unwrap();
            let ifindex = replug(lab);
            let [(_, Ok(State::Gone))] = attacher.verify()[..] else {
                panic!("{mechanism}")
            };
            assert!(attacher.attached().is_empty() && attacher.verify().is_empty());
            lab.send(1);
            attacher.attach(ifindex, 8).unwrap();
            lab.send(2);
            assert_eq!([lab.seen(1), lab.seen(2)], [(0, 0), (1, 1)], "{mechanism}");
        });
    }
}

#[test]
fn a_new_handle_replaces_the_old_before_anybody_looked() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut attacher = attacher(lab, mechanism);
            attacher.attach(lab.ifindex(), 7).unwrap();
            let ifindex = replug(lab);
            attacher.attach(ifindex, 8).unwrap();
            assert_eq!(attacher.attached(), [(ifindex, 8)]);
            lab.send(1);
            assert_eq!(lab.seen(1), (1, 1), "{mechanism}");
            let [(_, Ok(State::First))] = attacher.verify()[..] else {
                panic!("{mechanism}")
            };
        });
    }
}

#[test]
fn an_interface_that_went_away_is_detached_without_complaint() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut attacher = attacher(lab, mechanism);
            let ifindex = lab.ifindex();
            attacher.attach(ifindex, 7).unwrap();
            lab.unplug();
            attacher.detach(ifindex).unwrap();
            assert_eq!(attacher.adopt().unwrap(), [], "{mechanism}");
        });
    }
}
