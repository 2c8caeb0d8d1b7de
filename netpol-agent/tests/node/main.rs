//! The agent's binary on a node of real network namespaces, veths and sockets. Needs root, Linux 6.6 and iproute2.
#![cfg(feature = "ebpf")]

#[cfg(test)]
#[expect(dead_code, reason = "tests/uplink uses all of it")]
#[path = "../uplink/server.rs"]
mod aggregator;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
#[expect(dead_code, reason = "tests/attach_veth uses all of it")]
#[path = "../attach_veth/support/bpf.rs"]
mod bpf;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod delivering;
#[cfg(test)]
mod disk;
#[cfg(test)]
#[expect(dead_code, reason = "tests/api_double.rs uses all of it")]
#[path = "../double/mod.rs"]
mod double;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod learning;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod others;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod sided;
