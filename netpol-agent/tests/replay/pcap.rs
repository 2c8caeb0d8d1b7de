//! Packet captures.

use netpol_agent::flows::BadLines;
use netpol_agent::replay::{ReplayError, Summary, pcap};
use proptest::prelude::*;

use crate::capture::{Capture, sctp, tcp, udp, unreachable};
use crate::{message, words};

const CLIENT: (u8, u16) = (1, 40_000);
const SERVER: (u8, u16) = (2, 80);

fn replay(bytes: &[u8], bad: BadLines) -> (Vec<String>, Result<Summary, ReplayError>) {
    let mut records = Vec::new();
    let summary = pcap::read("x", bytes, bad, |record| records.push(words(&record)));
    (records, summary)
}

fn records(capture: Capture) -> Vec<String> {
    let (records, summary) = replay(&capture.bytes(), BadLines::Fail);
    summary.unwrap();
    records
}

#[test]
fn whoever_sent_the_syn_is_the_client_and_a_repeated_syn_is_one_attempt() {
    let capture = Capture::new()
        .tcp(10, CLIENT, SERVER, "S", 5)
        .tcp(11, CLIENT, SERVER, "S", 5)
        .tcp(11, SERVER, CLIENT, "SA", 9)
        .tcp(11, SERVER, CLIENT, "SA", 9)
        .tcp(11, CLIENT, SERVER, "A", 6)
        .tcp(12, SERVER, CLIENT, "A", 10);
    assert_eq!(
        records(capture),
        ["10.0.0.1 > 10.0.0.2 80/TCP established x1 10-10"]
    );
}

