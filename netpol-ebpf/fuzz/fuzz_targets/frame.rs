//! Any bytes are a packet of one fate, the same wherever its linear part ends; and cut off, it makes nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_ebpf::host::invariants;

fuzz_target!(|data: &[u8]| invariants::frame(data));
