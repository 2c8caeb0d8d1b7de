//! `kubectl-netpol status` against a cluster: how netpol is, and how far each namespace and workload is.

use std::collections::BTreeMap;
use std::process::ExitCode;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use netpol_common::names::cluster::MODE_LABEL;
use serde_json::{Value, json};

use super::cluster::{ClusterFlags, NamespaceFlags, waiting};
use super::learned::{self, name_of, workload_of};
use super::output::{print, warn};
use super::parties;
use crate::cluster::overview::Overview;
use crate::cluster::{Cluster, ClusterError, Question, Session};
use crate::crd::{ConditionStatus, ConditionType, LearnedPolicy, LearnedPolicyStatus, Mode};

/// API groups of other tools that have policies of their own, which may allow or deny besides.
const OTHER_GROUPS: [&str; 7] = [
    "cilium.io",
    "crd.antrea.io",
    "crd.projectcalico.org",
    "policy.networking.k8s.io",
    "policy.linkerd.io",
    "projectcalico.org",
    "security.istio.io",
];

/// What is known.
struct Report {
    /// How netpol itself is; or why that cannot be told.
    overview: Result<Overview, ClusterError>,
    learned: Vec<LearnedPolicy>,
    /// What the label of each namespace that has one says; or why that cannot be told.
    labels: Result<BTreeMap<String, String>, ClusterError>,
    /// Groups of other policy APIs, if the API server tells its groups.
    others: Vec<String>,
}

