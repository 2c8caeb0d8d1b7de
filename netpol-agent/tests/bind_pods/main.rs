//! Interfaces, their pods and their open connections, on nodes made of network namespaces with pods that real CNI
//! plugins attach. Needs root, iproute2, nftables, and the plugins `ptp`, `bridge` and `host-local`.
#![cfg(feature = "ebpf")]

#[cfg(test)]
mod bind;
#[cfg(test)]
mod links;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod seed;
