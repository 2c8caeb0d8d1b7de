//! `kubectl-netpol status`: how long learning must still go on, workload by workload.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use serde_json::{Value, json};

use super::inputs::Inputs;
use super::live_status;
use super::options::rejected;
use super::output::print;
use crate::policy::OneWay;
use crate::policy::coverage::complete::{self, Completeness, Requirements};
use crate::policy::coverage::{self, Coverage, Estimate, Numbers, Sight, bootstrap};

/// Tell how netpol is, how much of each workload's traffic is known, and what is missing before it is complete
///
/// From files, the estimates are made here, as --window, --min-coverage, --complete-hours and --one-way say; in a cluster,
/// the controller has made them.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// How to print it
    #[arg(
        long,
        short,
        env = "NETPOL_STATUS_OUTPUT",
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
    /// Hours of a window, in which an edge is either seen or not
    #[arg(
        long,
        env = "NETPOL_WINDOW",
        default_value = "1",
        value_name = "HOURS",
        value_parser = hours
    )]
    window: u32,
    /// The least coverage of a complete workload, from 0 to 1
    #[arg(
        long,
        env = "NETPOL_MIN_COVERAGE",
        default_value = "0.95",
        value_name = "SHARE"
    )]
    min_coverage: f64,
    /// For how many hours a complete workload was watched
    #[arg(
        long,
        env = "NETPOL_COMPLETE_HOURS",
        default_value = "24",
        value_name = "HOURS"
    )]
    complete_hours: u32,
    /// When UDP that is never replied to counts as an edge
    #[arg(
        long,
        env = "NETPOL_ONE_WAY",
        value_enum,
        default_value_t,
        value_name = "WHEN"
    )]
    one_way: OneWay,
    /// An edge that is not to be allowed although it was seen, as for `generate`: it counts as none; or a file with a
    /// line for each; may be repeated
    #[arg(
        long,
        env = "NETPOL_REJECT",
        value_name = "EDGE|FILE",
        value_delimiter = ';'
    )]
    reject: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table, with what it means below
    Table,
    /// One JSON document
    Json,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if !(0.0..=1.0).contains(&self.min_coverage) {
            bail!(
                "--min-coverage {} is not between 0 and 1",
                self.min_coverage
            );
        }
        let reject = rejected(&self.reject)?;
        if self.inputs.is_cluster() {
            let as_json = matches!(self.output, Format::Json);
            let flags = &self.inputs.objects.cluster;
            return live_status::run(flags, &self.inputs.namespaces, as_json);
        }
        let loaded = self.inputs.load()?;
        let options = coverage::Options {
            hours: self.window,
            one_way: self.one_way,
            reject,
            ..coverage::Options::default()
        };
        let requirements = Requirements {
            hours: self.complete_hours,
            coverage: self.min_coverage,
        };
        let graph = &loaded.graph;
        let coverage = coverage::coverage(graph, &loaded.index.lives(), &options);
        let peer = |end: &_, span| loaded.index.peer_at_end(end, span);
        let complete = complete::completeness(graph, &coverage, &requirements, &peer);
        let report = Report {
            hours: self.window,
            recorded: graph.recorded,
            coverage,
            complete,
        };
        let text = match self.output {
            Format::Table => report.table(),
            Format::Json => format!("{:#}\n", report.json()),
        };
        print(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What is printed.
struct Report {
    hours: u32,
    recorded: Option<(Timestamp, Timestamp)>,
    coverage: BTreeMap<WorkloadName, Coverage>,
    complete: BTreeMap<WorkloadName, Completeness>,
}

impl Report {
    fn rows(&self) -> impl Iterator<Item = (&WorkloadName, &Coverage, &Completeness)> {
        let rows = self.coverage.iter();
        rows.filter_map(|(name, coverage)| Some((name, coverage, self.complete.get(name)?)))
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "WORKLOAD", "WINDOWS", "EDGES", "COVERAGE", "UNSEEN", "START", "RESTART", "DAY",
            "CRONJOB", "COMPLETE", "WHY NOT",
        ]);
        for (name, coverage, complete) in self.rows() {
            table.add_row(cells(name, coverage, complete));
        }
        let lines = table.lines().map(|line| line.trim().to_owned() + "\n");
        let mut text: String = lines.collect();
        for note in self.notes() {
            text.push_str(&format!("\n{note}\n"));
        }
        text
    }

    fn json(&self) -> Value {
        let workloads: Vec<Value> = self
            .rows()
            .map(|(name, coverage, complete)| workload(name, coverage, complete))
            .collect();
        let (from, to) = self.recorded.unzip();
        json!({
            "from": from,
            "to": to,
            "window_hours": self.hours,
            "interval_level": bootstrap::LEVEL,
            "notes": self.notes(),
            "workloads": workloads,
        })
    }

    /// What the figures mean and do not mean.
    fn notes(&self) -> [String; 4] {
        let watched = match self.recorded {
            Some((from, to)) => format!(
                "Watched: read from files, so every window of {} h from the first record ({}) to the last ({}) counts \
                 as watched, for a workload from its first sign of life on; a record marks the windows of its time and \
                 last_seen.",
                self.hours,
                second(from),
                second(to)
            ),
            None => {
                "Watched: no record tells a time, so there is no window and no estimate.".to_owned()
            }
        };
        let coverage = format!(
            "Coverage: the estimated share of what occurs, window by window, that belongs to edges which were seen; from \
             {} windows on, in brackets from {} days on with limits that hold in at least {:.0} % of the cases if days \
             are alike. All external peers of a port count as one edge.",
            coverage::FEWEST_WINDOWS,
            coverage::INTERVAL_DAYS,
            bootstrap::LEVEL * 100.0
        );
        let unseen = "Unseen: how many edges are still to come, by Chao2, which is a lower bound, about edges of the kind \
                      that already occur; in brackets a bound that holds as often. What waits for a deploy, a failover \
                      or the end of a month is in neither estimate."
            .to_owned();
        let complete = "Complete: \"unknown\" where nothing speaks against it; files do not tell whether a working agent \
                        watched every pod all the time and lost nothing. A pod that was gone before the inventory was \
                        taken is known by its traffic only."
            .to_owned();
        [watched, coverage, unseen, complete]
    }
}

