//! Flows of Hubble.

use netpol_agent::flows::BadLines;
use netpol_agent::replay::{ReplayError, Summary, hubble};
use serde_json::{Value, json};

use crate::{message, words};

fn replay(text: &str, bad: BadLines) -> (Vec<String>, Result<Summary, ReplayError>) {
    let mut records = Vec::new();
    let known = |pod: &netpol_common::names::ObjectName| pod.name == "known-1";
    let each = |record: _| records.push(words(&record));
    let summary = hubble::read("x", text.as_bytes(), bad, known, each);
    (records, summary)
}

/// A flow from 10.0.0.1 to 10.0.0.2.
fn flow(l4: Value, is_reply: Option<bool>, verdict: &str) -> Value {
    let (source, destination) = match is_reply {
        Some(true) => ("10.0.0.2", "10.0.0.1"),
        _ => ("10.0.0.1", "10.0.0.2"),
    };
    json!({
        "time": "2026-01-02T03:04:05.678901234Z", "verdict": verdict, "Type": "L3_L4",
        "IP": {"source": source, "destination": destination, "ipVersion": "IPv4"},
        "l4": l4, "is_reply": is_reply, "node_name": "one",
        "source": {"identity": 1, "labels": ["reserved:world"]}, "destination": {"ID": 7},
    })
}

fn segment(flags: Value, reply: bool) -> Value {
    let (source, destination) = if reply { (80, 40_000) } else { (40_000, 80) };
    json!({"TCP": {"source_port": source, "destination_port": destination, "flags": flags}})
}

fn lines(flows: &[Value]) -> String {
    let enveloped = |flow: &Value| json!({"flow": flow, "node_name": "one", "time": flow["time"]});
    flows
        .iter()
        .map(|flow| format!("{}\n", enveloped(flow)))
        .collect()
}

fn records(flows: &[Value]) -> Vec<String> {
    let (records, summary) = replay(&lines(flows), BadLines::Fail);
    summary.unwrap();
    records
}

#[test]
fn a_connection_seen_at_several_points_is_one() {
    let syn = flow(
        segment(json!({"SYN": true}), false),
        Some(false),
        "FORWARDED",
    );
    let accept = flow(
        segment(json!({"SYN": true, "ACK": true}), true),
        Some(true),
        "FORWARDED",
    );
    let ack = flow(
        segment(json!({"ACK": true}), false),
        Some(false),
        "FORWARDED",
    );
    let fin = flow(
        segment(json!({"ACK": true, "FIN": true}), true),
        Some(true),
        "FORWARDED",
    );
    let flows = [&syn, &syn, &accept, &accept, &ack, &fin].map(Clone::clone);
    let expected = "10.0.0.1 > 10.0.0.2 80/TCP established x1 1767323045-1767323045";
    assert_eq!(records(&flows), [expected]);
    // Whatever is seen first, the direction is told.
    assert_eq!(records(&[fin]), [expected]);
}

#[test]
fn what_was_not_let_through_is_refused() {
    let syn = || segment(json!({"SYN": true}), false);
    let outcomes = [
        ("DROPPED", "refused"),
        ("ERROR", "refused"),
        ("FORWARDED", "unanswered"),
    ];
    for (verdict, outcome) in outcomes {
        let expected = format!("10.0.0.1 > 10.0.0.2 80/TCP {outcome} x1 1767323045-1767323045");
        assert_eq!(records(&[flow(syn(), Some(false), verdict)]), [expected]);
    }
    let datagram = json!({"UDP": {"source_port": 40_000, "destination_port": 53}});
    let dropped = flow(datagram, Some(false), "DROPPED");
    let expected = "10.0.0.1 > 10.0.0.2 53/UDP refused x1 1767323045-1767323045";
    assert_eq!(records(&[dropped]), [expected]);
    let refusal = flow(
        segment(json!({"RST": true, "ACK": true}), true),
        Some(true),
        "FORWARDED",
    );
    let expected = "10.0.0.1 > 10.0.0.2 80/TCP refused x1 1767323045-1767323045";
    assert_eq!(
        records(&[flow(syn(), Some(false), "FORWARDED"), refusal]),
        [expected]
    );
}

#[test]
fn a_reply_alone_tells_of_its_edge() {
    let reply = json!({"UDP": {"source_port": 53, "destination_port": 40_000}});
    let expected = "10.0.0.1 > 10.0.0.2 53/UDP established x1 1767323045-1767323045";
    assert_eq!(records(&[flow(reply, Some(true), "FORWARDED")]), [expected]);
}

