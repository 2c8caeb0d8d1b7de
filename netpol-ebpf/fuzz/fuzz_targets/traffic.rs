//! Whatever the traffic, every packet has one fate, and what was counted agrees with the maps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_ebpf::host::invariants;

fuzz_target!(|data: &[u8]| invariants::traffic(data));
