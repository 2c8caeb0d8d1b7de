//! Any bytes are flow records or errors of one line, and whatever the records, they make a graph.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::flows::{self, BadLines};
use netpol_agent::graph::Builder;
use netpol_agent::identity::Index;
use netpol_agent::policy::{Cluster, Options, synthesise};

fuzz_target!(|data: &[u8]| {
    let index = Index::default();
    let mut builder = Builder::default();
    let add = |record: _| builder.add(&index, &record);
    let _ = flows::read("input", data, BadLines::Skip, add);
    let _ = synthesise(&builder.finish(&index), &Cluster::of(&index), &Options::default());
});
