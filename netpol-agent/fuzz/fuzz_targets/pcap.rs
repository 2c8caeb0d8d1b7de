//! Any bytes are a capture or an error of one packet; every record is one that we could write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::flows::BadLines;
use netpol_agent::replay::pcap;

fuzz_target!(|data: &[u8]| {
    let _ = pcap::read("input", data, BadLines::Skip, |record| {
        assert!(record.port != 0 && record.count > 0);
        assert!(record.span().is_none_or(|(first, last)| first <= last));
    });
});
