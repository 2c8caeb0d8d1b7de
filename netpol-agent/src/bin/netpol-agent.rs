//! `netpol-agent`, for nodes and clusters.

use std::process::ExitCode;

/// The C library's keeps what an aggregator's threads have freed in many places, from which it hardly goes back: half as much
/// memory again for a cluster of 100,000 pods, and more processor time (`cargo xtask bench aggregator`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    netpol_agent::cli::agent::run()
}
