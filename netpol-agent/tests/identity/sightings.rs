//! Sightings and resolutions in a short notation.

use jiff::Timestamp;
use netpol_agent::identity::{Index, Resolution, Sighting};
use netpol_common::record::Endpoint;
use netpol_common::words::{Protocol, View};

/// A moment of the day that all tests play on.
pub(crate) fn at(clock: &str) -> Timestamp {
    format!("2026-01-02T{clock}Z")
        .parse()
        .expect("a word of the notation")
}

/// `client -> server:port[/PROTOCOL] [@ FROM[..TO]] [view]`, e.g. `10.1.0.4 -> 10.96.0.7:80 @ 10:00:00 client`.
pub(crate) fn sighting(text: &str) -> Sighting {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (server, port) = words[2].rsplit_once(':').expect("an address and a port");
    let (port, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
    let span = words
        .iter()
        .position(|word| *word == "@")
        .map(|at| words[at + 1]);
    let view = match words.last() {
        Some(&"client") => Some(View::Client),
        Some(&"server") => Some(View::Server),
        _ => None,
    };
    Sighting {
        client: endpoint(words[0]),
        server: endpoint(server),
        protocol: protocol.parse::<Protocol>().expect("a protocol"),
        port: port.parse().expect("a word of the notation"),
        span: span.map(|span| {
            let (from, to) = span.split_once("..").unwrap_or((span, span));
            (at(from), at(to))
        }),
        view,
    }
}

/// The resolution of a sighting: edges as `client -> server:port/PROTOCOL {marks}`, joined by ` | `, or `? reason`.
pub(crate) fn resolve(index: &Index, text: &str) -> String {
    let edges = match index.resolve(&sighting(text)) {
        Resolution::Unresolved(reason) => return format!("? {reason}"),
        Resolution::Edges(edges) => edges,
    };
    let shown = edges.into_iter().map(|(id, mark)| {
        let mut marks = Vec::new();
        marks.extend(mark.by_service.map(|service| format!("by {service}")));
        marks.extend(mark.own_node.then(|| "own node".to_owned()));
        marks.extend(mark.real_client_unseen.then(|| "client unseen".to_owned()));
        let marks = if marks.is_empty() {
            String::new()
        } else {
            format!(" {{{}}}", marks.join(", "))
        };
        format!(
            "{} -> {}:{}/{}{marks}",
            id.client, id.server, id.port, id.protocol
        )
    });
    shown.collect::<Vec<_>>().join(" | ")
}

/// Asserts a table of sightings and their resolutions; all differences are told at once.
pub(crate) fn assert_table(index: &Index, table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(sighting, expected)| (sighting, expected, resolve(index, sighting)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(sighting, expected, found)| {
            format!("{sighting}\n  expected {expected}\n  found    {found}")
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn endpoint(text: &str) -> Endpoint {
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Endpoint::Ip(address);
    }
    match text.split('/').count() {
        2 => Endpoint::Pod(text.parse().expect("a word of the notation")),
        _ => Endpoint::Workload(text.parse().expect("a word of the notation")),
    }
}
