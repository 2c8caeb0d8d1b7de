//! `kubectl-netpol`, for people.

use std::process::ExitCode;

use netpol_agent::allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    netpol_agent::cli::kubectl::run()
}
