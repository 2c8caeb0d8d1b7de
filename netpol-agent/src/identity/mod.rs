//! Who an address, a pod or a service was at a given time.
//!
//! The index holds plain objects ([`objects`]) that either an inventory of files or the watchers of the API server
//! feed to it by three verbs: apply, delete, reset. It does no I/O and knows no clock.

pub mod objects;
mod resolve;

pub use resolve::{EdgeId, Mark, Peer, Resolution, Sighting, Unresolved};
