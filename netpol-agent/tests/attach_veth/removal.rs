//! `detach` removes every trace of an instance, and nothing of anybody else.

use netpol_agent::node::attach::{Attacher, Hook, PinRoot, detach};

use super::support::child::Agent;
use super::support::lab::{HOST, run};
use super::support::{BOTH, INSTANCE, Lab, attacher, bpf, options, programs};

#[test]
fn links_filters_and_maps_of_the_instance_go_and_others_stay() {
    Lab::run(|lab| {
        let ifindex = lab.ifindex();
        run("tc", &["qdisc", "add", "dev", HOST, "clsact"]);
        let mut other = options(lab, BOTH[1]);
        other.instance = "node.test-2".parse().unwrap();
        other.pins = Some(PinRoot::new(lab.bpffs(), &other.instance));
        let mut other = Attacher::new(other, programs(lab)).unwrap();
        other.attach(ifindex, 1).unwrap();
        Agent::start(lab, BOTH[0], 7).kill();
        let mut second = options(lab, BOTH[1]);
        second.abi_version = 2;
        Attacher::new(second, programs(lab))
            .unwrap()
            .attach(ifindex, 1)
            .unwrap();
        let directory = options(lab, BOTH[0]).pins.unwrap().version(1);
        bpf::pin(&bpf::counters(), &directory.join("EDGES"));
        lab.send(1);
        assert_eq!(lab.seen(1), (3, 3));

        let removed = detach(lab.bpffs(), &INSTANCE.parse().unwrap()).unwrap();
        assert_eq!((removed.links, removed.dead_links), (2, 0));
        let hooks: Vec<_> = removed
            .filters
            .iter()
            .map(|filter| (filter.ifindex, filter.hook))
            .collect();
        assert_eq!(hooks, [(ifindex, Hook::Ingress), (ifindex, Hook::Egress)]);
        assert_eq!(removed.maps, ["v1/EDGES"]);
        assert!(!directory.exists());
        lab.send(2);
        assert_eq!(lab.seen(2), (1, 1), "the other instance sees, and it alone");
        assert!(run("tc", &["qdisc", "show", "dev", HOST]).contains("clsact"));
        assert!(
            detach(lab.bpffs(), &INSTANCE.parse().unwrap())
                .unwrap()
                .is_nothing()
        );
    });
}

#[test]
fn an_instance_whose_name_begins_alike_stays() {
    Lab::run(|lab| {
        for mechanism in BOTH {
            Agent::start(lab, mechanism, 7).kill();
        }
        for other in ["node", "node.tes", "node.test.more"] {
            let removed = detach(lab.bpffs(), &other.parse().unwrap()).unwrap();
            assert!(removed.is_nothing(), "{other}: {removed:?}");
        }
        let removed = detach(lab.bpffs(), &INSTANCE.parse().unwrap()).unwrap();
        assert_eq!(
            (removed.links, removed.filters.len()),
            (0, 2),
            "{removed:?}"
        );
        assert!(!lab.bpffs().join("netpol").exists());
    });
}

#[test]
fn without_bpffs_filters_are_removed_all_the_same() {
    Lab::run(|lab| {
        attacher(lab, BOTH[1]).attach(lab.ifindex(), 1).unwrap();
        let nowhere = lab.bpffs().join("none");
        let removed = detach(&nowhere, &INSTANCE.parse().unwrap()).unwrap();
        assert_eq!(removed.filters.len(), 2);
    });
}
