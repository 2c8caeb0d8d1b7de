//! `netpol-agent`, for nodes and clusters.

use std::process::ExitCode;

use netpol_agent::allocator::{self, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    allocator::give_back_soon();
    netpol_agent::cli::agent::run()
}