/// Tells how netpol is in a cluster.
pub(super) fn run(
    flags: &ClusterFlags,
    namespaces: &NamespaceFlags,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let session = flags.open()?;
    let namespace = namespaces.of(&session);
    let report = Report::read(&session, namespace.as_deref())?;
    let text = match as_json {
        true => format!("{:#}\n", report.json()),
        false => report.text(),
    };
    print(text.as_bytes())?;
    if let Err(error) = &report.overview {
        warn(format_args!("how netpol itself is cannot be told: {error}"));
    }
    if let Err(error) = &report.labels {
        warn(format_args!(
            "what the labels of namespaces say cannot be told, and modes are those that the LearnedPolicies tell: {error}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

impl Report {
    fn read(session: &Session, namespace: Option<&str>) -> Result<Self, ClusterError> {
        let cluster = session.cluster();
        let learned = waiting("reading the LearnedPolicies", || {
            session.wait(learned::list(cluster, namespace))
        })?;
        Ok(Self {
            overview: waiting("asking the aggregator", || overview(session)),
            learned,
            labels: session.wait(labels(cluster, namespace)),
            others: session.wait(others(cluster)).unwrap_or_default(),
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Ok(overview) = &self.overview {
            text.push_str(&(overview.sentences().join("; ") + "\n\n"));
        }
        if !self.others.is_empty() {
            let others = self.others.join(", ");
            text.push_str(&format!(
                "Other policy APIs, which may allow or deny besides: {others}\n\n"
            ));
        }
        let namespaces = self.namespaces().into_iter();
        text.push_str(&parties::table(
            [
                "NAMESPACE",
                "MODE",
                "WORKLOADS",
                "COMPLETE",
                "ENFORCED",
                "VIOLATIONS",
                "LOST",
            ],
            namespaces.map(|(name, sums)| sums.cells(name, self.mode(name, sums))),
        ));
        text.push('\n');
        let rows = self.learned.iter().map(cells);
        text.push_str(&parties::table(
            [
                "NAMESPACE",
                "WORKLOAD",
                "MODE",
                "COMPLETE",
                "COVERAGE",
                "RULES",
                "VIOLATIONS",
                "APPLIED",
                "WHY NOT",
            ],
            rows,
        ));
        text.replace(
            |letter: char| letter.is_control() && letter != '\n',
            "\u{fffd}",
        )
    }

    fn namespaces(&self) -> BTreeMap<&str, Sums> {
        let labelled = self.labels.iter().flat_map(BTreeMap::keys);
        let labelled = labelled.map(|name| (name.as_str(), Sums::default()));
        let mut all: BTreeMap<&str, Sums> = labelled.collect();
        for learned in &self.learned {
            let namespace = learned.metadata.namespace.as_deref().unwrap_or_default();
            let status = learned.status.as_ref();
            all.entry(namespace).or_default().add(status);
        }
        all
    }

    /// What is done in a namespace: what its label asks for, or else what its LearnedPolicies remember of that.
    fn mode(&self, name: &str, sums: Sums) -> Option<String> {
        let Ok(labels) = &self.labels else {
            return sums.mode.map(|mode| mode.word().to_owned());
        };
        Some(match labels.get(name).map(String::as_str) {
            None => Mode::Learn.word().to_owned(),
            Some(word) if Mode::of(word).is_some() => word.to_owned(),
            Some(word) => format!("unknown ({word})"),
        })
    }

    fn json(&self) -> Value {
        let namespaces = self.namespaces().into_iter();
        let namespaces = namespaces.map(|(name, sums)| sums.json(name, self.mode(name, sums)));
        let workloads = self.learned.iter().map(workload);
        json!({
            "netpol": self.overview.as_ref().ok(),
            "otherPolicyApis": self.others,
            "namespaces": namespaces.collect::<Vec<Value>>(),
            "workloads": workloads.collect::<Vec<Value>>(),
        })
    }
}

/// What the workloads of a namespace come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// The strictest that a workload remembers its namespace to have asked for.
    mode: Option<Mode>,
    workloads: u64,
    complete: u64,
    enforced: u64,
    violations: u64,
    lost: u64,
}

impl Sums {
    fn add(&mut self, status: Option<&LearnedPolicyStatus>) {
        self.workloads += 1;
        let Some(status) = status else {
            return;
        };
        if status.gone_since.is_none() {
            self.mode = self.mode.max(status.namespace_mode);
        }
        self.complete += u64::from(status.holds(ConditionType::Complete));
        self.enforced += u64::from(status.holds(ConditionType::Applied));
        self.violations += u64::from(status.counts.open_violations);
        self.lost += status
            .observation
            .as_ref()
            .map_or(0, |seen| seen.lost_edges);
    }

    fn cells(self, name: &str, mode: Option<String>) -> [String; 7] {
        [
            name.to_owned(),
            mode.unwrap_or_else(|| "-".to_owned()),
            self.workloads.to_string(),
            self.complete.to_string(),
            self.enforced.to_string(),
            self.violations.to_string(),
            self.lost.to_string(),
        ]
    }

    fn json(self, name: &str, mode: Option<String>) -> Value {
        json!({
            "namespace": name,
            "mode": mode,
            "workloads": self.workloads,
            "complete": self.complete,
            "enforced": self.enforced,
            "openViolations": self.violations,
            "lostEdges": self.lost,
        })
    }
}

fn cells(learned: &LearnedPolicy) -> [String; 9] {
    let status = learned.status.clone().unwrap_or_default();
    let estimate = status
        .coverage
        .as_ref()
        .and_then(|known| known.estimate.clone());
    [
        name_of(learned).namespace,
        workload_of(learned),
        status.mode.map_or("-", Mode::word).to_owned(),
        word(&status, ConditionType::Complete),
        estimate.unwrap_or_else(|| "-".to_owned()),
        status.counts.rules.to_string(),
        status.counts.open_violations.to_string(),
        word(&status, ConditionType::Applied),
        why_not(&status),
    ]
}

/// Whether a condition holds, in a word.
fn word(status: &LearnedPolicyStatus, kind: ConditionType) -> String {
    let word = match status.condition(kind).map(|known| known.status) {
        Some(ConditionStatus::True) => "yes",
        Some(ConditionStatus::False) => "no",
        Some(ConditionStatus::Unknown) => "unknown",
        None => "-",
    };
    word.to_owned()
}

/// Why it is not in force although it is to be, or not as it should be; and what is missing before it is complete.
fn why_not(status: &LearnedPolicyStatus) -> String {
    let missing = status
        .coverage
        .as_ref()
        .map(|known| known.missing.join("; "));
    let missing = missing.unwrap_or_default();
    let enforced = status.mode == Some(Mode::Enforce);
    let applied = status.condition(ConditionType::Applied);
    let refusal = applied
        .filter(|_| enforced)
        .map_or("", |known| &known.message);
    match (refusal, missing.as_str()) {
        ("", _) => missing,
        // Whoever refuses what is incomplete says what is missing.
        (refusal, missing) if refusal.contains(missing) => refusal.to_owned(),
        (refusal, missing) => format!("{refusal}; {missing}"),
    }
}

fn workload(learned: &LearnedPolicy) -> Value {
    let name = name_of(learned);
    json!({
        "namespace": name.namespace,
        "learnedPolicy": name.name,
        "workload": workload_of(learned),
        "mode": learned.status.as_ref().and_then(|status| status.mode),
        "coverage": learned.status.as_ref().and_then(|status| status.coverage.clone()),
        "counts": learned.status.as_ref().map(|status| status.counts),
        "conditions": learned.status.as_ref().map(|status| status.conditions.clone()),
    })
}

fn overview(session: &Session) -> Result<Overview, ClusterError> {
    let mut tunnel = session.tunnel()?;
    let text = session.text(&mut tunnel, &Question::Status)?;
    serde_json::from_str(&text).map_err(|error| ClusterError::Aggregator {
        path: Question::Status.path(),
        message: format!("the answer is not what was asked for: {error}"),
        code: None,
    })
}

/// The labels of namespaces that have one, and of the one that is asked about.
async fn labels(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<BTreeMap<String, String>, ClusterError> {
    let found = match namespace {
        Some(name) => vec![learned::namespace(cluster, name).await?],
        None => {
            let api: Api<Namespace> = Api::all(cluster.client.clone());
            let parameters = ListParams::default().labels(MODE_LABEL);
            cluster
                .ask("list namespaces", api.list(&parameters))
                .await?
                .items
        }
    };
    let labels = found.iter().filter_map(|namespace| {
        let label = namespace.labels().get(MODE_LABEL)?;
        Some((namespace.name_any(), label.clone()))
    });
    Ok(labels.collect())
}

async fn others(cluster: &Cluster) -> Result<Vec<String>, ClusterError> {
    let groups = cluster.client.list_api_groups();
    let groups = cluster.ask("list API groups", groups).await?.groups;
    let known = groups.into_iter().map(|group| group.name);
    Ok(known
        .filter(|name| OTHER_GROUPS.contains(&name.as_str()))
        .collect())
}
