//! What the fuzz targets hold to be true, on golden packets and their damaged copies; a crash that the fuzzer finds becomes
//! a test here that says what went wrong.

use netpol_ebpf::host::golden::packets;
use netpol_ebpf::host::invariants::{frame, traffic};

#[test]
fn nothing_is_no_packet() {
    frame(&[]);
    traffic(&[]);
}

#[test]
fn golden_packets_with_any_byte_inverted() {
    for packet in packets().expect("a golden file that can be read") {
        for place in 0..packet.frame.len() {
            let mut bytes = vec![34];
            bytes.extend(&packet.frame);
            bytes[1 + place] ^= 0xff;
            frame(&bytes);
        }
    }
}

#[test]
fn golden_packets_as_scripts_of_traffic() {
    for packet in packets().expect("a golden file that can be read") {
        traffic(&packet.frame.repeat(4));
    }
}
