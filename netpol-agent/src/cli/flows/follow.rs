//! Flows as they come.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use netpol_common::record::FlowRecord;
use netpol_common::words::View;

use super::time;
use crate::cli::inputs::Inputs;
use crate::cli::origin::{Live, Origin};
use crate::cli::output::print;
use crate::cluster::ClusterError;
use crate::flows::Joined;

/// The longest line that is read.
const LINE: u64 = 1 << 16;

/// Bytes that are read at once: nothing is to wait for more to come.
const BUFFER: usize = 1 << 12;

/// Pauses before the next attempts to reach the aggregator again: about a minute.
const PAUSES: [u64; 8] = [0, 1, 2, 4, 8, 15, 15, 15];

/// A stream that ends sooner has hardly begun.
const SHORT: Duration = Duration::from_secs(5);

/// Prints every flow from now on, until nobody reads.
///
/// The aggregator ends a stream when its token does, or when it restarts: then the next one goes on where it ended.
pub(super) fn follow(inputs: &Inputs, json: bool) -> anyhow::Result<ExitCode> {
    let mut origin = inputs.open()?;
    let namespace = inputs.namespace(&origin);
    let Origin::Cluster(live) = &mut origin else {
        bail!("--follow asks a cluster: leave out --inventory and --flows");
    };
    if !json {
        print(HEADER.as_bytes())?;
    }
    let mut joined = Joined::default();
    let (mut failed, mut short) = (0, 0);
    let mut last = None;
    loop {
        let again = failed > 0 || last.is_some();
        let pause = match stream(live, namespace.as_deref(), again, |line| {
            tell(line, &mut joined, json)
        }) {
            Ok((ended, lasted)) => {
                failed = 0;
                short = if lasted < SHORT { short + 1 } else { 0 };
                let Some(pause) = PAUSES.get(short) else {
                    bail!("the aggregator ends every stream of flows at once: {ended}");
                };
                joined.next_stream()?;
                last = Some(ended);
                pause
            }
            Err(error) if !may_pass(&error) => return Err(error),
            Err(error) => match (PAUSES.get(failed), &last) {
                (Some(pause), _) => {
                    failed += 1;
                    pause
                }
                (None, None) => return Err(error),
                (None, Some(ended)) => {
                    let why = format!(
                        "the stream of flows ended ({ended}), and there is no way to go on"
                    );
                    return Err(error.context(why));
                }
            },
        };
        live.session.sleep(Duration::from_secs(*pause));
    }
}

/// Whether what failed may pass by itself.
fn may_pass(error: &anyhow::Error) -> bool {
    let of_cluster: Option<&ClusterError> = error.downcast_ref();
    of_cluster.is_some_and(ClusterError::may_pass)
}

/// Hands on every line of one stream, over a new connection with a new token if it is not the first attempt. Returns why
/// it ended, and how long it lasted.
fn stream(
    live: &mut Live,
    namespace: Option<&str>,
    again: bool,
    each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<(String, Duration)> {
    if again {
        live.reopen()?;
    }
    let begin = Instant::now();
    let ended = each_line(live.follow(namespace)?, each)?;
    Ok((ended, begin.elapsed()))
}

/// Hands on every line of a stream, and returns why it ended.
fn each_line(
    stream: impl Read,
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE).read_line(&mut line) {
            Ok(0) => return Ok("it was ended".to_owned()),
            Ok(_) => {}
            Err(error) => return Ok(error.to_string()),
        }
        // The stream may have broken within a line; what is too long is no record.
        if !line.ends_with('\n') && line.len() < usize::try_from(LINE)? {
            return Ok("it broke off".to_owned());
        }
        if !line.trim().is_empty() {
            each(line.trim())?;
        }
    }
}

const HEADER: &str =
    "TIME                  OUTCOME      COUNT  PORT        VIEW    CLIENT -> SERVER\n";

fn tell(line: &str, joined: &mut Joined, json: bool) -> anyhow::Result<()> {
    let record: FlowRecord =
        serde_json::from_str(line).context("the aggregator sent what is no flow record")?;
    let Some(news) = joined.news(record)? else {
        return Ok(());
    };
    match json {
        true => print(
            format!(
                "{}
",
                serde_json::to_string(&news)?
            )
            .as_bytes(),
        ),
        false => print(row(&news).as_bytes()),
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
