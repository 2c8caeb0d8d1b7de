//! Dumps of the connection tracking table.

use netpol_agent::flows::BadLines;
use netpol_agent::replay::{ReplayError, Summary, conntrack};

use crate::{message, words};

fn replay(text: &str, bad: BadLines) -> (Vec<String>, Result<Summary, ReplayError>) {
    let mut records = Vec::new();
    let summary = conntrack::read("x", text.as_bytes(), bad, |record| {
        records.push(words(&record))
    });
    (records, summary)
}

/// One line, and the record that it becomes.
#[test]
fn lines() {
    let established = "tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.96.0.1 sport=40000 dport=80 \
         src=10.0.0.2 dst=10.0.0.1 sport=8080 dport=40000 [ASSURED] mark=0 use=1";
    let kernel = "ipv4     2 tcp      6 100 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 \
         src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1 [ASSURED] mark=0 zone=0 use=2";
    let waiting = "tcp      6 100 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 [UNREPLIED] \
         src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1 mark=0 use=1";
    let refused = "tcp      6 9 CLOSE src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 src=10.0.0.2 \
         dst=10.0.0.1 sport=80 dport=1 mark=0 use=1";
    let closed = "tcp      6 9 CLOSE src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 src=10.0.0.2 \
         dst=10.0.0.1 sport=80 dport=1 [ASSURED] mark=0 use=1";
    let datagrams = "udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=53 src=10.0.0.2 \
         dst=10.0.0.1 sport=53 dport=1 mark=0 use=1";
    let alone = "udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=53 [UNREPLIED] src=10.0.0.2 \
         dst=10.0.0.1 sport=53 dport=1 mark=0 use=1";
    let six = "ipv6     10 tcp      6 9 ESTABLISHED src=2001:db8::1 dst=2001:db8::2 sport=1 dport=80 \
         src=2001:db8::2 dst=2001:db8::1 sport=80 dport=1 [ASSURED] mark=0 use=1";
    let offloaded = "tcp      6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 src=10.0.0.2 dst=10.0.0.1 sport=80 \
         dport=1 [OFFLOAD] mark=0 use=2";
    let event = "    [NEW] tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 \
         dport=80 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1";
    let cases = [
        (established, "10.0.0.1 > 10.0.0.2 8080/TCP established x1"),
        (kernel, "10.0.0.1 > 10.0.0.2 80/TCP established x1"),
        (waiting, "10.0.0.1 > 10.0.0.2 80/TCP unanswered x1"),
        (refused, "10.0.0.1 > 10.0.0.2 80/TCP refused x1"),
        (closed, "10.0.0.1 > 10.0.0.2 80/TCP established x1"),
        (datagrams, "10.0.0.1 > 10.0.0.2 53/UDP established x1"),
        (alone, "10.0.0.1 > 10.0.0.2 53/UDP one-way x1"),
        (six, "2001:db8::1 > 2001:db8::2 80/TCP established x1"),
        (offloaded, "10.0.0.1 > 10.0.0.2 80/TCP established x1"),
        (event, "10.0.0.1 > 10.0.0.2 80/TCP unanswered x1"),
    ];
    for (line, expected) in cases {
        let (records, summary) = replay(line, BadLines::Fail);
        summary.unwrap();
        assert_eq!(records, [expected], "{line}");
    }
}

/// Microseconds are a number that is filled up with blanks behind it, within the brackets.
#[test]
fn the_time_of_an_event_is_read_as_it_is_printed() {
    let entry = "    [NEW] udp      17 30 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=53 [UNREPLIED] src=10.0.0.2 \
         dst=10.0.0.1 sport=53 dport=1";
    let time = |begin: &str| {
        let mut time = None;
        let line = format!("{begin}{entry}");
        conntrack::read("x", line.as_bytes(), BadLines::Fail, |record| {
            time = record.time;
        })
        .unwrap();
        time.map(|time| time.to_string())
    };
    let cases = [
        ("[1700000000.123456]\t", Some("2023-11-14T22:13:20.123456Z")),
        ("[1700000000.5     ]\t", Some("2023-11-14T22:13:20.000005Z")),
        ("[1700000000.99999 ]\t", Some("2023-11-14T22:13:20.099999Z")),
        ("[0       .0     ]\t", Some("1970-01-01T00:00:00Z")),
        ("", None),
        ("[1700000000.9999999]\t", None),
    ];
    for (begin, expected) in cases {
        assert_eq!(time(begin).as_deref(), expected, "{begin}");
    }
}

/// An event of the connection from a port of 10.0.0.1 to port 80 of 10.0.0.2.
fn event(second: u32, kind: &str, port: u16, state: &str, flags: [&str; 2]) -> String {
    let [before, after] = flags;
    format!(
        "[17000000{second:02}.5     ]\t{kind:>9} tcp      6 {state} src=10.0.0.1 dst=10.0.0.2 sport={port} dport=80 \
         {before} src=10.0.0.2 dst=10.0.0.1 sport=80 dport={port} {after}\n"
    )
}

