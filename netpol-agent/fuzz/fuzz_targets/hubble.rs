//! Any bytes are flows of Hubble or errors of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::flows::BadLines;
use netpol_agent::replay::hubble;

fuzz_target!(|data: &[u8]| {
    let _ = hubble::read("input", data, BadLines::Skip, |_| true, |record| {
        assert!(record.port != 0 && record.count > 0);
    });
});
