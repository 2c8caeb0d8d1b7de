//! Golden packets, whole and cut off at every length.

mod common;

use common::*;
use netpol_common::abi::Event;
use netpol_ebpf::Side;
use netpol_ebpf::Table::{Attempts, Edges};
use netpol_ebpf::host::Fake;
use netpol_ebpf::host::golden::{Golden, made, packets, read};
use netpol_ebpf::packet::{Head, Packet, is_plain_segment, parse};

/// What a store holds, in the words of the golden file.
fn entries(fake: &Fake) -> Vec<String> {
    [Edges, Attempts]
        .into_iter()
        .flat_map(|table| {
            fake.entries(table)
                .into_iter()
                .map(move |entry| (table, entry))
        })
        .map(|(table, (key, _))| made(table, &key))
        .collect()
}

/// What a packet alone comes to: its fate and what it makes.
fn alone(side: Side, frame: &[u8], linear: usize) -> (&'static str, Vec<String>) {
    let fake = fake();
    let fate = fake.observe_split(side, IFINDEX, frame, linear);
    assert_eq!(fake.counters().fates.iter().sum::<u64>(), 1);
    (fate.name(), entries(&fake))
}

fn golden() -> Vec<Golden> {
    let packets = packets().expect("a golden file that can be read");
    assert!(packets.len() > 100, "{} packets", packets.len());
    packets
}

#[test]
fn each_packet_is_read_and_ends_as_written() {
    for packet in golden() {
        let (side, name) = (packet.side(), &packet.name);
        assert_eq!(read(&packet.frame, side), packet.read, "{name}");
        let (fate, made) = alone(side, &packet.frame, packet.frame.len());
        assert_eq!(
            (fate, made.join("; ")),
            (&*packet.fate, packet.makes),
            "{name}"
        );
    }
}

#[test]
fn names_are_unique_and_every_side_is_one() {
    let mut names = std::collections::BTreeSet::new();
    for packet in golden() {
        assert!(
            ["from-pod", "to-pod"].contains(&&*packet.side),
            "{packet:?}"
        );
        assert!(names.insert(packet.name.clone()), "{} twice", packet.name);
    }
}

/// A packet that ends anywhere is read no further, and is never taken for another edge.
#[test]
fn a_packet_cut_off_anywhere_makes_nothing_else() {
    for packet in golden() {
        let side = packet.side();
        for length in 0..packet.frame.len() {
            let frame = &packet.frame[..length];
            let (fate, made) = alone(side, frame, length);
            let what = format!("{} cut to {length}: {fate} {made:?}", packet.name);
            match read(frame, side).as_str() {
                "short" => assert_eq!((fate, made.len()), ("malformed", 0), "{what}"),
                text => {
                    assert_eq!(text, packet.read, "{what}");
                    assert_eq!(
                        (fate, made.join("; ")),
                        (&*packet.fate, packet.makes.clone()),
                        "{what}"
                    );
                }
            }
        }
    }
}

/// Whatever part of a packet can be read directly, it comes to the same, and only what lies outside that part is an event.
#[test]
fn where_the_linear_part_ends_changes_nothing() {
    for packet in golden() {
        let side = packet.side();
        let whole = alone(side, &packet.frame, packet.frame.len());
        for linear in 0..packet.frame.len() {
            let what = format!("{} with {linear} bytes linear", packet.name);
            assert_eq!(alone(side, &packet.frame, linear), whole, "{what}");
        }
    }
}

#[test]
fn headers_outside_the_linear_part_are_told() {
    for packet in golden() {
        let fake = fake();
        fake.observe_split(packet.side(), IFINDEX, &packet.frame, 14);
        let ip = packet.frame[12..14] == [8, 0] || packet.frame[12..14] == [0x86, 0xdd];
        assert_eq!(
            fake.count(Event::NonLinear),
            u64::from(ip),
            "{}",
            packet.name
        );
    }
}

/// The first glance takes nothing for plain data that a full look would not.
#[test]
fn the_first_glance_agrees_at_every_length() {
    for packet in golden() {
        for length in 0..=packet.frame.len() {
            let head = Head(&packet.frame[..length]);
            if is_plain_segment(&head) {
                let mut read = Packet::default();
                parse(&head, packet.side(), &mut read).unwrap();
                assert!(read.is_plain_segment(), "{} cut to {length}", packet.name);
            }
        }
    }
}
