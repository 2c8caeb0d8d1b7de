//! `kubectl-netpol` against a cluster, as a person runs it: the real command, a double of the API server over real HTTP,
//! and an aggregator of the tests' own behind its port-forward, with real TLS.

mod aggregator;
mod decisions;
#[expect(dead_code, reason = "tests/api_double.rs uses all of it")]
#[path = "../double/mod.rs"]
mod double;
mod errors;
mod forward;
mod generating;
mod install;
mod modes;
mod offline;
mod reading;
mod roles;
mod standing;
mod support;
