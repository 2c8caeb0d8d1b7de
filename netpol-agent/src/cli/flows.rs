//! `kubectl-netpol flows`: flow records, resolved and added up.

mod follow;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use netpol_common::names::ObjectName;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::View;
use serde_json::{Value, json};

use super::inputs::{Inputs, Loaded};
use super::output::print;
use crate::graph::Row;
use crate::identity::{Index, Peer};

/// List flows, with both ends resolved and lines of the same flow added up
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// How to print them
    #[arg(
        long,
        short,
        env = "NETPOL_FLOWS_OUTPUT",
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
    /// Go on with the flows that come, one line each, until interrupted; only from a cluster
    #[arg(
        long,
        env = "NETPOL_FOLLOW",
        conflicts_with_all = ["inventory", "flows", "pcap", "hubble", "conntrack"]
    )]
    follow: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// A table
    Table,
    /// Flow records, one line of JSON each
    #[value(alias = "jsonl")]
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.follow {
            return follow::follow(&self.inputs, self.output == Format::Json);
        }
        let loaded = self.inputs.load()?;
        loaded.tell_gaps();
        let text = match self.output {
            Format::Table => table(&loaded),
            Format::Json => lines(&loaded)?,
        };
        print(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(loaded: &Loaded) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "CLIENT",
        "SERVER",
        "PORT",
        "PROTOCOL",
        "OUTCOME",
        "COUNT",
        "FIRST SEEN",
        "LAST SEEN",
        "VIEW",
        "SERVICE",
    ]);
    for row in loaded.graph.rows() {
        table.add_row(cells(&row));
    }
    let lines = table.lines().map(|line| line.trim().to_owned() + "\n");
    lines.collect()
}

fn cells(row: &Row<'_>) -> [String; 10] {
    let services: Vec<_> = row
        .evidence
        .by_service
        .iter()
        .map(ObjectName::to_string)
        .collect();
    let text = |text: &str| text.replace(char::is_control, "\u{fffd}");
    [
        text(&row.id.client.to_string()),
        text(&row.id.server.to_string()),
        row.id.port.to_string(),
        row.id.protocol.to_string(),
        row.outcome.to_string(),
        row.count().to_string(),
        time(row.seen.first_seen),
        time(row.seen.last_seen),
        row.view.map_or("both", View::name).to_owned(),
        text(&services.join(",")),
    ]
}

/// To the second: that is what eyes can use.
fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Flow records that can be read again. An end that is no workload is told by an address of it, and by name besides.
fn lines(loaded: &Loaded) -> anyhow::Result<String> {
    let mut text = String::new();
    for row in loaded.graph.rows() {
        let mut line = serde_json::to_value(record(&row, &loaded.index))?;
        name(&mut line["client"], &row.id.client);
        name(&mut line["server"], &row.id.server);
        text.push_str(&line.to_string());
        text.push('\n');
    }
    Ok(text)
}

fn record(row: &Row<'_>, index: &Index) -> FlowRecord {
    FlowRecord {
        time: row.seen.first_seen,
        client: endpoint(&row.id.client, index),
        server: endpoint(&row.id.server, index),
        protocol: row.id.protocol,
        port: row.id.port,
        outcome: row.outcome,
        count: row.count(),
        last_seen: row.seen.last_seen,
        view: row.view,
        by_service: row.evidence.by_service.first().cloned(),
        observer: None,
        remote_node: None,
    }
}

/// What stands for a peer in a flow record. The unspecified address is nobody's.
fn endpoint(peer: &Peer, index: &Index) -> Endpoint {
    let unspecified = || std::net::Ipv4Addr::UNSPECIFIED.into();
    match peer {
        Peer::Workload(name) => Endpoint::Workload(name.clone()),
        Peer::External(address) => Endpoint::Ip(*address),
        Peer::ApiServer => {
            let addresses = index.api_server_addresses();
            Endpoint::Ip(addresses.first().map_or_else(unspecified, |(ip, _)| *ip))
        }
        Peer::Node(name) => {
            let listed = index.nodes().find(|node| node.name == *name);
            let address = listed.and_then(|node| node.addresses.first().copied());
            let address = address.or_else(|| index.node_addresses(name).first().copied());
            Endpoint::Ip(address.unwrap_or_else(unspecified))
        }
    }
}

/// Adds the name of a peer that is told by an address.
fn name(end: &mut Value, peer: &Peer) {
    match peer {
        Peer::Node(name) => end["node"] = json!(name),
        Peer::ApiServer => end["service"] = json!("default/kubernetes"),
        Peer::Workload(_) | Peer::External(_) => {}
    }
}
