//! The command line: arguments in, exit codes out; everything that prints.

#[cfg(feature = "ebpf")]
pub mod detach;
mod flows;
mod graph;
pub mod inputs;
pub mod kubectl;
pub mod output;
