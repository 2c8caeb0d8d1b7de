//! The program of `main.rs` and what it is measured against. Never attached.
//!
//! `BPF_PROG_TEST_RUN` runs a program over the same packet again and again. To measure the first packet of a connection,
//! the packet must be another one each time: the `varied` classifiers change it first, and are measured against one that
//! does only that.
#![no_std]
#![no_main]

mod maps;
mod observe;
mod parts;
mod source;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use netpol_ebpf::{Side, Store as _, Table};

const NEXT: i32 = -1;
/// Where the words to vary are in an untagged IPv4 packet: destination, ports, sequence number.
const DESTINATION: usize = 30;
const PORTS: usize = 34;
const SEQUENCE: usize = 38;
const MULTIPLIER: u32 = 0x9e37_79b1;

/// What is measured: packets from the pod.
#[classifier]
fn from_pod(context: TcContext) -> i32 {
    observe::observe(&context, Side::FromPod);
    NEXT
}

/// What is measured: packets to the pod.
#[classifier]
fn to_pod(context: TcContext) -> i32 {
    observe::observe(&context, Side::ToPod);
    NEXT
}

/// The cost of a test run itself.
#[classifier]
fn empty(_context: TcContext) -> i32 {
    NEXT
}

/// The cost of one look-up in a hash map of the size of `EDGES`.
#[classifier]
fn lookup(context: TcContext) -> i32 {
    let Some(packet) = maps::scratch::blank() else {
        return NEXT;
    };
    packet.key.interface = context.len();
    match maps::Maps.find(Table::Edges, &packet.key) {
        Some(_) => 0,
        None => NEXT,
    }
}

/// The cost of changing the client's port and the sequence number.
#[classifier]
fn varied_client(context: TcContext) -> i32 {
    vary(&context, false);
    NEXT
}

/// A new attempt of the same edge each time.
#[classifier]
fn varied_client_from_pod(context: TcContext) -> i32 {
    vary(&context, false);
    observe::observe(&context, Side::FromPod);
    NEXT
}

/// The cost of changing the server too.
#[classifier]
fn varied_server(context: TcContext) -> i32 {
    vary(&context, true);
    NEXT
}

/// An attempt of another edge each time.
#[classifier]
fn varied_server_from_pod(context: TcContext) -> i32 {
    vary(&context, true);
    observe::observe(&context, Side::FromPod);
    NEXT
}

/// Changes a packet that is long enough into the next one of its kind.
#[inline(always)]
fn vary(context: &TcContext, server: bool) {
    let (data, end) = (context.data(), context.data_end());
    if data + SEQUENCE + 4 > end {
        return;
    }
    // SAFETY: the words lie within the packet's linear part, as just checked.
    let [sequence, ports, destination] =
        [SEQUENCE, PORTS, DESTINATION].map(|at| unsafe { &mut *((data + at) as *mut u32) });
    *sequence = sequence.wrapping_add(1);
    let spread = sequence.wrapping_mul(MULTIPLIER);
    // The source port is the first half of its word, the destination port stays.
    *ports = (*ports & 0xffff_0000_u32) | (spread >> 16) | 0x80;
    if server {
        // 22 bits of host in 10/8 and above.
        *destination =
            (10 | 0x40 << 8) | (*sequence & 0x3fff) << 16 | (*sequence >> 14 & 0x3f) << 8;
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
