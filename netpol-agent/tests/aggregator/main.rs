//! The aggregator over real HTTP and TLS, against a double of the API server: good agents, and hostile ones.

#[cfg(test)]
mod deliveries;
#[cfg(test)]
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../double/mod.rs"]
mod double;
#[cfg(test)]
mod hostile;
#[cfg(all(test, feature = "ebpf"))]
mod killed;
#[cfg(test)]
#[expect(dead_code, reason = "tests/control uses the rest of it")]
#[path = "../control/lab.rs"]
mod lab;
#[cfg(test)]
mod openapi;
// Two attributes, as clippy knows code of tests by `cfg(test)` alone.
#[cfg(test)]
#[cfg(feature = "ebpf")]
#[path = "../../src/store/tests/plaintext.rs"]
mod plaintext;
#[cfg(test)]
#[expect(dead_code, reason = "the store's tests use all of it")]
#[path = "../../src/store/tests/server.rs"]
mod postgres;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod schemathesis;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod whole;