#[test]
fn ends_are_pods_that_the_inventory_has_else_workloads_else_addresses() {
    let mut flow = flow(
        segment(json!({"SYN": true}), false),
        Some(false),
        "FORWARDED",
    );
    flow["source"] = json!({"namespace": "shop", "pod_name": "known-1"});
    let workloads = json!([{"name": "db", "kind": "StatefulSet"}]);
    flow["destination"] =
        json!({"namespace": "shop", "pod_name": "gone-1", "workloads": workloads});
    let expected = "shop/known-1 > shop/StatefulSet/db 80/TCP unanswered x1 1767323045-1767323045";
    assert_eq!(records(&[flow.clone()]), [expected]);
    // Its address may be anybody's by now, or nobody's.
    for workloads in [Value::Null, json!([]), json!([{"name": "db"}])] {
        flow["destination"] = json!({"namespace": "shop", "pod_name": "gone-1"});
        if !workloads.is_null() {
            flow["destination"]["workloads"] = workloads;
        }
        let expected = "shop/known-1 > shop/gone-1 80/TCP unanswered x1 1767323045-1767323045";
        assert_eq!(records(&[flow.clone()]), [expected]);
    }
}

/// Hubble tells no chunks of SCTP, and of TCP an export may leave the flags out.
#[test]
fn without_flags_only_a_reply_tells_that_the_server_answered() {
    let ports = |reply| match reply {
        true => json!({"source_port": 80, "destination_port": 40_000}),
        false => json!({"source_port": 40_000, "destination_port": 80}),
    };
    for protocol in ["SCTP", "TCP"] {
        let passing = |is_reply| {
            let reply = is_reply == Some(true);
            flow(json!({protocol: ports(reply)}), is_reply, "FORWARDED")
        };
        let (request, reply) = (passing(Some(false)), passing(Some(true)));
        let dropped = flow(json!({protocol: ports(false)}), None, "DROPPED");
        // Of a sender that is not told, seen from the other end.
        let back = json!({protocol: ports(true)});
        let mut back = flow(back, None, "FORWARDED");
        back["IP"] = reply["IP"].clone();
        let cases = [
            (vec![&request], "unknown"),
            (vec![&request, &request], "unknown"),
            (vec![&request, &reply, &request], "established"),
            (vec![&reply], "established"),
            (vec![&request, &back], "established"),
            (vec![&dropped], "refused"),
        ];
        for (flows, outcome) in cases {
            let flows: Vec<Value> = flows.into_iter().cloned().collect();
            let expected =
                format!("10.0.0.1 > 10.0.0.2 80/{protocol} {outcome} x1 1767323045-1767323045");
            assert_eq!(records(&flows), [expected], "{flows:?}");
        }
    }
}

/// What is no attempt of its own makes no edge, and is counted apart from what is of another protocol.
#[test]
fn what_is_told_besides_attempts_makes_no_edge() {
    let segment = |flags, reply| segment(flags, reply);
    let (syn, accept) = (json!({"SYN": true}), json!({"SYN": true, "ACK": true}));
    let at_socket = |verdict: &str, kind: &str| {
        let mut flow = flow(segment(syn.clone(), false), None, verdict);
        flow["Type"] = json!(kind);
        flow["l4"]["TCP"]["source_port"] = json!(0);
        flow
    };
    let backwards = |l4, verdict: &str| {
        let mut flow = flow(l4, None, verdict);
        flow["IP"] = json!({"source": "10.0.0.2", "destination": "10.0.0.1"});
        flow
    };
    let cases = [
        at_socket("TRACED", "SOCK"),
        at_socket("TRANSLATED", "SOCK"),
        at_socket("TRACED", "UNKNOWN_TYPE"),
        // Of what is dropped Hubble does not tell whether it is a reply.
        flow(segment(accept.clone(), true), Some(true), "DROPPED"),
        backwards(segment(accept.clone(), true), "DROPPED"),
        backwards(segment(json!({"RST": true}), true), "DROPPED"),
        backwards(segment(json!({"ACK": true}), true), "ERROR"),
        json!({"node_status": {"state_change": "NODE_CONNECTED"}}),
    ];
    for case in cases {
        let text = match case.get("node_status") {
            Some(_) => case.to_string(),
            None => lines(std::slice::from_ref(&case)),
        };
        let (records, summary) = replay(&text, BadLines::Fail);
        let summary = summary.unwrap();
        assert_eq!(records, [""; 0], "{case}");
        assert_eq!(
            (summary.read, summary.other, summary.aside),
            (1, 0, 1),
            "{case}"
        );
    }
    // A datagram that is dropped is a reply if it goes back on an exchange that is known.
    let datagram = |from, to| json!({"UDP": {"source_port": from, "destination_port": to}});
    let request = flow(datagram(40_000, 53), Some(false), "FORWARDED");
    let reply = backwards(datagram(53, 40_000), "DROPPED");
    let (records, summary) = replay(&lines(&[request, reply]), BadLines::Fail);
    let expected = "10.0.0.1 > 10.0.0.2 53/UDP one-way x1 1767323045-1767323045";
    assert_eq!(records, [expected]);
    assert_eq!(summary.unwrap().aside, 1);
}

