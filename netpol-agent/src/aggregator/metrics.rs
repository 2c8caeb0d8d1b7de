//! Every metric of the aggregator, and the values of those that the server knows.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::app::App;
use super::door::Door;
use super::tls::Served;
use crate::controller::Report;
use crate::keeper::Handle;
use crate::lead::Leader;
use crate::metrics::{Metric, Samples, Source};
use crate::observe::Losses;

/// An observer that has delivered nothing for so long is silent: even an idle one delivers every few seconds.
const SILENT: SignedDuration = SignedDuration::from_secs(120);

/// Every metric of the aggregator, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "netpol_aggregator_build_info",
        &["version"],
        "Always 1; the label tells the version",
    ),
    Metric::gauge(
        "netpol_aggregator_ready",
        &[],
        "Whether every kind of object was listed whole",
    ),
    Metric::gauge(
        "netpol_aggregator_leader",
        &[],
        "Whether this replica is the one that writes to the Kubernetes API",
    ),
    Metric::gauge(
        "netpol_aggregator_connections",
        &[],
        "Open connections to the API",
    ),
    Metric::counter(
        "netpol_aggregator_refused_requests_total",
        &["reason"],
        "Requests and connections that were refused",
    ),
    Metric::counter(
        "netpol_aggregator_token_reviews_total",
        &["result"],
        "Tokens that the API server was asked about: accepted, refused, or failed where it did not answer",
    ),
    Metric::gauge(
        "netpol_aggregator_certificate_expiry_timestamp_seconds",
        &[],
        "When the certificate that is served with expires, in Unix time",
    ),
    Metric::counter(
        "netpol_aggregator_batches_total",
        &[],
        "Batches of node agents that were made durable",
    ),
    Metric::counter(
        "netpol_aggregator_batch_edges_total",
        &[],
        "Edges in those batches, each counted as often as it came",
    ),
    Metric::counter(
        "netpol_aggregator_unverifiable_pods_total",
        &[],
        "Pods in those batches that were gone before this process began to watch, so that nothing told where they ran",
    ),
    Metric::counter(
        "netpol_aggregator_foreign_addresses_total",
        &[],
        "Addresses of pods that a node called its own, and that were left out",
    ),
    Metric::gauge(
        "netpol_aggregator_lag_seconds",
        &[],
        "How long it took from when the latest batch was made until it was durable",
    ),
    Metric::counter(
        "netpol_aggregator_lag_seconds_total",
        &[],
        "The sum of those times over all batches",
    ),
    Metric::gauge(
        "netpol_aggregator_index_objects",
        &["kind"],
        "Kubernetes objects in the index",
    ),
    Metric::gauge(
        "netpol_aggregator_observers",
        &[],
        "Node agents of which anything is known",
    ),
    Metric::gauge(
        "netpol_aggregator_silent_observers",
        &[],
        "Those of them whose latest batch is older than two minutes, although their node is there",
    ),
    Metric::gauge(
        "netpol_aggregator_observed_edges",
        &[],
        "Distinct edges that node agents told, as they saw them",
    ),
    Metric::gauge(
        "netpol_aggregator_graph_edges",
        &[],
        "Edges of the flow graph, between workloads, nodes and addresses",
    ),
    Metric::gauge(
        "netpol_aggregator_unresolved_flows",
        &[],
        "Flows of which an end cannot be told",
    ),
    Metric::gauge(
        "netpol_aggregator_losses",
        &["place"],
        "What node agents could not see or keep, by where it was lost",
    ),
    Metric::gauge(
        "netpol_proposals",
        &["mode"],
        "LearnedPolicies by the mode that they are in",
    ),
    Metric::gauge(
        "netpol_violations",
        &["namespace"],
        "Distinct violations that no person has judged",
    ),
    Metric::counter(
        "netpol_violations_told_total",
        &[],
        "Violations that were told as Events",
    ),
    Metric::gauge(
        "netpol_applied_policies",
        &[],
        "NetworkPolicies of ours that are in force",
    ),
    Metric::counter(
        "netpol_controller_decisions_total",
        &[],
        "Decisions of the controller, which only the leader makes",
    ),
    Metric::gauge(
        "netpol_controller_decision_seconds",
        &[],
        "How long the latest decision took",
    ),
    Metric::counter(
        "netpol_controller_writes_total",
        &["result"],
        "Writes to the Kubernetes API that followed from decisions: done, or failed",
    ),
];

/// What the keeper knows.
#[derive(Debug)]
pub(super) struct OfKeeper {
    pub(super) keeper: Handle,
    pub(super) leader: Leader,
}

