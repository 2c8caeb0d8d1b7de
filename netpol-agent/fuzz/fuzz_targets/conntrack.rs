//! Any bytes are entries of the connection tracking table or errors of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::flows::BadLines;
use netpol_agent::replay::conntrack;

fuzz_target!(|data: &[u8]| {
    let _ = conntrack::read("input", data, BadLines::Skip, |record| {
        assert!(record.port != 0 && record.count > 0);
    });
});
