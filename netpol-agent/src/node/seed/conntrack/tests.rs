//! What is read of conntrack: a dump that the kernel sent, and anything else.

use std::fmt::Write;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use proptest::prelude::*;

use super::*;
use crate::node::netlink::split;

/// A dump as the kernel sent it, as hexadecimal text with comments.
const DUMP: &str = include_str!("../../../../tests/data/conntrack.hex");

fn bytes(text: &str) -> Vec<u8> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let digits: String = lines.flat_map(str::split_whitespace).collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn read(bytes: &[u8]) -> Vec<Flow> {
    let messages = split(bytes).map_while(Result::ok);
    let read =
        messages.filter_map(|message| {
            match NetlinkMessage::<NetfilterMessage>::deserialize(message)
                .ok()?
                .payload
            {
                NetlinkPayload::InnerMessage(message) => flow(message),
                _ => None,
            }
        });
    read.collect()
}

fn show(flows: &[Flow]) -> String {
    let mut text = String::new();
    for Flow {
        protocol,
        original,
        reply,
    } in flows
    {
        let Tuple {
            source,
            source_port,
            destination,
            destination_port,
        } = original;
        write!(
            text,
            "{protocol} {source}:{source_port} > {destination}:{destination_port}"
        )
        .unwrap();
        let Tuple {
            source,
            source_port,
            destination,
            destination_port,
        } = reply;
        writeln!(
            text,
            " | {source}:{source_port} > {destination}:{destination_port}"
        )
        .unwrap();
    }
    text
}

#[test]
fn a_dump_of_the_kernel_is_read() {
    let mut flows = read(&bytes(DUMP));
    flows.sort_unstable();
    expect_test::expect![[r#"
        TCP 10.1.0.5:40001 > 10.96.0.9:80 | 10.2.0.6:8080 > 10.1.0.5:40001
        TCP 10.1.0.5:40003 > 10.2.0.6:8080 | 10.2.0.6:8080 > 10.1.0.5:40003
        TCP fd00:1::5:40002 > fd00:96::9:80 | fd00:2::6:8080 > fd00:1::5:40002
        UDP 10.1.0.5:41001 > 10.2.0.6:5353 | 10.2.0.6:5353 > 10.1.0.5:41001
    "#]]
    .assert_eq(&show(&flows));
}

fn entry(number: u8) -> Entry {
    let tuple = |source: &str, source_port, destination: &str, destination_port| Tuple {
        source: source.parse().unwrap(),
        source_port,
        destination: destination.parse().unwrap(),
        destination_port,
    };
    Entry {
        original: Some((tuple("10.1.0.5", 40_000, "10.96.0.9", 80), number)),
        reply: Some((tuple("10.1.0.6", 8_080, "10.1.0.5", 40_000), number)),
        replied: true,
        tcp_state: Some(TCP_ESTABLISHED),
        picked_up: false,
        sctp_state: Some(SCTP_ESTABLISHED),
    }
}

#[test]
fn only_answered_connections_of_a_known_client_are_open() {
    for (name, entry, open) in [
        ("tcp", entry(6), true),
        ("udp", entry(17), true),
        ("sctp", entry(132), true),
        ("icmp", entry(1), false),
        (
            "tcp syn_sent",
            Entry {
                tcp_state: Some(1),
                ..entry(6)
            },
            false,
        ),
        (
            "tcp fin_wait",
            Entry {
                tcp_state: Some(4),
                ..entry(6)
            },
            false,
        ),
        (
            "tcp without a state",
            Entry {
                tcp_state: None,
                ..entry(6)
            },
            false,
        ),
        (
            "tcp in its middle",
            Entry {
                picked_up: true,
                ..entry(6)
            },
            false,
        ),
        (
            "tcp unreplied",
            Entry {
                replied: false,
                ..entry(6)
            },
            false,
        ),
        (
            "udp unreplied",
            Entry {
                replied: false,
                ..entry(17)
            },
            false,
        ),
        (
            "udp has no state",
            Entry {
                tcp_state: None,
                ..entry(17)
            },
            true,
        ),
        (
            "sctp cookie_wait",
            Entry {
                sctp_state: Some(2),
                ..entry(132)
            },
            false,
        ),
        (
            "no reply tuple",
            Entry {
                reply: None,
                ..entry(6)
            },
            false,
        ),
        (
            "no original tuple",
            Entry {
                original: None,
                ..entry(6)
            },
            false,
        ),
    ] {
        assert_eq!(entry.flow().is_some(), open, "{name}");
    }
}

#[test]
fn the_state_of_sctp_is_nested() {
    assert_eq!(sctp_state(&[5, 0, 1, 0, 4, 0, 0, 0]), Some(4));
    assert_eq!(
        sctp_state(&[8, 0, 2, 0, 4, 0, 0, 0, 5, 0, 1, 0, 3, 0, 0, 0]),
        Some(3)
    );
    assert_eq!(sctp_state(&[4, 0, 1, 0]), None);
    assert_eq!(sctp_state(&[200, 0, 1, 0, 4]), None);
    assert_eq!(sctp_state(&[]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let _ = sctp_state(&bytes);
    }

    #[test]
    fn a_damaged_dump_is_read(at in 0usize..4_000, value in any::<u8>(), length in 0usize..4_000) {
        let mut dump = bytes(DUMP);
        let last = dump.len() - 1;
        dump[at.min(last)] = value;
        dump.truncate(length);
        let _ = read(&dump);
    }
}
