//! What is held while an input is replayed grows with its edges, and not with its packets, flows or events.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{BufReader, Read};

use netpol_agent::flows::BadLines;
use netpol_agent::replay::{conntrack, hubble, pcap};

use crate::capture::{Capture, tcp};

/// The distinct edges of every input here.
const EDGES: u32 = 10;

thread_local! {
    /// Bytes that this thread holds, and the most that it held since that was last set back.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, which counts for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    // A thread that ends has no counter any more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now + bytes;
        held.set((now, most.max(now)));
    });
}

// SAFETY: everything is handed on to the system's allocator as it came; what is counted neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as the caller vouches.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most bytes that were held at a time while something was done, beyond those of before.
fn most(done: impl FnOnce()) -> isize {
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    done();
    HELD.with(|held| held.get().1 - before)
}

/// An input that is made while it is read: `each` writes what belongs to a connection.
struct Made<F> {
    connections: std::ops::Range<u32>,
    each: F,
    bytes: Vec<u8>,
    read: usize,
}

impl<F: FnMut(u32, &mut Vec<u8>)> Read for Made<F> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
            if let Some(connection) = self.connections.next() {
                (self.each)(connection, &mut self.bytes);
            }
        }
        let left = &self.bytes[self.read..];
        let length = left.len().min(into.len());
        into[..length].copy_from_slice(&left[..length]);
        self.read += length;
        Ok(length)
    }
}

fn made<F: FnMut(u32, &mut Vec<u8>)>(begin: Vec<u8>, connections: u32, each: F) -> Made<F> {
    Made {
        connections: 0..connections,
        each,
        bytes: begin,
        read: 0,
    }
}

/// The client's port, the server's last octet, and the second: ten connections a second.
fn of(connection: u32) -> (u16, u8, u32) {
    let port = 1024 + u16::try_from(connection % 60_000).unwrap();
    let server = 2 + u8::try_from(connection % EDGES).unwrap();
    (port, server, connection / 10)
}

#[test]
fn a_capture_of_a_million_packets_over_ten_edges() {
    const CONNECTIONS: u32 = 333_334;
    // Only ports and sequence numbers differ.
    let frames = [
        tcp((1, 1), (2, 80), "S", 1),
        tcp((2, 80), (1, 1), "SA", 1),
        tcp((1, 1), (2, 80), "A", 2),
    ];
    let each = |connection, bytes: &mut Vec<u8>| {
        let (port, server, second) = of(connection);
        for (frame, back) in frames.iter().zip([false, true, false]) {
            let length = u32::try_from(frame.len()).unwrap();
            for field in [second, 0, length, length] {
                bytes.extend(field.to_le_bytes());
            }
            let begin = bytes.len();
            bytes.extend(frame);
            let (address, place) = if back { (29, 36) } else { (33, 34) };
            bytes[begin + address] = server;
            bytes[begin + place..begin + place + 2].copy_from_slice(&port.to_be_bytes());
            bytes[begin + 38..begin + 42].copy_from_slice(&connection.to_be_bytes());
        }
    };
    let reader = made(Capture::new().bytes(), CONNECTIONS, each);
    let (mut records, mut established, mut read) = (0, 0, 0);
    let most = most(|| {
        let summary = pcap::read("x", reader, BadLines::Fail, |record| {
            records += 1;
            established += record.count;
        });
        read = summary.unwrap().read;
    });
    assert_eq!(read, 3 * u64::from(CONNECTIONS));
    assert_eq!(established, u64::from(CONNECTIONS));
    // One for each edge and hour.
    assert_eq!(records, EDGES * CONNECTIONS.div_ceil(36_000));
    // The buffer is a mebibyte; 1300 attempts may still be repeated.
    assert!(most < 3 << 20, "{most} bytes");
}

#[test]
fn events_of_many_connections_over_ten_edges() {
    const CONNECTIONS: u32 = 50_000;
    let each = |connection, bytes: &mut Vec<u8>| {
        let (port, server, second) = of(connection);
        let entry = format!("src=10.0.0.1 dst=10.0.0.{server} sport={port} dport=80");
        let reply = format!("src=10.0.0.{server} dst=10.0.0.1 sport=80 dport={port}");
        let mut text = String::new();
        for event in [
            format!("[NEW] tcp 6 120 SYN_SENT {entry} [UNREPLIED] {reply}"),
            format!("[UPDATE] tcp 6 60 ESTABLISHED {entry} {reply} [ASSURED]"),
            format!("[DESTROY] tcp 6 {entry} {reply} [ASSURED]"),
        ] {
            writeln!(text, "[{second:<8}.5     ]\t{event}").unwrap();
        }
        bytes.extend(text.as_bytes());
    };
    let reader = BufReader::new(made(Vec::new(), CONNECTIONS, each));
    let mut established = 0;
    let most = most(|| {
        let each = |record: netpol_common::record::FlowRecord| established += record.count;
        conntrack::read("x", reader, BadLines::Fail, each).unwrap();
    });
    assert_eq!(established, u64::from(CONNECTIONS));
    assert!(most < 1 << 18, "{most} bytes");
}

#[test]
fn flows_of_hubble_over_ten_edges() {
    const CONNECTIONS: u32 = 30_000;
    let each = |connection, bytes: &mut Vec<u8>| {
        let (port, server, second) = of(connection);
        let time = jiff::Timestamp::from_second(second.into()).unwrap();
        let mut text = String::new();
        for (reply, ends, ports, flags) in [
            (false, [1, server], [port, 80], r#"{"SYN":true}"#),
            (true, [server, 1], [80, port], r#"{"SYN":true,"ACK":true}"#),
        ] {
            let [source, destination] = ends;
            let [from, to] = ports;
            writeln!(
                text,
                r#"{{"flow":{{"time":"{time}","verdict":"FORWARDED","IP":{{"source":"10.0.0.{source}","destination":"10.0.0.{destination}"}},"l4":{{"TCP":{{"source_port":{from},"destination_port":{to},"flags":{flags}}}}},"is_reply":{reply}}}}}"#
            )
            .unwrap();
        }
        bytes.extend(text.as_bytes());
    };
    let reader = BufReader::new(made(Vec::new(), CONNECTIONS, each));
    let mut established = 0;
    let most = most(|| {
        let each = |record: netpol_common::record::FlowRecord| established += record.count;
        hubble::read("x", reader, BadLines::Fail, |_| false, each).unwrap();
    });
    assert_eq!(established, u64::from(CONNECTIONS));
    assert!(most < 2 << 20, "{most} bytes");
}
