//! What is attached sees every packet in both directions, and stays attached.

use netpol_agent::kernel::{Kernel, KernelOptions};
use netpol_agent::node::attach::{AttachError, Attacher, Mechanism, Outcome, Programs, State};
use netpol_common::abi::InterfaceConfig;

use super::support::lab::{HOST, run};
use super::support::{BOTH, Lab, attacher, bpf, options, programs};

#[test]
fn packets_of_both_directions_are_seen_while_attached() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut attacher = attacher(lab, mechanism);
            lab.send(1);
            assert_eq!(
                attacher.attach(lab.ifindex(), 1).unwrap(),
                Outcome::Attached
            );
            lab.send(2);
            assert_eq!(
                attacher.attach(lab.ifindex(), 1).unwrap(),
                Outcome::Attached
            );
            lab.send(3);
            attacher.detach(lab.ifindex()).unwrap();
            lab.send(4);
            let seen = [1, 2, 3, 4].map(|number| lab.seen(number));
            assert_eq!(seen, [(0, 0), (1, 1), (1, 1), (0, 0)], "{mechanism}");
        });
    }
}

#[test]
fn what_is_detached_by_force_is_attached_again() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let ifindex = lab.ifindex();
            let mut attacher = attacher(lab, mechanism);
            attacher.attach(ifindex, 5).unwrap();
            assert!(matches!(attacher.verify()[..], [(_, Ok(State::First))]));
            let pin = options(lab, mechanism)
                .pins
                .unwrap()
                .version(1)
                .join(format!("links/{ifindex}-5-in"));
            match mechanism {
                Mechanism::Tcx => bpf::detach_pinned(&pin),
                Mechanism::Clsact => {
                    run(
                        "tc",
                        &["filter", "del", "dev", HOST, "ingress", "pref", "1"],
                    );
                }
            }
            lab.send(1);
            assert_eq!(lab.seen(1), (0, 1), "{mechanism}");
            assert!(matches!(
                attacher.verify()[..],
                [(_, Ok(State::Reattached))]
            ));
            assert!(matches!(attacher.verify()[..], [(_, Ok(State::First))]));
            lab.send(2);
            assert_eq!(lab.seen(2), (1, 1), "{mechanism}");
        });
    }
}

#[test]
fn an_interface_that_is_not_there_is_gone_and_no_error() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut attacher = attacher(lab, mechanism);
            assert_eq!(
                attacher.attach(4242, 1).unwrap(),
                Outcome::Gone,
                "{mechanism}"
            );
            assert!(attacher.attached().is_empty());
            attacher.detach(4242).unwrap();
        });
    }
}

#[test]
fn without_bpffs_closing_detaches() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut unpinned = options(lab, mechanism);
            unpinned.pins = None;
            let mut attacher = Attacher::new(unpinned, programs(lab)).unwrap();
            attacher.attach(lab.ifindex(), 1).unwrap();
            lab.send(1);
            attacher.close().unwrap();
            lab.send(2);
            assert_eq!([lab.seen(1), lab.seen(2)], [(1, 1), (0, 0)], "{mechanism}");
        });
    }
}

#[test]
fn an_ingress_qdisc_of_another_is_an_error_that_names_it_and_it_stays() {
    Lab::run(|lab| {
        run("tc", &["qdisc", "add", "dev", HOST, "ingress"]);
        let mut clsact = attacher(lab, Mechanism::Clsact);
        let error = clsact.attach(lab.ifindex(), 1).unwrap_err();
        assert!(matches!(error, AttachError::IngressQdisc { .. }), "{error}");
        assert!(run("tc", &["qdisc", "show", "dev", HOST]).contains("qdisc ingress"));
        let mut tcx = attacher(lab, Mechanism::Tcx);
        assert_eq!(tcx.attach(lab.ifindex(), 1).unwrap(), Outcome::Attached);
    });
}

#[test]
fn the_real_classifiers_count_packets() {
    for mechanism in BOTH {
        Lab::run(|lab| {
            let mut kernel = Kernel::open(&KernelOptions::default()).unwrap();
            let programs = Programs::try_from(kernel.programs().unwrap()).unwrap();
            let mut attacher = Attacher::new(options(lab, mechanism), programs).unwrap();
            let config = InterfaceConfig {
                interface: 9,
                quota: 100,
                ..InterfaceConfig::default()
            };
            kernel.configure(lab.ifindex(), config).unwrap();
            attacher.attach(lab.ifindex(), 9).unwrap();
            lab.send(1);
            let seen: u64 = kernel.fates().unwrap().iter().sum();
            assert!(seen >= 2, "{mechanism}: {seen} packets");
        });
    }
}
