//! The program in the kernel and its logic on the host agree on every packet. Needs root, and Linux 5.11.
#![cfg(feature = "ebpf")]
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod kernel_common;

use kernel_common::*;
use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::{EdgeKey, Fate, InterfaceConfig};
use netpol_ebpf::Table;
use netpol_ebpf::host::script::{self, Step};
use netpol_ebpf::host::{Fake, LIMITS};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// `TCX_NEXT`.
const NEXT: u32 = u32::MAX;

fn compare(
    kernel: &mut Kernel,
    config: InterfaceConfig,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let interface = configure(kernel, LOOPBACK, config);
    let known = InterfaceConfig {
        ifindex: LOOPBACK,
        interface,
        ..config
    };
    let fake = Fake::new(LIMITS, &[known]);
    for Step { side, frame } in steps {
        let before = kernel.fates().unwrap();
        // The kernel itself refuses to make a packet of less than an IP header.
        let Some(verdict) = try_run(kernel, *side, LOOPBACK, frame) else {
            prop_assert!(frame.len() < 14 + 40, "{:?}", frame);
            continue;
        };
        prop_assert_eq!(verdict, NEXT);
        let fate = fake.observe(*side, LOOPBACK, frame);
        let mut expected = before;
        expected[fate as usize] += 1;
        prop_assert_eq!(
            kernel.fates().unwrap(),
            expected,
            "{:?} {:?}",
            fate,
            Step {
                side: *side,
                frame: frame.clone()
            }
        );
        same_maps(kernel, interface, &fake, fate)?;
    }
    let (mut stats, mut expected) = (kernel.stats(LOOPBACK).unwrap(), fake.statistics(LOOPBACK));
    (stats.last_attempt, expected.last_attempt) = (0, 0);
    // Slots stay taken from one case to the next.
    (stats.slots_lost, expected.slots_lost) = (0, 0);
    prop_assert_eq!(stats, expected);
    Ok(())
}

fn same_maps(
    kernel: &Kernel,
    interface: u32,
    fake: &Fake,
    fate: Fate,
) -> Result<(), TestCaseError> {
    for (kind, table) in [
        (MapKind::Edges, Table::Edges),
        (MapKind::Attempts, Table::Attempts),
    ] {
        let expected: Vec<(EdgeKey, [u64; 3])> = fake
            .entries(table)
            .into_iter()
            .map(|(key, value)| (key, [value.attempts, value.answered, value.refused]))
            .collect();
        prop_assert_eq!(
            counts(kernel, kind, interface),
            expected,
            "{:?} after {:?}",
            kind,
            fate
        );
    }
    Ok(())
}

fn on_any_traffic(config: InterfaceConfig) {
    let mut kernel = open(&KernelOptions::default());
    let kernel = std::cell::RefCell::new(&mut kernel);
    TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
    .run(&vec(any::<u8>(), 8..480), |script| {
        compare(&mut kernel.borrow_mut(), config, &script::steps(&script))
    })
    .unwrap();
}

#[test]
fn kernel_and_host_agree() {
    on_any_traffic(InterfaceConfig {
        quota: 100,
        ..InterfaceConfig::default()
    });
}

#[test]
fn kernel_and_host_agree_under_guards_against_speculation() {
    with_rights(BPF | NET_ADMIN, || {
        on_any_traffic(InterfaceConfig {
            quota: 100,
            ..InterfaceConfig::default()
        });
    });
}

#[test]
fn kernel_and_host_agree_over_the_quota() {
    on_any_traffic(InterfaceConfig {
        quota: 2,
        ..InterfaceConfig::default()
    });
}

#[test]
fn kernel_and_host_agree_on_one_sided_interfaces() {
    let flags = InterfaceConfig::ONE_SIDED;
    on_any_traffic(InterfaceConfig {
        quota: 100,
        flags,
        ..InterfaceConfig::default()
    });
}
