//! Opening the kernel side: maps made, walked, pinned and adopted. Needs root, and Linux 5.11.
#![cfg(feature = "ebpf")]

use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::InterfaceConfig;

#[test]
fn interfaces_are_told_and_forgotten() {
    let mut kernel = Kernel::open(&KernelOptions::default()).unwrap();
    assert_ne!(kernel.epoch_instance().unwrap(), 0);
    let first = kernel.next_interface().unwrap();
    assert_eq!(kernel.next_interface().unwrap(), first + 1);
    let config = InterfaceConfig {
        interface: first,
        quota: 8,
        ..InterfaceConfig::default()
    };
    kernel.configure(7, config).unwrap();
    assert_eq!(
        kernel.interfaces(),
        [InterfaceConfig {
            ifindex: 7,
            ..config
        }]
    );
    kernel.forget(7).unwrap();
    assert_eq!(kernel.interfaces(), []);
    kernel
        .walk(MapKind::Edges, |key, _| panic!("{key:?} in an empty map"))
        .unwrap();
}
