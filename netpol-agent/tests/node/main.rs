//! The agent's binary on a node of real network namespaces, veths and sockets. Needs root, Linux 6.6 and iproute2.
#![cfg(feature = "ebpf")]

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod learning;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod restart;
