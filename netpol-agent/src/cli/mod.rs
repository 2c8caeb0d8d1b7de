//! The command line: arguments in, exit codes out; everything that prints.

#[cfg(feature = "ebpf")]
pub mod agent;
pub mod captures;
mod check;
mod complete;
mod connectivity;
#[cfg(feature = "ebpf")]
pub mod detach;
mod diff;
mod explain;
mod flows;
mod generate;
mod graph;
pub mod inputs;
pub mod kubectl;
#[cfg(feature = "ebpf")]
pub mod node;
mod options;
mod out_dir;
pub mod output;
mod parties;
pub mod policies;
mod progress;
mod reading;
mod status;
mod wording;
