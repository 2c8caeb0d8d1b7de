//! Attaching on real veths, in network and mount namespaces of each test's own, with both mechanisms.
//!
//! Needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN), Linux 6.6 and iproute2; fails without them. The classifiers
//! here count numbered packets, so that each packet that went unseen or was seen twice shows.
#![cfg(feature = "ebpf")]

#[cfg(test)]
mod handover;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod others;
#[cfg(test)]
mod privileges;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod seen;
#[cfg(test)]
mod support;
