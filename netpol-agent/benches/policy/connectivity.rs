//! All that policies allow between 1,000 workloads.

use netpol_agent::policy::connectivity::connectivity;
use netpol_agent::policy::evaluate::Reading;

use crate::cluster::Cluster;
use crate::measure::{median, peak, print, say, timed};

/// Rounds, of which the median counts.
const ROUNDS: usize = 5;

/// Measures the time, compiling included, and the memory of one run.
pub(crate) fn run() {
    let cluster = Cluster::new(1_000, 3);
    let list = || connectivity(&cluster.world, &cluster.policies, Reading::default());
    let (found, memory) = peak(list);
    say(&format!("connectivity: {} entries", found.entries().len()));
    let rounds = (0..ROUNDS).map(|_| timed(list).1 * 1e3);
    print("connectivity_1k_ms", median(rounds.collect()), "ms");
    if let Some(memory) = memory {
        print("connectivity_1k_mib", memory, "MiB");
    }
}
