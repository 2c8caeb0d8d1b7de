//! `kubectl-netpol`, for people.

use std::process::ExitCode;

fn main() -> ExitCode {
    netpol_agent::cli::kubectl::run()
}
