//! The identity index, fed from inventories and from an API server: the same clusters, the same answers.

mod api;
mod cluster;
#[expect(dead_code, reason = "tests/api_double.rs uses all of it")]
#[path = "../double/mod.rs"]
mod double;
mod inventory;
mod property;
mod sightings;
mod times;
mod workloads;
