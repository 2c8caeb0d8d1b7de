//! What the tests stand on: namespaces with a veth, counting classifiers, other processes.

pub(crate) mod bpf;
pub(crate) mod child;
pub(crate) mod lab;

use netpol_agent::node::attach::{Attacher, Mechanism, Options, PinRoot, Programs};

pub(crate) use lab::Lab;

/// The mechanisms that every test runs with.
pub(crate) const BOTH: [Mechanism; 2] = [Mechanism::Tcx, Mechanism::Clsact];
/// The epoch of the maps in these tests.
pub(crate) const EPOCH: u64 = 0x1234_5678_9abc_def0;
/// The instance of these tests; each has a BPF file system of its own.
pub(crate) const INSTANCE: &str = "node.test";

/// Options for `mechanism`, pinned in the lab's BPF file system.
pub(crate) fn options(lab: &Lab, mechanism: Mechanism) -> Options {
    let instance = INSTANCE.parse().unwrap();
    Options {
        mechanism,
        pins: Some(PinRoot::new(lab.bpffs(), &instance)),
        instance,
        abi_version: 1,
        epoch: EPOCH,
    }
}

/// Fresh classifiers that count into the lab's maps, as a new process would load them.
pub(crate) fn programs(lab: &Lab) -> Programs {
    Programs {
        from_pod: bpf::load_counter(&lab.map("in"), bpf::NEXT),
        to_pod: bpf::load_counter(&lab.map("out"), bpf::NEXT),
    }
}

/// An attacher like that of a new process.
pub(crate) fn attacher(lab: &Lab, mechanism: Mechanism) -> Attacher {
    let mut attacher = Attacher::new(options(lab, mechanism), programs(lab)).unwrap();
    attacher.set_spare(programs(lab));
    attacher
}
