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
    let event = "[1700000000.5\t]\t    [NEW] tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 \
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
        (
            &event.replace("\t]", "]"),
            "10.0.0.1 > 10.0.0.2 80/TCP unanswered x1 1700000000-1700000000",
        ),
    ];
    for (line, expected) in cases {
        let (records, summary) = replay(line, BadLines::Fail);
        summary.unwrap();
        assert_eq!(records, [expected], "{line}");
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
