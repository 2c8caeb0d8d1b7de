//! Who an address, a pod or a service was at a given time.
//!
//! The index holds plain objects ([`objects`]) that either an inventory of files or the watchers of the API server
//! feed to it by three verbs: apply, delete, reset. It does no I/O and knows no clock.

mod claims;
mod ends;
mod history;
mod hosts;
mod index;
mod lives;
mod nodes;
pub mod objects;
mod owners;
mod pages;
mod places;
mod pods;
mod recall;
mod resolve;
mod runs;
mod services;
mod shared;
mod slices;
mod view;

pub use hosts::{Host, Hosts};
pub use index::{Index, Listing};
pub use lives::Life;
pub use places::Place;
pub use recall::Kept;
pub use resolve::{EdgeId, Mark, Peer, Resolution, Sighting, Unresolved};
pub use shared::Shared;
pub use view::{LabelSource, WorkloadView};