impl Source for OfKeeper {
    fn tell(&self, samples: &mut Samples) {
        let leads = u8::from(*self.leader.borrow());
        samples.put("netpol_aggregator_leader", [], leads);
        let snapshot = self.keeper.snapshot();
        let (graph, observers) = (&snapshot.graph, &snapshot.observers);
        let edges = observers.values().map(|state| state.edges as u64).sum();
        samples.count("netpol_aggregator_observed_edges", [], edges);
        let name = "netpol_aggregator_graph_edges";
        samples.count(name, [], graph.edges.len() as u64);
        let unresolved = graph.unresolved.flows.len() as u64 + graph.unresolved.beyond_bound;
        samples.count("netpol_aggregator_unresolved_flows", [], unresolved);
        let name = "netpol_aggregator_observers";
        samples.count(name, [], observers.len() as u64);
        let now = Timestamp::now();
        let silent =
            |last: Option<Timestamp>| last.is_none_or(|last| now.duration_since(last) > SILENT);
        let index = self.keeper.index().read();
        let silent = observers
            .iter()
            .filter(|(name, state)| silent(state.last_batch) && !index.lacks_node(name))
            .count();
        drop(index);
        samples.count("netpol_aggregator_silent_observers", [], silent as u64);
        let mut losses = Losses::default();
        observers
            .values()
            .for_each(|state| losses.add(&state.losses));
        for (place, count) in places(&losses) {
            samples.count("netpol_aggregator_losses", [("place", place)], count);
        }
    }
}

fn places(losses: &Losses) -> [(&'static str, u64); 4] {
    [
        ("edges", losses.missing_edges()),
        ("attempts", losses.missing_attempts()),
        ("foreign", losses.foreign),
        ("not_for_pod", losses.not_for_pod),
    ]
}

/// What the controller did.
#[derive(Debug)]
pub(super) struct OfController(pub(super) watch::Receiver<Report>);

impl Source for OfController {
    fn tell(&self, samples: &mut Samples) {
        let report = self.0.borrow().clone();
        for (mode, count) in report.figures.modes {
            samples.count("netpol_proposals", [("mode", mode.word())], count as u64);
        }
        for (namespace, count) in report.figures.open_violations {
            samples.count("netpol_violations", [("namespace", &namespace)], count);
        }
        let applied = report.figures.applied as u64;
        samples.count("netpol_applied_policies", [], applied);
        samples.count("netpol_controller_decisions_total", [], report.decisions);
        let took = report.decision_time.as_secs_f64();
        samples.put("netpol_controller_decision_seconds", [], took);
        for (result, count) in [("done", report.writes), ("failed", report.failures)] {
            let name = "netpol_controller_writes_total";
            samples.count(name, [("result", result)], count);
        }
        samples.count("netpol_violations_told_total", [], report.violations);
    }
}

/// What the server knows.
pub(super) struct OfServer {
    pub(super) app: Arc<App>,
    pub(super) door: Door,
    pub(super) served: Arc<Served>,
}

impl fmt::Debug for OfServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfServer")
    }
}

impl Source for OfServer {
    fn tell(&self, samples: &mut Samples) {
        let version = env!("CARGO_PKG_VERSION");
        samples.put("netpol_aggregator_build_info", [("version", version)], 1);
        let ready = self.app.whole_since().is_ok();
        samples.put("netpol_aggregator_ready", [], u8::from(ready));
        samples.count("netpol_aggregator_connections", [], self.door.open() as u64);
        if let Some(expires) = self.served.expires() {
            let name = "netpol_aggregator_certificate_expiry_timestamp_seconds";
            samples.count(name, [], expires.max(0).unsigned_abs());
        }
        self.tell_reviews(samples);
        self.tell_counts(samples);
        for (kind, count) in self.app.index().present_counts() {
            let labels = [("kind", kind)];
            samples.count("netpol_aggregator_index_objects", labels, count as u64);
        }
    }
}

impl OfServer {
    fn tell_reviews(&self, samples: &mut Samples) {
        let reviews = self.app.authority.reviews();
        let results = [
            ("accepted", reviews.accepted),
            ("refused", reviews.refused),
            ("failed", reviews.failed),
        ];
        for (result, count) in results {
            let name = "netpol_aggregator_token_reviews_total";
            samples.count(name, [("result", result)], count);
        }
    }

    fn tell_counts(&self, samples: &mut Samples) {
        let all = self.app.counts.all();
        for (reason, count) in all.refused {
            let name = "netpol_aggregator_refused_requests_total";
            samples.count(name, [("reason", reason)], count);
        }
        samples.count("netpol_aggregator_batches_total", [], all.batches);
        samples.count("netpol_aggregator_batch_edges_total", [], all.edges);
        let name = "netpol_aggregator_unverifiable_pods_total";
        samples.count(name, [], all.unverifiable);
        let name = "netpol_aggregator_foreign_addresses_total";
        samples.count(name, [], all.foreign_addresses);
        samples.put("netpol_aggregator_lag_seconds", [], all.lag.0);
        samples.put("netpol_aggregator_lag_seconds_total", [], all.lag.1);
    }
}
