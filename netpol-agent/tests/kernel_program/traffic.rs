//! Connections of one pod, each to a port of its own.

use netpol_agent::kernel::Kernel;
use netpol_common::abi::InterfaceConfig;
use netpol_ebpf::Side::{FromPod, ToPod};
use netpol_ebpf::host::Frame;
use netpol_ebpf::packet::flag::{ACK, SYN};

use crate::kernel_common::run;

/// An interface that may hold this many attempts.
pub(crate) fn quota(quota: u32) -> InterfaceConfig {
    InterfaceConfig {
        quota,
        ..InterfaceConfig::default()
    }
}

/// The pod opens a connection, which nobody answers.
pub(crate) fn attempt(kernel: &mut Kernel, ifindex: u32, port: u16) {
    open(kernel, ifindex, port, 1000);
}

/// The pod opens a connection, and is answered.
pub(crate) fn connect(kernel: &mut Kernel, ifindex: u32, port: u16) {
    connect_from(kernel, ifindex, port, 1000);
}

/// The same, with this initial sequence number: another one is another connection.
pub(crate) fn connect_from(kernel: &mut Kernel, ifindex: u32, port: u16, sequence: u32) {
    open(kernel, ifindex, port, sequence);
    let answer = Frame::tcp((peer(), port), pod(), SYN | ACK, 9000, sequence + 1);
    run(kernel, ToPod, ifindex, &answer.bytes());
}

fn open(kernel: &mut Kernel, ifindex: u32, port: u16, sequence: u32) {
    let syn = Frame::tcp(pod(), (peer(), port), SYN, sequence, 0);
    run(kernel, FromPod, ifindex, &syn.bytes());
}

fn pod() -> (std::net::IpAddr, u16) {
    ([10, 1, 0, 4].into(), 40_000)
}

fn peer() -> std::net::IpAddr {
    [10, 1, 0, 9].into()
}
