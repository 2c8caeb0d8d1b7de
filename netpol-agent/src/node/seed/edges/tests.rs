//! Tables of tracked connections and sockets, and the edges that must come of them.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

/// A connection, `PROTOCOL client > server | server > client`: as sent by the client, and as answered.
fn flow(text: &str) -> Flow {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [protocol, client, ">", server, "|", replier, ">", replied] = words[..] else {
        panic!("{text}")
    };
    let tuple = |source: &str, destination: &str| {
        let (source, destination) = (address(source), address(destination));
        Tuple {
            source: source.ip(),
            source_port: source.port(),
            destination: destination.ip(),
            destination_port: destination.port(),
        }
    };
    Flow {
        protocol: protocol.parse().unwrap(),
        original: tuple(client, server),
        reply: tuple(replier, replied),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn pod(ifindex: u32, addresses: &[&str]) -> Watched {
    Watched {
        ifindex,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        netnsid: Some(ifindex.cast_signed()),
    }
}

fn table(established: &[(&str, &str)], listening: &[&str]) -> Sockets {
    let pairs = established.iter();
    Sockets {
        established: pairs
            .map(|(local, remote)| (address(local), address(remote)))
            .collect(),
        listening: listening.iter().map(|text| address(text)).collect(),
        ..Sockets::default()
    }
}

fn check(flows: &[&str], sockets: impl IntoIterator<Item = (u32, Sockets)>, expected: Expect) {
    let watched = [
        pod(1, &["10.1.0.5", "fd00::5"]),
        pod(2, &["10.1.0.6", "fd00::6"]),
    ];
    let flows: Vec<Flow> = flows.iter().map(|text| flow(text)).collect();
    let mut text = String::new();
    for open in connections(&watched, &flows, &sockets.into_iter().collect()) {
        let OpenConnection {
            ifindex,
            source,
            direction,
            protocol,
            ..
        } = open;
        let OpenConnection {
            local,
            remote,
            port,
            connections,
            ..
        } = open;
        writeln!(
            text,
            "{ifindex} {source:?} {direction:?} {protocol} {local} {remote} {port} x{connections}"
        )
        .unwrap();
    }
    expected.assert_eq(&text);
}

#[test]
fn each_end_sees_its_side_of_a_translation() {
    check(
        &["TCP 10.1.0.5:40000 > 10.96.0.9:80 | 10.1.0.6:8080 > 10.1.0.5:40000"],
        [],
        expect![[r#"
            1 Conntrack Egress TCP 10.1.0.5 10.96.0.9 80 x1
            2 Conntrack Ingress TCP 10.1.0.6 10.1.0.5 8080 x1
        "#]],
    );
}

#[test]
fn the_server_sees_a_translated_client() {
    check(
        &["TCP 192.0.2.7:50000 > 192.0.2.1:30080 | 10.1.0.6:8080 > 10.1.0.1:61000"],
        [],
        expect![[r#"
            2 Conntrack Ingress TCP 10.1.0.6 10.1.0.1 8080 x1
        "#]],
    );
}

#[test]
fn a_pod_that_reaches_itself_through_a_service_is_on_both_ends() {
    check(
        &["TCP 10.1.0.5:40000 > 10.96.0.9:80 | 10.1.0.5:8080 > 10.1.0.1:40000"],
        [],
        expect![[r#"
            1 Conntrack Egress TCP 10.1.0.5 10.96.0.9 80 x1
            1 Conntrack Ingress TCP 10.1.0.5 10.1.0.1 8080 x1
        "#]],
    );
}

#[test]
fn connections_of_one_edge_are_counted() {
    check(
        &[
            "UDP 10.1.0.5:40000 > 10.96.0.10:53 | 10.3.0.2:5353 > 10.1.0.5:40000",
            "UDP 10.1.0.5:40001 > 10.96.0.10:53 | 10.3.0.3:5353 > 10.1.0.5:40001",
            "TCP fd00::5:0 > fd00::6:0 | fd00::6:0 > fd00::5:0"
                .replace("fd00::5:0", "[fd00::5]:7")
                .replace("fd00::6:0", "[fd00::6]:8")
                .as_str(),
            "SCTP 10.9.0.1:5000 > 10.1.0.5:3868 | 10.1.0.5:3868 > 10.9.0.1:5000",
            "TCP 10.9.0.1:5000 > 10.9.0.2:80 | 10.9.0.2:80 > 10.9.0.1:5000",
        ],
        [],
        expect![[r#"
            1 Conntrack Egress TCP fd00::5 fd00::6 8 x1
            1 Conntrack Egress UDP 10.1.0.5 10.96.0.10 53 x2
            1 Conntrack Ingress SCTP 10.1.0.5 10.9.0.1 3868 x1
            2 Conntrack Ingress TCP fd00::6 fd00::5 8 x1
        "#]],
    );
}

#[test]
fn what_is_tracked_must_be_open_in_the_pod() {
    let flows = [
        "TCP 10.1.0.5:40000 > 10.9.0.9:80 | 10.9.0.9:80 > 10.1.0.5:40000",
        "TCP 10.1.0.5:40001 > 10.9.0.8:80 | 10.9.0.8:80 > 10.1.0.5:40001",
        "UDP 10.1.0.5:5000 > 10.9.0.9:53 | 10.9.0.9:53 > 10.1.0.5:5000",
        "UDP 10.1.0.5:5001 > 10.9.0.8:53 | 10.9.0.8:53 > 10.1.0.5:5001",
    ];
    let mut open = table(&[("10.1.0.5:40000", "10.9.0.9:80")], &[]);
    open.datagram.insert(address("0.0.0.0:5000"));
    check(
        &flows,
        [(1, open)],
        expect![[r#"
            1 Conntrack Egress TCP 10.1.0.5 10.9.0.9 80 x1
            1 Conntrack Egress UDP 10.1.0.5 10.9.0.9 53 x1
        "#]],
    );
    check(&flows, [(1, Sockets::default())], expect![""]);
}

#[test]
fn untracked_sockets_tell_the_direction_by_who_listens() {
    let client = table(
        &[
            ("10.1.0.5:40000", "10.1.0.6:8080"),
            ("10.1.0.5:40001", "10.96.0.9:80"),
            ("10.1.0.5:9090", "10.9.0.1:33000"),
            ("127.0.0.1:5000", "127.0.0.1:5001"),
            ("10.1.0.5:5000", "10.1.0.5:9090"),
            ("10.7.0.7:5000", "10.9.0.1:80"),
        ],
        &["0.0.0.0:9090"],
    );
    let server = table(&[("10.1.0.6:8080", "10.1.0.5:40000")], &["[::]:8080"]);
    check(
        &[],
        [(1, client), (2, server)],
        expect![[r#"
            1 Sockets Egress TCP 10.1.0.5 10.1.0.6 8080 x1
            1 Sockets Egress TCP 10.1.0.5 10.96.0.9 80 x1
            1 Sockets Ingress TCP 10.1.0.5 10.9.0.1 9090 x1
            2 Sockets Ingress TCP 10.1.0.6 10.1.0.5 8080 x1
        "#]],
    );
}

#[test]
fn nobody_guesses_where_both_listen_or_neither() {
    let pair = [("10.1.0.5:7000", "10.1.0.6:7000")];
    let back = [("10.1.0.6:7000", "10.1.0.5:7000")];
    for listening in [&["0.0.0.0:7000"][..], &[]] {
        let tables = [(1, table(&pair, listening)), (2, table(&back, listening))];
        check(&[], tables, expect![""]);
    }
}

#[test]
fn a_tracked_connection_is_not_counted_again_as_a_socket() {
    check(
        &["TCP 10.9.0.1:33000 > 10.1.0.5:9090 | 10.1.0.5:9090 > 10.9.0.1:33000"],
        [(
            1,
            table(
                &[
                    ("10.1.0.5:9090", "10.9.0.1:33000"),
                    ("10.1.0.5:9090", "10.9.0.1:33001"),
                ],
                &["0.0.0.0:9090"],
            ),
        )],
        expect![[r#"
            1 Conntrack Ingress TCP 10.1.0.5 10.9.0.1 9090 x1
            1 Sockets Ingress TCP 10.1.0.5 10.9.0.1 9090 x1
        "#]],
    );
}

#[test]
fn connected_sockets_tell_the_client_of_a_conversation() {
    let watched = [
        pod(1, &["10.1.0.5", "fd00::5"]),
        pod(2, &["10.1.0.6", "fd00::6"]),
    ];
    let udp = |conversing: &[(&str, &str)], awaiting: &[&str]| Sockets {
        conversing: table(conversing, &[]).established,
        awaiting: table(&[], awaiting).listening,
        ..Sockets::default()
    };
    let here = udp(
        &[
            ("10.1.0.5:50000", "10.1.0.6:40001"),
            ("10.1.0.5:50001", "10.1.0.6:9"),
            ("10.1.0.5:50002", "192.0.2.1:443"),
            ("10.1.0.5:50002", "127.0.0.1:53"),
        ],
        &[],
    );
    let there = udp(
        &[
            ("10.1.0.6:500", "192.0.2.1:1500"),
            ("[fd00::6]:40001", "[fd00::5]:7"),
        ],
        &["[::]:40001", "0.0.0.0:500"],
    );
    let told = conversations(&watched, &BTreeMap::from([(1, here), (2, there)]));
    let told: Vec<String> = told
        .iter()
        .map(|told| {
            let OpenConnection {
                ifindex,
                direction,
                local,
                remote,
                port,
                ..
            } = told;
            assert_eq!((told.protocol, told.connections), (Protocol::Udp, 0));
            format!("{ifindex} {direction:?} {local} {remote} {port}")
        })
        .collect();
    let mut expected = [
        "1 Egress 10.1.0.5 10.1.0.6 40001",
        "2 Ingress 10.1.0.6 10.1.0.5 40001",
        "1 Egress 10.1.0.5 192.0.2.1 443",
        "2 Ingress 10.1.0.6 192.0.2.1 500",
        "2 Ingress fd00::6 fd00::5 40001",
        "1 Egress fd00::5 fd00::6 40001",
    ];
    expected.sort_unstable();
    let mut told = told;
    told.sort_unstable();
    assert_eq!(told, expected);
}
