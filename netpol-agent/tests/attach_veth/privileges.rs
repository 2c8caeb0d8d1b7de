//! With the capabilities that the documentation names everything works, and without them the error names them.

use std::path::Path;

use netpol_agent::node::attach::{AttachChoice, AttachError, Attacher, Mechanism, State, decide};
use netpol_agent::node::probe::{Bpffs, Capability, probe};

use super::support::{BOTH, Lab, attacher, options, programs};

/// Bits of `linux/capability.h`.
const NET_ADMIN: u64 = 1 << 12;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Leaves the calling thread no capabilities but `kept`.
fn keep(kept: u64) {
    let header = [0x2008_0522_u32, 0];
    let [low, high] = [kept as u32, (kept >> 32) as u32];
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: version 3 of the structures, of two and of six words.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn works_with(capabilities: u64, warnings: usize) {
    for mechanism in BOTH {
        Lab::run(|lab| {
            keep(capabilities);
            let probed = probe(Some(lab.bpffs()));
            assert_eq!(probed.bpffs, Bpffs::Ready);
            let plan = decide(&probed, AttachChoice::Auto).unwrap();
            assert_eq!(
                (plan.mechanism, plan.pinned, plan.warnings.len()),
                (Mechanism::Tcx, true, warnings)
            );
            let ifindex = lab.ifindex();
            let mut first = attacher(lab, mechanism);
            first.attach(ifindex, 1).unwrap();
            drop(first);
            let mut second = attacher(lab, mechanism);
            assert!(second.adopt().unwrap()[0].alive);
            let [(_, Ok(State::First))] = second.verify()[..] else {
                panic!("{mechanism}")
            };
            lab.send(1);
            second.detach(ifindex).unwrap();
            assert_eq!(lab.seen(1), (1, 1), "{mechanism}");
        });
    }
}

#[test]
fn two_capabilities_suffice() {
    works_with(NET_ADMIN | BPF, 1);
}

#[test]
fn with_a_third_there_is_nothing_to_warn_of() {
    works_with(NET_ADMIN | BPF | PERFMON, 0);
}

#[test]
fn without_capabilities_the_error_names_them() {
    Lab::run(|lab| {
        let programs = programs(lab);
        keep(0);
        let error = decide(&probe(None), AttachChoice::Auto).unwrap_err();
        let AttachError::MissingCapabilities { missing, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(missing, [Capability::Bpf, Capability::NetAdmin]);
        let mut attacher = Attacher::new(options(lab, Mechanism::Clsact), programs).unwrap();
        let error = attacher.attach(lab.ifindex(), 1).unwrap_err();
        assert!(
            error.to_string().ends_with("; grant CAP_NET_ADMIN"),
            "{error}"
        );
    });
}

#[test]
fn without_bpffs_it_runs_unpinned() {
    Lab::run(|_| {
        let plan = decide(&probe(Some(Path::new("/proc"))), AttachChoice::Auto).unwrap();
        assert!(!plan.pinned);
        assert!(
            plan.warnings
                .iter()
                .any(|warning| warning.contains("mount -t bpf bpf /proc")),
            "{plan:?}"
        );
    });
}
