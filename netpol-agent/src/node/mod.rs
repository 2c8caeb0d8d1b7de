//! The node agent: interfaces to pods, attaching, reading the kernel maps, and delivering batches.

pub mod account;
pub mod addresses;
pub mod bind;
pub mod clock;
pub mod links;
pub mod netlink;
pub mod netns;
pub mod ownership;
pub mod processes;
pub mod seed;
pub mod sided;
