//! Any text is read as policies of Cilium and of Calico, or is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netpol_agent::policy::read::{calico, cilium};

fuzz_target!(|text: &str| {
    let _ = (cilium::read(text), calico::read(text));
});
