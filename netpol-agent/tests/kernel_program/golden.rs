//! The golden packets of the kernel crate, run by `BPF_PROG_TEST_RUN`, whole and cut off at every length.

use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::{Fate, InterfaceConfig};
use netpol_ebpf::host::golden::{Golden, made, packets};
use netpol_ebpf::host::{Fake, LIMITS};
use netpol_ebpf::{Side, Table};

use crate::kernel_common::*;
use crate::traffic::quota;

/// Room for a few packets, so that walks are short.
pub(crate) fn small() -> KernelOptions {
    KernelOptions {
        edges: 1024,
        attempts: 1024,
        ..KernelOptions::default()
    }
}

/// What an interface made, in the words of the golden file.
pub(crate) fn makes(kernel: &Kernel, interface: u32) -> String {
    let tables = [
        (MapKind::Edges, Table::Edges),
        (MapKind::Attempts, Table::Attempts),
    ];
    let entries = tables.into_iter().flat_map(|(kind, table)| {
        let entries = counts(kernel, kind, interface);
        entries.into_iter().map(move |(key, _)| made(table, &key))
    });
    entries.collect::<Vec<_>>().join("; ")
}

/// The fate that was counted since `before`.
pub(crate) fn new_fate(kernel: &Kernel, before: &[u64]) -> &'static str {
    let now = kernel.fates().unwrap();
    let new: Vec<Fate> = Fate::ALL
        .iter()
        .copied()
        .filter(|fate| now[*fate as usize] != before[*fate as usize])
        .collect();
    let [fate] = new[..] else {
        panic!("one packet has the fates {new:?}")
    };
    assert_eq!(now[fate as usize], before[fate as usize] + 1);
    fate.name()
}

/// Forgets what earlier packets made, so that the maps have room.
pub(crate) fn clear(kernel: &mut Kernel) {
    for kind in [MapKind::Edges, MapKind::Attempts] {
        for (key, _) in entries(kernel, kind) {
            kernel.delete(kind, &key).unwrap();
        }
    }
}

/// The fate of a frame in the kernel and what it makes there; `None` if the kernel makes no packet of it.
fn in_kernel(kernel: &mut Kernel, side: Side, frame: &[u8]) -> Option<(&'static str, String)> {
    let interface = configure(kernel, LOOPBACK, quota(8));
    let before = kernel.fates().unwrap();
    try_run(kernel, side, LOOPBACK, frame)?;
    let result = (new_fate(kernel, &before), makes(kernel, interface));
    clear(kernel);
    Some(result)
}

/// The same by the program's logic on the host.
fn on_host(side: Side, frame: &[u8]) -> (&'static str, String) {
    let config = InterfaceConfig {
        ifindex: LOOPBACK,
        interface: 1,
        ..quota(8)
    };
    let fake = Fake::new(LIMITS, &[config]);
    let fate = fake.observe(side, LOOPBACK, frame);
    let made: Vec<String> = [Table::Edges, Table::Attempts]
        .into_iter()
        .flat_map(|table| {
            let entries = fake.entries(table);
            entries.into_iter().map(move |(key, _)| made(table, &key))
        })
        .collect();
    (fate.name(), made.join("; "))
}

#[test]
fn each_packet_ends_as_written() {
    end_as_written();
}

#[test]
fn each_packet_ends_as_written_under_guards_against_speculation() {
    with_rights(BPF | NET_ADMIN, end_as_written);
}

fn end_as_written() {
    let mut kernel = open(&small());
    for packet in packets().unwrap() {
        let Golden {
            name, fate, makes, ..
        } = &packet;
        let result = in_kernel(&mut kernel, packet.side(), &packet.frame);
        assert_eq!(result, Some((&**fate, makes.clone())), "{name}");
    }
}

#[test]
fn a_packet_cut_off_anywhere_ends_as_on_the_host() {
    let mut kernel = open(&small());
    for packet in packets().unwrap() {
        let side = packet.side();
        for length in 0..packet.frame.len() {
            let frame = &packet.frame[..length];
            // The kernel itself refuses to make a packet of less than an IP header.
            let Some(result) = in_kernel(&mut kernel, side, frame) else {
                assert!(length < 14 + 40, "{} cut to {length}", packet.name);
                continue;
            };
            assert_eq!(
                result,
                on_host(side, frame),
                "{} cut to {length}",
                packet.name
            );
        }
    }
}
