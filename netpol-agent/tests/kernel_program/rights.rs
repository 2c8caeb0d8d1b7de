//! With the capabilities that the documentation names the program loads, and without them the error names them.

use std::error::Error as _;

use netpol_agent::kernel::{Kernel, KernelError, KernelOptions, MapKind};
use netpol_ebpf::Side;

use crate::golden::small;
use crate::kernel_common::*;
use crate::namespaces;
use crate::traffic::{connect, quota};

fn loads_pinned_with(capabilities: u64) {
    namespaces::within(|bpffs| {
        let options = KernelOptions {
            pin_dir: Some(bpffs.join("netpol/node-test/v1")),
            ..small()
        };
        keep(capabilities);
        for port in [80, 81] {
            // Made the first time, adopted the second.
            let mut kernel = open(&options);
            configure(&mut kernel, LOOPBACK, quota(8));
            connect(&mut kernel, LOOPBACK, port);
        }
        let mut kernel = open(&options);
        let edges = entries(&kernel, MapKind::Edges);
        assert_eq!(edges.len(), 2);
        for (key, value) in edges {
            assert_eq!(kernel.delete(MapKind::Edges, &key).unwrap(), Some(value));
        }
    });
}

#[test]
fn two_capabilities_suffice() {
    loads_pinned_with(BPF | NET_ADMIN);
}

#[test]
fn with_a_third_the_verifier_has_less_to_follow() {
    loads_pinned_with(BPF | NET_ADMIN | PERFMON);
}

/// A kernel whose verifier follows more paths than this one's must still find the end: it gives up at a million.
#[test]
fn the_verifier_is_far_from_its_limit() {
    for (kept, limit) in [
        (BPF | NET_ADMIN | PERFMON, 100_000),
        (BPF | NET_ADMIN, 500_000),
    ] {
        with_rights(kept, || {
            let mut kernel = open(&small());
            for side in [Side::FromPod, Side::ToPod] {
                let info = program(&mut kernel, side).info().unwrap();
                let verified = info.verified_instruction_count().unwrap();
                assert!(verified < limit, "{side:?}: {verified} instructions");
            }
        });
    }
}

#[test]
fn without_capabilities_one_line_says_which() {
    for kept in [0, PERFMON, NET_ADMIN, BPF] {
        namespaces::within(|bpffs| {
            let pinned = KernelOptions {
                pin_dir: Some(bpffs.join("netpol/node-test/v1")),
                ..small()
            };
            keep(kept);
            for options in [small(), pinned] {
                let error = Kernel::open(&options).err().unwrap();
                assert!(
                    matches!(error, KernelError::NoPrivileges { .. }),
                    "{kept:#x}: {error:?}"
                );
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                let line = format!("{error}: {cause}");
                assert!(
                    line.contains("the capabilities CAP_BPF and CAP_NET_ADMIN"),
                    "{line}"
                );
                assert!(!line.contains('\n'), "{line}");
            }
        });
    }
}
