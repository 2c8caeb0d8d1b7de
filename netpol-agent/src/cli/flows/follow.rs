//! Flows as they come.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;

use anyhow::{Context, bail};
use netpol_common::record::FlowRecord;
use netpol_common::words::View;

use super::time;
use crate::cli::inputs::Inputs;
use crate::cli::origin::Origin;
use crate::cli::output::print;

/// The longest line that is read.
const LINE: u64 = 1 << 16;

/// Bytes that are read at once: nothing is to wait for more to come.
const BUFFER: usize = 1 << 12;

/// Prints every flow from now on, until the aggregator ends it or nobody reads.
pub(super) fn follow(inputs: &Inputs, json: bool) -> anyhow::Result<ExitCode> {
    let mut origin = inputs.open()?;
    let namespace = inputs.namespace(&origin);
    let Origin::Cluster(live) = &mut origin else {
        bail!("--follow asks a cluster: leave out --inventory and --flows");
    };
    let mut reader = BufReader::with_capacity(BUFFER, live.follow(namespace.as_deref())?);
    if !json {
        print(HEADER.as_bytes())?;
    }
    let mut line = String::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE).read_line(&mut line)?;
        if read == 0 {
            bail!("the aggregator ended the stream of flows: run the command again to go on");
        }
        if !line.trim().is_empty() {
            tell(line.trim(), json)?;
        }
    }
}

const HEADER: &str =
    "TIME                  OUTCOME      COUNT  PORT        VIEW    CLIENT -> SERVER\n";

fn tell(line: &str, json: bool) -> anyhow::Result<()> {
    let record: FlowRecord =
        serde_json::from_str(line).context("the aggregator sent what is no flow record")?;
    match json {
        true => print(format!("{line}\n").as_bytes()),
        false => print(row(&record).as_bytes()),
    }
}

fn row(record: &FlowRecord) -> String {
    let row = format!(
        "{:20}  {:11}  {:>5}  {:10}  {:6}  {} -> {}",
        time(record.last_seen.or(record.time)),
        record.outcome.name(),
        record.count,
        format!("{}/{}", record.port, record.protocol),
        record.view.map_or("both", View::name),
        record.client,
        record.server
    );
    row.replace(char::is_control, "\u{fffd}") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_under_its_header() {
        let record = r#"{"time":"2026-01-02T03:04:05Z","client":{"workload":"shop/Deployment/web"},
            "server":{"ip":"10.1.0.9"},"protocol":"TCP","port":8080,"outcome":"established","count":12}"#;
        let row = row(&serde_json::from_str(record).unwrap());
        let expected = "2026-01-02T03:04:05Z  established     12  8080/TCP    both    shop/Deployment/web -> 10.1.0.9\n";
        assert_eq!(row, expected);
        for title in ["OUTCOME", "PORT", "VIEW", "CLIENT"] {
            let at = HEADER.find(title).unwrap();
            assert_eq!(row.as_bytes().get(at - 1), Some(&b' '), "{title}");
            assert_ne!(row.as_bytes().get(at), Some(&b' '), "{title}");
        }
    }
}
