//! netpol in a cluster, from installing to uninstalling: real packets between pods of two nodes of the lab, the real programs
//! as a kubelet runs them, a double of the API server over real HTTP, and a person with `kubectl-netpol`.

#[cfg(test)]
mod cluster;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../netpol-agent/tests/double/mod.rs"]
mod double;
#[cfg(test)]
#[path = "../../../netpol-agent/tests/kubectl/forward.rs"]
mod forward;
#[cfg(test)]
mod killing;
#[cfg(test)]
mod kubelet;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod person;
#[cfg(test)]
mod pods;
#[cfg(test)]
#[path = "../../../netpol-agent/src/store/tests/server.rs"]
mod postgres;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod service;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod whole;
