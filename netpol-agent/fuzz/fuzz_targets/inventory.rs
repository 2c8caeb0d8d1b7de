//! Any text is an inventory or an error of one place; what it holds can be indexed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::inventory;
use netpol_agent::policy::Cluster;
use netpol_agent::policy::evaluate::World;

fuzz_target!(|text: &str| {
    if let Ok(inventory) = inventory::parse("input", text) {
        let index = inventory.index();
        let _ = (Cluster::of(&index), World::of(&index));
    }
});
