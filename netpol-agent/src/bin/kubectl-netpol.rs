//! `kubectl-netpol`, for people.

use std::process::ExitCode;

/// As in `netpol-agent`: the policies of a large cluster are many small things (`cargo xtask bench policy`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    netpol_agent::cli::kubectl::run()
}
