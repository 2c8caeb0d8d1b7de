//! Other programs on the same hooks, attached before ours, behind ours, and later than ours: theirs and ours keep
//! working through our start, stop and crash.

use std::os::fd::OwnedFd;

use netpol_agent::node::attach::{Mechanism, State};

use super::handover::under_traffic;
use super::support::child::Agent;
use super::support::lab::{HOST, run};
use super::support::{BOTH, Lab, attacher, bpf};

/// Another program on the ingress hook, with a map of its own.
struct Other {
    map: OwnedFd,
    _link: Option<OwnedFd>,
}

impl Other {
    /// By a TCX link, in front of or behind what is there.
    fn tcx(lab: &Lab, first: bool, verdict: i32) -> Self {
        let map = bpf::counters();
        let program = bpf::load_counter(&map, verdict);
        let link = Some(bpf::link(&program, lab.ifindex(), true, first));
        Self { map, _link: link }
    }

    /// By a filter at a preference, as tc(8) adds it.
    fn filter(lab: &Lab, preference: &str, verdict: i32) -> Self {
        let map = bpf::counters();
        let path = lab.bpffs().join(format!("other_{preference}"));
        bpf::pin(&bpf::load_counter(&map, verdict), &path);
        let path = path.to_string_lossy();
        let add = [
            "filter",
            "add",
            "dev",
            HOST,
            "ingress",
            "pref",
            preference,
            "bpf",
            "da",
            "object-pinned",
            &path,
        ];
        run("tc", &add);
        Self { map, _link: None }
    }

    fn seen(&self, number: u32) -> u64 {
        bpf::count(&self.map, number)
    }
}

/// Somebody's clsact, and a filter on it.
fn with_clsact(lab: &Lab, verdict: i32) -> Other {
    run("tc", &["qdisc", "add", "dev", HOST, "clsact"]);
    Other::filter(lab, "10", verdict)
}

#[test]
fn others_and_ours_see_every_packet_through_start_stop_and_crash() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut others = vec![
                with_clsact(lab, bpf::NEXT),
                Other::tcx(lab, true, bpf::NEXT),
            ];
            let crashing = Agent::start(lab, mechanism, 1);
            others.push(Other::tcx(lab, false, bpf::NEXT));
            others.push(Other::tcx(lab, true, bpf::NEXT));
            others.push(Other::filter(lab, "2", bpf::NEXT));
            lab.send(1);
            crashing.kill();
            lab.send(2);
            let stopping = Agent::start(lab, mechanism, 1);
            lab.send(3);
            stopping.stop();
            lab.send(4);
            for number in 1..=4 {
                let theirs: Vec<u64> = others.iter().map(|other| other.seen(number)).collect();
                assert_eq!(theirs, [1; 5], "{mechanism}, packet {number}");
                assert_eq!(lab.seen(number), (1, 1), "{mechanism}, packet {number}");
            }
        });
    }
}

#[test]
fn ours_goes_before_one_that_lets_nothing_on() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let other = match mechanism {
                Mechanism::Tcx => Other::tcx(lab, true, bpf::PASS),
                Mechanism::Clsact => with_clsact(lab, bpf::PASS),
            };
            let mut attacher = attacher(lab, mechanism);
            attacher.attach(lab.ifindex(), 1).unwrap();
            lab.send(1);
            assert_eq!((lab.seen(1), other.seen(1)), ((1, 1), 1), "{mechanism}");
            assert!(matches!(attacher.verify()[..], [(_, Ok(State::First))]));
        });
    }
}

#[test]
fn ours_comes_forward_again_but_does_not_fight_for_ever() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut attacher = attacher(lab, mechanism);
            attacher.attach(lab.ifindex(), 1).unwrap();
            let mut others = Vec::new();
            for round in 0..4 {
                others.push(in_front(lab, mechanism, bpf::PASS));
                lab.send(100 + round);
                assert_eq!(lab.seen(100 + round), (0, 1), "{mechanism}, round {round}");
                let expected = if round < 3 {
                    State::BroughtForward
                } else {
                    State::Behind(1)
                };
                let [(_, Ok(state))] = attacher.verify()[..] else {
                    panic!()
                };
                assert_eq!(state, expected, "{mechanism}, round {round}");
                lab.send(200 + round);
                let ours = u64::from(round < 3);
                assert_eq!(
                    lab.seen(200 + round),
                    (ours, 1),
                    "{mechanism}, round {round}"
                );
                assert_eq!(others.last().unwrap().seen(200 + round), 1, "{mechanism}");
            }
        });
    }
}

