//! The command line: arguments in, exit codes out; everything that prints.

mod flows;
mod graph;
pub mod inputs;
pub mod kubectl;
pub mod output;
