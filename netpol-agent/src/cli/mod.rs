//! The command line: arguments in, exit codes out; everything that prints.

#[cfg(feature = "ebpf")]
pub mod agent;
#[cfg(feature = "ebpf")]
pub mod aggregator;
pub mod captures;
mod check;
pub mod cluster;
mod complete;
mod completion;
mod connectivity;
mod decide;
#[cfg(feature = "ebpf")]
pub mod detach;
mod diff;
mod examples;
mod explain;
mod flows;
mod generate;
mod graph;
pub mod inputs;
mod install;
pub mod kubectl;
mod learned;
mod live_status;
mod man;
mod mode;
#[cfg(feature = "ebpf")]
pub mod node;
mod options;
mod origin;
mod out_dir;
pub mod output;
mod parties;
pub mod policies;
mod progress;
mod reading;
mod rollback;
mod status;
mod uninstall;
mod violations;
mod wishes;
mod wording;
mod words;
