//! The command line: arguments in, exit codes out; everything that prints.

pub mod kubectl;
