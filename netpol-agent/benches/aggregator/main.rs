//! What the aggregator takes: edges in a second of one processor, and a simulated cluster.
//!
//! `aggregator.edges_per_s`: deliveries of 200 edges over TLS with tokens, checked, committed to a file (synced) and
//! acknowledged, divided by the processor time of the aggregator's process, folding included; that process is kept on one
//! processor, and the clients are on the others. `aggregator.edges_per_s_wall` is the same by the wall clock, on whatever
//! else the machine does.
//!
//! Everything else is of a cluster of 5,000 nodes and 100,000 pods: this process plays the agents, a child the API server,
//! and another child is the aggregator, whose memory and processor time are told. Stages: the first list; every agent
//! delivers all its edges, a million of them; the steady state, in which every agent delivers a tenth of its edges at least
//! 5 s apart; 10 % of the pods are replaced; the aggregator is killed and started again.
//!
//! Sizes by environment: `NETPOL_BENCH_NODES`, `NETPOL_BENCH_PODS`, `NETPOL_BENCH_STEADY` (seconds of each stage).

mod agents;
mod api;
mod children;
mod intake;
mod objects;
#[path = "../process/mod.rs"]
mod process;
mod quantile;
mod simulation;
mod world;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use netpol_agent::allocator::{self, Allocator};

/// As in the program.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> Result<()> {
    allocator::give_back_soon();
    let first = rustls::crypto::ring::default_provider().install_default();
    first.ok().context("another provider of cryptography")?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let place = |at: usize| arguments.get(at).map(PathBuf::from).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("api") => api::serve(),
        Some("aggregate") => children::aggregate(&place(1)),
        Some("intake") => intake::serve(&place(1)),
        // What cargo adds, as in `--bench`, chooses nothing.
        _ => {
            intake::measure()?;
            simulation::run()
        }
    }
}

/// Prints a figure for `cargo xtask bench`.
fn figure(name: &str, value: f64, unit: &str) -> Result<()> {
    let line =
        format!("{{\"name\":\"aggregator.{name}\",\"value\":{value:.1},\"unit\":\"{unit}\"}}");
    writeln!(std::io::stdout(), "{line}").context("stdout")
}

/// Says something to whoever watches.
fn say(text: &str) {
    let _unheard = writeln!(std::io::stderr(), "{text}");
}

/// A number from the environment.
fn setting(name: &str, default: usize) -> Result<usize> {
    let name = format!("NETPOL_BENCH_{name}");
    match std::env::var(&name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
