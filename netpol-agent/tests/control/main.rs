//! The controller against the double of the API server over real HTTP: every step from learning to uninstalling, and
//! what it does when the API server, its leadership or its database fails.

#[cfg(test)]
#[expect(
    dead_code,
    reason = "tests/api_double.rs and tests/identity use the rest of it"
)]
#[path = "../double/mod.rs"]
mod double;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod lab;