/// A policy that is only audited lets everything pass, and so does one that hands on to a proxy.
#[test]
fn what_is_audited_or_redirected_got_through() {
    for verdict in ["FORWARDED", "AUDIT", "REDIRECTED", "VERDICT_UNKNOWN"] {
        let syn = flow(segment(json!({"SYN": true}), false), Some(false), verdict);
        let accept = json!({"SYN": true, "ACK": true});
        let accept = flow(segment(accept, true), Some(true), verdict);
        let expected = |outcome: &str| {
            format!("10.0.0.1 > 10.0.0.2 80/TCP {outcome} x1 1767323045-1767323045")
        };
        assert_eq!(
            records(std::slice::from_ref(&syn)),
            [expected("unanswered")],
            "{verdict}"
        );
        assert_eq!(
            records(&[syn, accept]),
            [expected("established")],
            "{verdict}"
        );
    }
}

/// Requests and answers as a proxy tells of them, without flags.
#[test]
fn what_a_proxy_saw_was_answered_unless_it_denied_it() {
    let of_proxy = |l4: Value, is_reply: bool, verdict: &str| {
        let mut flow = flow(l4, Some(is_reply), verdict);
        flow["Type"] = json!("L7");
        flow["l7"] = json!({"type": "REQUEST", "http": {"method": "GET", "url": "http://api/"}});
        flow
    };
    let http = |from, to| json!({"TCP": {"source_port": from, "destination_port": to}});
    let dns = |from, to| json!({"UDP": {"source_port": from, "destination_port": to}});
    let cases = [
        (
            vec![of_proxy(http(40_000, 80), false, "FORWARDED")],
            "80/TCP established",
        ),
        (
            vec![of_proxy(http(80, 40_000), true, "FORWARDED")],
            "80/TCP established",
        ),
        (
            vec![of_proxy(http(40_000, 80), false, "DROPPED")],
            "80/TCP refused",
        ),
        (
            vec![of_proxy(dns(40_000, 53), false, "FORWARDED")],
            "53/UDP one-way",
        ),
        (
            vec![
                of_proxy(dns(40_000, 53), false, "FORWARDED"),
                of_proxy(dns(53, 40_000), true, "FORWARDED"),
            ],
            "53/UDP established",
        ),
    ];
    for (flows, expected) in cases {
        let expected = format!("10.0.0.1 > 10.0.0.2 {expected} x1 1767323045-1767323045");
        assert_eq!(records(&flows), [expected], "{flows:?}");
    }
}

#[test]
fn bare_flows_losses_and_other_lines() {
    let bare = flow(
        segment(json!({"SYN": true}), false),
        Some(false),
        "FORWARDED",
    );
    let ping = flow(json!({"ICMPv4": {"type": 8}}), Some(false), "FORWARDED");
    let lost = json!({"lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "17"}});
    let status = json!({"node_status": {"state_change": "NODE_CONNECTED"}});
    let text = format!("{bare}\n{ping}\n{lost}\n{status}\n");
    let (records, summary) = replay(&text, BadLines::Fail);
    assert_eq!(records.len(), 1);
    let summary = summary.unwrap();
    assert_eq!((summary.read, summary.other, summary.aside), (4, 1, 1));
    assert_eq!(summary.lost, 17);
}

#[test]
fn a_line_that_is_no_flow_is_named() {
    // A flow record of ours is an object too.
    let ours = json!({"time": "2026-01-02T03:04:05Z", "client": {"ip": "10.1.0.4"}, "server": {"ip": "10.1.0.9"},
        "protocol": "TCP", "port": 8080, "outcome": "established"});
    for line in ["not json".to_owned(), "{}".to_owned(), ours.to_string()] {
        let text = format!("{}{line}\n", lines(&[]));
        let (_, summary) = replay(&text, BadLines::Fail);
        let error = message(&summary.unwrap_err());
        assert!(
            error.starts_with("x, line 1: no flow of Hubble: "),
            "{error}"
        );
        assert!(!error.contains('\n'));
        let (_, summary) = replay(&text, BadLines::Skip);
        assert_eq!(summary.unwrap().skipped, 1);
    }
}
