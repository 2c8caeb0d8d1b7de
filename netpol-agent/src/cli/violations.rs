//! `kubectl-netpol violations`: what policies deny, or would deny, and nobody has decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use netpol_common::names::ObjectName;
use serde_json::{Value, json};

use super::cluster::{ClusterFlags, NamespaceFlags, waiting};
use super::decide::{self, Decision};
use super::learned::{self, name_of, workload_of};
use super::output::{note, print};
use super::parties;
use crate::cluster::Session;
use crate::crd::{LearnedPolicy, Violation, ViolationState};

/// List what policies deny, or would deny if they were enforced; exit with 1 if anything waits for a decision
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// List also what was rejected
    #[arg(long, env = "NETPOL_ALL_VIOLATIONS")]
    all: bool,
    /// How to print them
    #[arg(
        long,
        short,
        env = "NETPOL_VIOLATIONS_OUTPUT",
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
    #[command(flatten)]
    namespaces: NamespaceFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// A table
    Table,
    /// A table with times, counts, and where to approve
    Wide,
    /// One JSON document, with the changes (`kubectl patch --type merge`) that would allow each
    Json,
    /// The same as YAML
    Yaml,
    /// The ids alone, for approve and reject
    Name,
}

/// A violation and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) learned: &'a LearnedPolicy,
    pub(super) violation: &'a Violation,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let session = self.cluster.open()?;
        let namespace = self.namespaces.of(&session);
        let learned = waiting("reading the LearnedPolicies", || {
            session.wait(learned::list(session.cluster(), namespace.as_deref()))
        })?;
        let (open, others): (Vec<_>, Vec<_>) = found(&learned).partition(Found::is_open);
        let mut shown = open.clone();
        if self.all {
            shown.extend(others);
        }
        let text = match self.output {
            Format::Table => parties::table(HEADER, shown.iter().map(Found::cells)),
            Format::Wide => parties::table(WIDE, shown.iter().map(Found::wide_cells)),
            Format::Json => format!("{:#}\n", document(&shown, &places(&shown, &session))),
            Format::Yaml => {
                crate::policy::emit::fragment(&document(&shown, &places(&shown, &session)))
            }
            Format::Name => (shown.iter())
                .map(|found| found.violation.id.clone() + "\n")
                .collect(),
        };
        print(text.as_bytes())?;
        if self.output == Format::Table && !open.is_empty() {
            note(
                "hint",
                "`kubectl netpol approve ID` allows one, `kubectl netpol reject ID` ends being told of it",
            );
        }
        tell_unlisted(&learned);
        Ok(ExitCode::from(u8::from(open_count(&learned) > 0)))
    }
}

const HEADER: [&str; 5] = ["ID", "NAMESPACE", "DIRECTION", "STATE", "EDGE"];

const WIDE: [&str; 9] = [
    "ID",
    "NAMESPACE",
    "WORKLOAD",
    "DIRECTION",
    "STATE",
    "COUNT",
    "LAST SEEN",
    "APPROVE IN",
    "EDGE",
];

/// Every violation that the LearnedPolicies list.
pub(super) fn found(learned: &[LearnedPolicy]) -> impl Iterator<Item = Found<'_>> {
    learned.iter().flat_map(|learned| {
        let status = learned.status.iter();
        let violations = status.flat_map(|status| &status.violations);
        violations.map(move |violation| Found { learned, violation })
    })
}

/// How many nobody decided on, those that are too many to be listed included.
fn open_count(learned: &[LearnedPolicy]) -> u64 {
    let counts = learned.iter().filter_map(|learned| learned.status.as_ref());
    let counts = counts.map(|status| {
        let listed = status.violations.iter();
        let listed = listed
            .filter(|each| each.state == ViolationState::Open)
            .count();
        u64::from(status.counts.open_violations).max(u64::try_from(listed).unwrap_or(u64::MAX))
    });
    counts.sum()
}

/// Says which LearnedPolicies have more violations than they list.
fn tell_unlisted(learned: &[LearnedPolicy]) {
    for learned in learned {
        let Some(status) = &learned.status else {
            continue;
        };
        let listed = u32::try_from(status.violations.len()).unwrap_or(u32::MAX);
        if let Some(more @ 1..) = status.counts.violations.checked_sub(listed) {
            note(
                "finding",
                format_args!(
                    "{}: {more} more violations are not listed",
                    name_of(learned)
                ),
            );
        }
    }
}

fn document(shown: &[Found<'_>], places: &BTreeMap<ObjectName, LearnedPolicy>) -> Value {
    let items: Vec<Value> = shown.iter().map(|found| found.json(places)).collect();
    json!({"violations": items})
}

/// The LearnedPolicies in which violations are to be approved, as far as the person may read them.
fn places(shown: &[Found<'_>], session: &Session) -> BTreeMap<ObjectName, LearnedPolicy> {
    let own = shown.iter().map(|found| found.learned);
    let mut known: BTreeMap<ObjectName, LearnedPolicy> =
        own.map(|own| (name_of(own), own.clone())).collect();
    let named: BTreeSet<ObjectName> = shown.iter().flat_map(Found::approve_in).collect();
    for name in named {
        if known.contains_key(&name) {
            continue;
        }
        let read = session.wait(learned::get(session.cluster(), &name));
        known.extend(read.map(|read| (name, read)));
    }
    known
}

impl Found<'_> {
    pub(super) fn is_open(&self) -> bool {
        self.violation.state == ViolationState::Open
    }

    /// The LearnedPolicies in each of which it has to be approved.
    pub(super) fn approve_in(&self) -> Vec<ObjectName> {
        let named = self.violation.approve_in.iter();
        let named: Vec<ObjectName> = named.filter_map(|name| name.parse().ok()).collect();
        match named.is_empty() {
            true => vec![name_of(self.learned)],
            false => named,
        }
    }

    fn state(&self) -> String {
        format!("{:?}", self.violation.state).to_lowercase()
    }

    fn namespace(&self) -> String {
        name_of(self.learned).namespace
    }

    fn cells(&self) -> [String; 5] {
        let violation = self.violation;
        [
            violation.id.clone(),
            self.namespace(),
            violation.direction.clone(),
            self.state(),
            violation.edge.clone(),
        ]
    }

    fn wide_cells(&self) -> [String; 9] {
        let violation = self.violation;
        let places = self.approve_in();
        let places: Vec<String> = places.iter().map(ObjectName::to_string).collect();
        [
            violation.id.clone(),
            self.namespace(),
            workload_of(self.learned),
            violation.direction.clone(),
            self.state(),
            violation.count.to_string(),
            second(violation.last_seen),
            places.join(","),
            violation.edge.clone(),
        ]
    }

    fn json(&self, places: &BTreeMap<ObjectName, LearnedPolicy>) -> Value {
        let violation = self.violation;
        let edges = BTreeSet::from([violation.edge.clone()]);
        let approve = self.approve_in().into_iter().map(|name| {
            let patch = places.get(&name).and_then(|known| {
                learned::changed(known, |spec| decide::write(spec, &edges, Decision::Approve))
            });
            json!({
                "namespace": name.namespace,
                "learnedPolicy": name.name,
                "patch": patch,
            })
        });
        json!({
            "id": violation.id,
            "namespace": self.namespace(),
            "learnedPolicy": name_of(self.learned).name,
            "workload": workload_of(self.learned),
            "direction": violation.direction,
            "state": self.state(),
            "edge": violation.edge,
            "count": violation.count,
            "firstSeen": violation.first_seen,
            "lastSeen": violation.last_seen,
            "approve": approve.collect::<Vec<Value>>(),
        })
    }
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
