//! What the policy engine takes, in time and memory: on random clusters from a fixed seed, all cores.
//!
//! Figures are medians of several rounds, as one JSON object a line. `cargo bench --bench policy [NAME]` runs the
//! parts whose name holds NAME.

mod cluster;
mod connectivity;
mod graph;
mod measure;
mod synthesis;
mod verdicts;

#[global_allocator]
static ALLOCATOR: netpol_agent::allocator::Allocator = netpol_agent::allocator::Allocator;

/// A part of the benchmark, by name.
type Part = (&'static str, fn());

const PARTS: &[Part] = &[
    ("synthesis", synthesis::run),
    ("verdicts", verdicts::run),
    ("connectivity", connectivity::run),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.find(|argument| !argument.starts_with('-'));
    for (name, run) in PARTS {
        if wanted
            .as_ref()
            .is_none_or(|wanted| name.contains(wanted.as_str()))
        {
            run();
        }
    }
}