#[test]
fn another_sequence_number_is_another_attempt() {
    let capture = Capture::new()
        .tcp(10, CLIENT, SERVER, "S", 5)
        .tcp(10, SERVER, CLIENT, "SA", 9)
        .tcp(20, CLIENT, SERVER, "S", 99)
        .tcp(20, SERVER, CLIENT, "RA", 0)
        .tcp(30, CLIENT, SERVER, "S", 500);
    let expected = [
        "10.0.0.1 > 10.0.0.2 80/TCP established x1 10-10",
        "10.0.0.1 > 10.0.0.2 80/TCP refused x1 20-20",
        "10.0.0.1 > 10.0.0.2 80/TCP unanswered x1 30-30",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn an_answer_after_minutes_is_an_answer_to_a_later_attempt_only() {
    let capture = Capture::new()
        .tcp(0, CLIENT, SERVER, "S", 5)
        .tcp(120, SERVER, CLIENT, "SA", 9)
        .tcp(1000, (1, 41_000), SERVER, "S", 5)
        .tcp(1200, SERVER, (1, 41_000), "A", 9);
    let expected = [
        "10.0.0.1 > 10.0.0.2 80/TCP established x1 0-0",
        "10.0.0.1 > 10.0.0.2 80/TCP unanswered x1 1000-1000",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn a_capture_of_one_side_only_shows_answers_by_what_the_client_goes_on_to_send() {
    let capture = Capture::new()
        .tcp(10, CLIENT, SERVER, "S", 5)
        .tcp(10, CLIENT, SERVER, "A", 6);
    assert_eq!(
        records(capture),
        ["10.0.0.1 > 10.0.0.2 80/TCP established x1 10-10"]
    );
    let answers_only = Capture::new()
        .tcp(10, SERVER, CLIENT, "SA", 5)
        .tcp(10, SERVER, CLIENT, "SA", 5);
    assert_eq!(
        records(answers_only),
        ["10.0.0.1 > 10.0.0.2 80/TCP established x1 10-10"]
    );
}

#[test]
fn what_began_before_the_capture_makes_no_edge_and_is_counted() {
    let capture = Capture::new()
        .tcp(10, CLIENT, SERVER, "A", 5)
        .tcp(10, SERVER, CLIENT, "A", 5)
        .tcp(10, (3, 1), (4, 2), "A", 5)
        // Of this one, another connection tells who is the client.
        .tcp(11, (1, 40_001), SERVER, "S", 5)
        .tcp(11, SERVER, (1, 40_001), "SA", 5);
    let (records, summary) = replay(&capture.bytes(), BadLines::Fail);
    assert_eq!(records, ["10.0.0.1 > 10.0.0.2 80/TCP established x1 11-11"]);
    assert_eq!(summary.unwrap().older, 1);
}

#[test]
fn a_datagram_that_answers_makes_no_edge() {
    let capture = Capture::new()
        .udp(10, CLIENT, (2, 53))
        .udp(11, (2, 53), CLIENT)
        .udp(12, CLIENT, (2, 53))
        .udp(13, CLIENT, (3, 8125))
        .udp(99, CLIENT, (3, 8125));
    let expected = [
        "10.0.0.1 > 10.0.0.2 53/UDP established x2 10-12",
        "10.0.0.1 > 10.0.0.3 8125/UDP one-way x2 13-99",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn an_exchange_that_began_before_the_capture_is_turned_round_once_the_server_is_known() {
    let capture = Capture::new()
        .udp(10, (2, 53), CLIENT)
        .udp(11, CLIENT, (2, 53))
        .udp(12, (1, 40_001), (2, 53))
        .udp(13, (2, 53), (1, 40_001))
        .udp(14, (1, 40_002), (2, 53))
        .udp(15, (2, 53), (1, 40_002));
    let expected = [
        "10.0.0.1 > 10.0.0.2 53/UDP established x2 12-14",
        "10.0.0.1 > 10.0.0.2 53/UDP established x1 10-10",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn unreachable_refuses_the_attempt_that_it_embeds() {
    let datagram = udp(CLIENT, (2, 99));
    let segment = tcp((1, 41_000), SERVER, "S", 5);
    let capture = Capture::new()
        .frame(10, &datagram)
        .frame(10, &unreachable(2, 1, &datagram))
        .frame(11, &segment)
        .frame(11, &unreachable(2, 1, &segment));
    let expected = [
        "10.0.0.1 > 10.0.0.2 80/TCP refused x1 11-11",
        "10.0.0.1 > 10.0.0.2 99/UDP refused x1 10-10",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn sctp_by_its_first_chunk() {
    let capture = Capture::new()
        .frame(10, &sctp(CLIENT, SERVER, 1))
        .frame(10, &sctp(SERVER, CLIENT, 2))
        .frame(20, &sctp(CLIENT, (3, 80), 1))
        .frame(20, &sctp((3, 80), CLIENT, 6));
    let expected = [
        "10.0.0.1 > 10.0.0.2 80/SCTP established x1 10-10",
        "10.0.0.1 > 10.0.0.3 80/SCTP refused x1 20-20",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn each_hour_is_a_record_of_its_own() {
    let capture = Capture::new()
        .udp(10, CLIENT, (2, 53))
        .udp(11, (2, 53), CLIENT)
        .udp(3601, CLIENT, (2, 53))
        .udp(3602, (2, 53), CLIENT);
    let expected = [
        "10.0.0.1 > 10.0.0.2 53/UDP established x1 10-10",
        "10.0.0.1 > 10.0.0.2 53/UDP established x1 3601-3601",
    ];
    assert_eq!(records(capture), expected);
}

#[test]
fn links_other_than_ethernet_and_tags() {
    let frame = udp(CLIENT, (2, 99));
    let ip = &frame[14..];
    let expected = ["10.0.0.1 > 10.0.0.2 99/UDP one-way x1 10-10"];
    let cooked = [&[0; 14][..], &[8, 0], ip].concat();
    let cooked2 = [&[8, 0][..], &[0; 18], ip].concat();
    let null = [&[2, 0, 0, 0][..], ip].concat();
    let tagged = [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
    for (link, frame) in [
        (101, ip),
        (113, &cooked),
        (276, &cooked2),
        (0, &null),
        (1, &tagged),
    ] {
        let capture = Capture::with_link(link).frame(10, frame);
        assert_eq!(records(capture), expected, "link type {link}");
    }
}

#[test]
fn multicast_broadcast_and_later_fragments_make_no_edge() {
    let mut multicast = udp(CLIENT, (2, 99));
    multicast[30..34].copy_from_slice(&[224, 0, 0, 251]);
    let mut broadcast = udp(CLIENT, (2, 99));
    broadcast[30..34].copy_from_slice(&[255; 4]);
    let mut fragment = udp(CLIENT, (2, 99));
    fragment[21] = 9;
    let capture = Capture::new()
        .frame(1, &multicast)
        .frame(1, &broadcast)
        .frame(1, &fragment)
        .frame(1, &[1, 2, 3]);
    let (records, summary) = replay(&capture.bytes(), BadLines::Fail);
    assert_eq!(records, [""; 0]);
    let summary = summary.unwrap();
    assert_eq!((summary.read, summary.other), (4, 4));
}

/// A block of pcapng.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = u32::try_from(padded + 12).unwrap().to_le_bytes();
    let mut block = [&kind.to_le_bytes()[..], &length, body].concat();
    block.resize(8 + padded, 0);
    block.extend(length);
    block
}

fn section() -> Vec<u8> {
    let magic = 0x1a2b_3c4d_u32.to_le_bytes();
    block(
        0x0a0d_0d0a,
        &[&magic[..], &[1, 0, 0, 0], &[255; 8]].concat(),
    )
}

fn interface(link: u16, options: &[u8]) -> Vec<u8> {
    let link = link.to_le_bytes();
    block(1, &[&link[..], &[0; 6], options].concat())
}

fn packet(interface: u32, units: u64, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap();
    let fields = [
        interface,
        (units >> 32) as u32,
        units as u32,
        length,
        length,
    ];
    let fields = fields.map(u32::to_le_bytes).concat();
    block(6, &[&fields[..], frame].concat())
}

#[test]
fn pcapng_with_an_interface_of_its_own_clock() {
    // if_tsresol: nanoseconds.
    let nanoseconds = [9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let capture = [
        section(),
        interface(1, &nanoseconds),
        packet(0, 7_000_000_000, &udp(CLIENT, (2, 99))),
    ]
    .concat();
    let (records, summary) = replay(&capture, BadLines::Fail);
    summary.unwrap();
    assert_eq!(records, ["10.0.0.1 > 10.0.0.2 99/UDP one-way x1 7-7"]);
}

#[test]
fn a_capture_that_breaks_off_is_told_or_taken_as_it_is() {
    let whole = Capture::new()
        .udp(1, CLIENT, (2, 99))
        .udp(2, CLIENT, (2, 99))
        .bytes();
    let (_, summary) = replay(&whole[..whole.len() - 3], BadLines::Fail);
    assert_eq!(
        message(&summary.unwrap_err()),
        "x, packet 2: the capture breaks off here; with --skip-bad-lines what is before it is taken"
    );
    let (records, summary) = replay(&whole[..whole.len() - 3], BadLines::Skip);
    assert_eq!(records, ["10.0.0.1 > 10.0.0.2 99/UDP one-way x1 1-1"]);
    let skipped = (2, "the capture breaks off here".to_owned());
    assert_eq!(summary.unwrap().first_skipped, Some(skipped));
}

#[test]
fn a_capture_of_another_link_type_is_an_error() {
    let frame = udp(CLIENT, (2, 99));
    for packets in 0..2 {
        let capture = (0..packets).fold(Capture::with_link(127), |capture, second| {
            capture.frame(second, &frame)
        });
        for bad in [BadLines::Fail, BadLines::Skip] {
            let (records, summary) = replay(&capture.clone().bytes(), bad);
            assert_eq!(records, [""; 0]);
            assert_eq!(
                message(&summary.unwrap_err()),
                "x is of link type 127, which is not read: Ethernet, raw IP, BSD loopback and Linux cooked (tcpdump -i \
                 any) are"
            );
        }
    }
}

/// Two interfaces in one capture; of one that is not read the packets are counted.
#[test]
fn packets_of_other_link_types_are_counted_by_type() {
    let capture = |links: &[u16], packets: &[u32]| {
        let frame = udp(CLIENT, (2, 99));
        let interfaces = links.iter().map(|link| interface(*link, &[]));
        let packets = packets
            .iter()
            .map(|index| packet(*index, 7_000_000, &frame));
        let blocks = interfaces.chain(packets);
        [section()]
            .into_iter()
            .chain(blocks)
            .collect::<Vec<_>>()
            .concat()
    };
    let (records, summary) = replay(&capture(&[195, 1, 127], &[0, 1, 0, 2]), BadLines::Fail);
    assert_eq!(records, ["10.0.0.1 > 10.0.0.2 99/UDP one-way x1 7-7"]);
    let summary = summary.unwrap();
    assert_eq!((summary.read, summary.other), (4, 0));
    assert_eq!(summary.unread, [(195, 2), (127, 1)].into());
    assert_eq!(summary.unread_links(), "127, 195");
    let (_, summary) = replay(&capture(&[195, 127, 9, 8, 7, 6], &[]), BadLines::Skip);
    let error = message(&summary.unwrap_err());
    assert!(
        error.starts_with("x is of link type 6, 7, 8, 9 and 2 more, which is not read: "),
        "{error}"
    );
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    for bytes in [&b""[..], b"x", b"{\"client\":1}\n and more text to look at"] {
        let (_, summary) = replay(bytes, BadLines::Skip);
        let error = message(&summary.unwrap_err());
        assert_eq!(
            error,
            "x is no packet capture: it begins like neither pcap nor pcapng"
        );
    }
}

#[test]
fn a_length_that_no_packet_has_is_damage() {
    let mut capture = Capture::new().udp(1, CLIENT, (2, 99)).bytes();
    capture[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    capture.resize(3 << 20, 0);
    let (_, summary) = replay(&capture, BadLines::Fail);
    let error = message(&summary.unwrap_err());
    assert!(error.starts_with("x, packet 1: "), "{error}");
}

proptest! {
    #[test]
    fn damage_anywhere_is_no_panic(at in 0..400_usize, with: u8, cut in 0..400_usize) {
        let mut capture = Capture::new()
            .tcp(1, CLIENT, SERVER, "S", 5)
            .udp(2, CLIENT, (2, 53))
            .frame(3, &sctp(CLIENT, SERVER, 1))
            .frame(4, &unreachable(2, 1, &udp(CLIENT, (2, 53))))
            .bytes();
        let place = at % capture.len();
        capture[place] = with;
        capture.truncate(capture.len() - cut.min(capture.len()));
        let _ = replay(&capture, BadLines::Skip);
    }

    #[test]
    fn any_bytes_after_a_header_are_no_panic(frame in prop::collection::vec(any::<u8>(), 0..200), link in 0..300_u32) {
        let (_, summary) = replay(&Capture::with_link(link).frame(1, &frame).bytes(), BadLines::Fail);
        match summary {
            Ok(summary) => prop_assert_eq!(summary.read, 1),
            Err(error) => prop_assert!(matches!(error, ReplayError::Links { .. }), "{}", error),
        }
    }
}
