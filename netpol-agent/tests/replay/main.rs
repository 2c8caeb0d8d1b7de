//! Replay: packet captures, Hubble's flows and conntrack dumps become the flows that they show, and whatever is wrong
//! with them is told.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod capture;
mod commands;
mod conntrack;
mod hubble;
mod memory;
mod pcap;

use netpol_agent::replay::ReplayError;
use netpol_common::record::FlowRecord;

/// A record in few words.
fn words(record: &FlowRecord) -> String {
    let time = record.span().map_or(String::new(), |(first, last)| {
        format!(" {}-{}", first.as_second(), last.as_second())
    });
    let FlowRecord {
        client,
        server,
        protocol,
        port,
        outcome,
        count,
        ..
    } = record;
    format!("{client} > {server} {port}/{protocol} {outcome} x{count}{time}")
}

/// The message of an error, in one line.
fn message(error: &ReplayError) -> String {
    error.to_string()
}
