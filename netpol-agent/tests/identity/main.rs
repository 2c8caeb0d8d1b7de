//! The identity index, fed from inventories and from an API server: the same clusters, the same answers.

mod api;
mod api_server;
mod cluster;
mod inventory;
mod property;
mod sightings;
mod times;
mod workloads;
