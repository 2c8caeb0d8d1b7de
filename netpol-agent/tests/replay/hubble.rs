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
    assert_eq!(records(&[flow]), [expected]);
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
    assert_eq!((summary.read, summary.other, summary.lost), (4, 3, 17));
}

#[test]
fn a_line_that_is_no_flow_is_named() {
    let text = format!("{}not json\n", lines(&[]));
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
