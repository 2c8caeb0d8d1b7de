//! `netpol-agent`, for nodes and clusters.

use std::process::ExitCode;

fn main() -> ExitCode {
    netpol_agent::cli::agent::run()
}
