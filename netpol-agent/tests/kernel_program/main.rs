//! The program in the kernel: golden packets, packets in pieces, losses, pinned maps, first sights and rights.
//!
//! Needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN), Linux 6.6 and iproute2; fails without them. Interfaces and BPF
//! file systems are in namespaces of each test's own.
#![cfg(feature = "ebpf")]

#[cfg(test)]
mod golden;
#[cfg(test)]
#[path = "../kernel_common/mod.rs"]
mod kernel_common;
#[cfg(test)]
mod log;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod nonlinear;
#[cfg(test)]
mod pins;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod sights;
#[cfg(test)]
mod traffic;
