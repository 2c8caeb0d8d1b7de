//! The node agent: interfaces to pods, attaching, reading the kernel maps, and delivering batches.

pub mod account;
pub mod addresses;
pub mod attach;
mod behind;
pub mod bind;
pub mod books;
pub mod clock;
pub mod deliver;
pub mod flow_file;
pub mod follow;
pub mod forward;
pub mod interfaces;
pub mod journal;
pub mod links;
pub mod metrics;
pub mod netlink;
pub mod netns;
pub mod observer;
pub mod outbox;
pub mod ownership;
pub mod port;
pub mod probe;
pub mod processes;
pub mod report;
pub mod retire;
pub mod seed;
pub mod seeds;
pub mod sided;
pub mod source;
pub mod spec;
pub mod spoken;
pub mod standalone;
pub mod tally;

use crate::keeper::shared;
use crate::trouble;