/// The events of connections from different ports, and what all of them become.
#[test]
fn events_of_one_connection_count_once() {
    const UNREPLIED: [&str; 2] = ["[UNREPLIED]", ""];
    const REPLIED: [&str; 2] = ["", ""];
    const ASSURED: [&str; 2] = ["", "[ASSURED]"];
    let new = |second, port| event(second, "[NEW]", port, "120 SYN_SENT", UNREPLIED);
    let update =
        |second, port, state, flags| event(second, "[UPDATE]", port, &format!("60 {state}"), flags);
    let destroy = |second, port, flags| event(second, "[DESTROY]", port, "", flags);
    let answered = |port| {
        [
            new(1, port),
            update(1, port, "SYN_RECV", REPLIED),
            update(1, port, "ESTABLISHED", ASSURED),
            update(5, port, "FIN_WAIT", ASSURED),
            update(5, port, "TIME_WAIT", ASSURED),
        ]
        .concat()
    };
    let became = |outcome: &str, count: u32, span: &str| {
        format!("10.0.0.1 > 10.0.0.2 80/TCP {outcome} x{count} {span}")
    };
    let of_second = |outcome, second| {
        became(
            outcome,
            1,
            &format!("17000000{second:02}-17000000{second:02}"),
        )
    };
    let cases = [
        (answered(1), vec![of_second("established", 1)]),
        (
            answered(1) + &destroy(9, 1, ASSURED),
            vec![of_second("established", 1)],
        ),
        // The port is used again, with the end of the former connection told, or lost.
        (
            answered(1) + &destroy(9, 1, ASSURED) + &answered(1),
            vec![became("established", 2, "1700000001-1700000001")],
        ),
        (
            answered(1) + &answered(1),
            vec![became("established", 2, "1700000001-1700000001")],
        ),
        (new(1, 1), vec![of_second("unanswered", 1)]),
        (
            new(1, 1) + &destroy(9, 1, UNREPLIED),
            vec![of_second("unanswered", 1)],
        ),
        (
            new(1, 1) + &update(2, 1, "CLOSE", REPLIED) + &destroy(9, 1, REPLIED),
            vec![of_second("refused", 1)],
        ),
        // What is told of the end alone.
        (destroy(9, 1, ASSURED), vec![of_second("established", 9)]),
        (destroy(9, 1, REPLIED), vec![of_second("unknown", 9)]),
        (
            update(3, 1, "ESTABLISHED", ASSURED),
            vec![of_second("established", 3)],
        ),
        (
            answered(1) + &new(2, 2) + &destroy(9, 1, ASSURED),
            vec![of_second("established", 1), of_second("unanswered", 2)],
        ),
    ];
    for (text, expected) in cases {
        let (records, summary) = replay(&text, BadLines::Fail);
        summary.unwrap();
        assert_eq!(records, expected, "{text}");
    }
}

#[test]
fn events_of_datagrams_count_once() {
    let entry = "src=10.0.0.1 dst=10.0.0.2 sport=1 dport=53";
    let reply = "src=10.0.0.2 dst=10.0.0.1 sport=53 dport=1";
    let new = format!("    [NEW] udp      17 30 {entry} [UNREPLIED] {reply}\n");
    let alone = format!("[DESTROY] udp      17 {entry} [UNREPLIED] {reply}\n");
    let update = format!(" [UPDATE] udp      17 30 {entry} {reply}\n");
    let end = format!("[DESTROY] udp      17 {entry} {reply}\n");
    let cases = [
        (new.clone() + &update + &end, "established"),
        (new.clone() + &alone, "one-way"),
        (new, "one-way"),
        (end, "established"),
    ];
    for (text, outcome) in cases {
        let (records, _) = replay(&text, BadLines::Fail);
        let expected = format!("10.0.0.1 > 10.0.0.2 53/UDP {outcome} x1");
        assert_eq!(records, [expected], "{text}");
    }
}

#[test]
fn other_protocols_are_counted() {
    let ping = "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=1 src=10.0.0.2 dst=10.0.0.1 \
                type=0 code=0 id=1 mark=0 use=1\n";
    let (records, summary) = replay(ping, BadLines::Fail);
    assert_eq!(records, [""; 0]);
    assert_eq!(summary.unwrap().other, 1);
}

#[test]
fn a_line_that_is_no_entry_is_named() {
    let text = "\nhello\nudp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=x\n";
    let (_, summary) = replay(text, BadLines::Fail);
    let error = message(&summary.unwrap_err());
    assert_eq!(
        error,
        "x, line 2: not an entry of conntrack: there is no src="
    );
    let (_, summary) = replay(text, BadLines::Skip);
    let summary = summary.unwrap();
    assert_eq!(summary.skipped, 2);
    let (_, summary) = replay("udp src=10.0.0.1 dst=10.0.0.2 dport=x", BadLines::Fail);
    assert_eq!(
        message(&summary.unwrap_err()),
        "x, line 1: dport=x cannot be read"
    );
}
