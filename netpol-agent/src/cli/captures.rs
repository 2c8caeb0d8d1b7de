//! What other tools captured, as flows.

use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use netpol_common::record::FlowRecord;

use super::inputs::open;
use super::output::warn;
use crate::flows::BadLines;
use crate::identity::Index;
use crate::replay::{Summary, conntrack, hubble, pcap};

/// Captures of other tools, besides or instead of flow records.
#[derive(Args, Clone, Debug)]
pub struct Captures {
    /// A packet capture, pcap or pcapng: a file, or - for stdin; may be repeated
    #[arg(long, env = "NETPOL_PCAP", value_name = "PATH")]
    pub pcap: Vec<PathBuf>,
    /// Flows that Hubble exported as JSON: a file, or - for stdin; may be repeated
    #[arg(long, env = "NETPOL_HUBBLE", value_name = "PATH")]
    pub hubble: Vec<PathBuf>,
    /// A dump of the connection tracking table, as conntrack -L prints it, or its events, as conntrack -E prints them: a
    /// file, or - for stdin; may be repeated
    #[arg(long, env = "NETPOL_CONNTRACK", value_name = "PATH")]
    pub conntrack: Vec<PathBuf>,
}

impl Captures {
    /// Every path that is read.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.pcap.iter().chain(&self.hubble).chain(&self.conntrack)
    }

    /// Reads all of them and hands on their flows, with the input and the number of the record in it.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read; the message names the file and the packet or line.
    pub fn each(
        &self,
        bad: BadLines,
        index: &Index,
        mut each: impl FnMut(&Index, (&str, u64), &FlowRecord),
    ) -> anyhow::Result<()> {
        for path in &self.pcap {
            let (name, reader) = open("capture", path)?;
            let summary = pcap::read(&name, reader, bad, numbered(&name, index, &mut each))?;
            tell(&name, "packets", &summary);
        }
        for path in &self.hubble {
            let (name, reader) = open("Hubble's flows", path)?;
            let reader = BufReader::new(reader);
            let knows = |pod: &_| index.pod(pod).is_some();
            let each = numbered(&name, index, &mut each);
            let summary = hubble::read(&name, reader, bad, knows, each)?;
            tell(&name, "flows", &summary);
        }
        for path in &self.conntrack {
            let (name, reader) = open("conntrack dump", path)?;
            let reader = BufReader::new(reader);
            let summary = conntrack::read(&name, reader, bad, numbered(&name, index, &mut each))?;
            tell(&name, "entries", &summary);
        }
        Ok(())
    }
}

/// Counts the records of an input.
fn numbered<'a>(
    name: &'a str,
    index: &'a Index,
    each: &'a mut impl FnMut(&Index, (&str, u64), &FlowRecord),
) -> impl FnMut(FlowRecord) + 'a {
    let mut number = 0;
    move |record| {
        number += 1;
        each(index, (name, number), &record);
    }
}

/// Prints to stderr what of a capture made no edge.
fn tell(name: &str, unit: &str, summary: &Summary) {
    let Summary {
        read,
        other,
        aside,
        unread,
        older,
        lost,
        skipped,
        first_skipped,
    } = summary;
    if let Some((number, problem)) = first_skipped {
        let more = skipped - 1;
        warn(format_args!(
            "{name}: skipped number {number} and {more} more: {problem}"
        ));
    }
    if *other > 0 {
        warn(format_args!(
            "{name}: {other} of {read} {unit} are no TCP, UDP or SCTP between two hosts, or show no ports"
        ));
    }
    if *aside > 0 {
        warn(format_args!(
            "{name}: {aside} of {read} {unit} are about no attempt (seen at a socket, a reply that was dropped, or a notice); \
             they make no edge"
        ));
    }
    let of_other_links: u64 = unread.values().sum();
    if of_other_links > 0 {
        warn(format_args!(
            "{name}: {of_other_links} of {read} {unit} are of link type {}, which is not read",
            summary.unread_links()
        ));
    }
    if *older > 0 {
        warn(format_args!(
            "{name}: {older} conversations began before it, so that their client cannot be told; they make no edge"
        ));
    }
    if *lost > 0 {
        warn(format_args!(
            "{name}: {lost} flows were lost before they were written; what was learned is incomplete"
        ));
    }
}