#[test]
fn a_preference_that_takes_no_filter_of_ours_is_left_alone() {
    Lab::run(|lab| {
        run("tc", &["qdisc", "add", "dev", HOST, "clsact"]);
        run(
            "tc",
            &[
                "filter", "add", "dev", HOST, "ingress", "pref", "1", "protocol", "ip", "u32",
                "match", "u32", "1", "1",
            ],
        );
        let mut attacher = attacher(lab, Mechanism::Clsact);
        attacher.attach(lab.ifindex(), 1).unwrap();
        assert!(run("tc", &["filter", "show", "dev", HOST, "ingress"]).contains("pref 1 u32"));
        let before = run("tc", &["filter", "show", "dev", HOST, "ingress"]);
        let [(_, Ok(State::Behind(_)))] = attacher.verify()[..] else {
            panic!("{before}")
        };
        let after = run("tc", &["filter", "show", "dev", HOST, "ingress"]);
        assert_eq!(before, after, "there is no better place");
        attacher.detach(lab.ifindex()).unwrap();
        let left = run("tc", &["filter", "show", "dev", HOST, "ingress"]);
        assert!(
            left.contains("pref 1 u32") && !left.contains("netpol/"),
            "{left}"
        );
    });
}

/// Another program that came in front of all others.
fn in_front(lab: &Lab, mechanism: Mechanism, verdict: i32) -> Other {
    match mechanism {
        Mechanism::Tcx => Other::tcx(lab, true, verdict),
        Mechanism::Clsact => {
            let serial = std::fs::read_dir(lab.bpffs()).unwrap().count();
            let map = bpf::counters();
            let path = lab.bpffs().join(format!("other_front_{serial}"));
            bpf::pin(&bpf::load_counter(&map, verdict), &path);
            let path = path.to_string_lossy();
            run(
                "tc",
                &[
                    "filter",
                    "add",
                    "dev",
                    HOST,
                    "ingress",
                    "pref",
                    "1",
                    "bpf",
                    "da",
                    "object-pinned",
                    &path,
                ],
            );
            Other { map, _link: None }
        }
    }
}

#[test]
fn killed_while_it_comes_forward_it_has_missed_nothing() {
    let points = [
        (Mechanism::Tcx, "created"),
        (Mechanism::Tcx, "pinned"),
        (Mechanism::Tcx, "renamed"),
        (Mechanism::Tcx, "detached"),
        (Mechanism::Clsact, "created"),
    ];
    for (mechanism, point) in points {
        Lab::run(|lab| {
            let agent = Agent::start_with(lab, mechanism, 7, point);
            let other = in_front(lab, mechanism, bpf::NEXT);
            lab.send(1);
            agent.die();
            lab.send(2);
            let (from_pod, to_pod) = lab.seen(2);
            assert!(from_pod >= 1 && to_pod >= 1, "{mechanism} {point}");
            let ifindex = lab.ifindex();
            let mut attacher = attacher(lab, mechanism);
            let adopted = attacher.adopt().unwrap();
            assert!(matches!(adopted[..], [one] if one.alive), "{adopted:?}");
            assert_eq!(attacher.attached(), [(ifindex, 7)]);
            lab.send(3);
            for number in [1, 3] {
                assert_eq!(lab.seen(number), (1, 1), "{mechanism} {point}");
                assert_eq!(other.seen(number), 1, "{mechanism} {point}");
            }
            attacher.verify();
            lab.send(4);
            assert_eq!(lab.seen(4), (1, 1), "{mechanism} {point}");
        });
    }
}

#[test]
fn it_comes_forward_without_a_gap() {
    Lab::run(|lab| {
        let mut attacher = attacher(lab, Mechanism::Tcx);
        attacher.attach(lab.ifindex(), 1).unwrap();
        let mut others = Vec::new();
        let last = under_traffic(lab, Lab::insist, || {
            for _ in 0..3 {
                others.push(in_front(lab, Mechanism::Tcx, bpf::NEXT));
                assert!(matches!(
                    attacher.verify()[..],
                    [(_, Ok(State::BroughtForward))]
                ));
            }
        });
        for number in 1..=last {
            let (from_pod, to_pod) = lab.seen(number);
            assert!(from_pod >= 1 && to_pod >= 1, "packet {number}");
        }
    });
}
