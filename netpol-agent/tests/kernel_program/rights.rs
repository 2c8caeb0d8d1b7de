//! With the capabilities that the documentation names the program loads, and without them the error names them.

use std::error::Error as _;

use netpol_agent::kernel::{Kernel, KernelError, KernelOptions, MapKind};
use netpol_ebpf::Side;

use crate::golden::small;
use crate::kernel_common::*;
use crate::namespaces;
use crate::traffic::{connect, quota};

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
fn three_capabilities_suffice() {
    loads_pinned_with(BPF | NET_ADMIN | PERFMON);
}

/// A kernel whose verifier follows more paths than this one's must still find the end: it gives up at a million.
#[test]
fn the_verifier_is_far_from_its_limit() {
    let mut kernel = open(&small());
    for side in [Side::FromPod, Side::ToPod] {
        let info = program(&mut kernel, side).info().unwrap();
        let verified = info.verified_instruction_count().unwrap();
        assert!(verified < 200_000, "{side:?}: {verified} instructions");
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
                    line.contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"),
                    "{line}"
                );
                assert!(!line.contains('\n'), "{line}");
            }
        });
    }
}