fn cells(name: &WorkloadName, coverage: &Coverage, complete: &Completeness) -> [String; 11] {
    let numbers = coverage.all.numbers;
    let seen = coverage.seen;
    let word = |sight: Sight| sight.word().to_owned();
    [
        name.to_string().replace(char::is_control, "\u{fffd}"),
        coverage.watched.windows.to_string(),
        coverage.all.edges.to_string(),
        numbers.map_or("-".to_owned(), |numbers| numbers.to_string()),
        numbers.map_or("-".to_owned(), |numbers| numbers.unseen_text()),
        word(seen.start),
        word(seen.restart),
        word(seen.full_day),
        word(seen.cronjob_run),
        complete.verdict().word().to_owned(),
        why_not(complete),
    ]
}

fn why_not(complete: &Completeness) -> String {
    let reasons = complete.reasons.iter().map(ToString::to_string);
    reasons.collect::<Vec<_>>().join("; ")
}

fn workload(name: &WorkloadName, coverage: &Coverage, complete: &Completeness) -> Value {
    let texts = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>();
    let seen = coverage.seen;
    json!({
        "workload": name.to_string(),
        "windows": coverage.watched.windows,
        "days": coverage.watched.days,
        "from": coverage.watched.span.map(|(from, _)| from),
        "all": estimate(&coverage.all),
        "ingress": estimate(&coverage.ingress),
        "egress": estimate(&coverage.egress),
        "seen": {
            "start": sight(seen.start),
            "restart": sight(seen.restart),
            "full_day": sight(seen.full_day),
            "cronjob_run": sight(seen.cronjob_run),
        },
        "complete": complete.verdict().word(),
        "reasons": texts(&mut complete.reasons.iter().map(ToString::to_string)),
        "not_known": texts(&mut complete.untold.iter().map(ToString::to_string)),
        "without_edges": texts(&mut complete.silent.iter().map(ToString::to_string)),
    })
}

fn estimate(estimate: &Estimate) -> Value {
    let number = |number: fn(&Numbers) -> f64| estimate.numbers.as_ref().map(number).map(rounded);
    let interval = estimate.numbers.and_then(|numbers| numbers.interval);
    json!({
        "edges": estimate.edges,
        "edges_without_time": estimate.timeless,
        "coverage": number(|numbers| numbers.coverage),
        "coverage_interval": interval.map(|interval| [rounded(interval.low), rounded(interval.high)]),
        "unseen": number(|numbers| numbers.unseen),
        "unseen_at_least": interval.map(|interval| rounded(interval.unseen_at_least)),
    })
}

fn sight(sight: Sight) -> Option<&'static str> {
    (sight != Sight::NotApplicable).then(|| sight.word())
}

/// To four decimals.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Hours that divide a day.
fn hours(text: &str) -> Result<u32, String> {
    let hours: u32 = text.parse().map_err(|error| format!("{error}"))?;
    match hours {
        1..=24 if 24_u32.is_multiple_of(hours) => Ok(hours),
        _ => Err("give hours that divide a day: 1, 2, 3, 4, 6, 8, 12 or 24".to_owned()),
    }
}
