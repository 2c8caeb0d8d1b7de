//! Every metric of the node agent, and the values of each node.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use netpol_common::abi::{Event, Fate};

use super::report::{Asker, Report};
use crate::metrics::{Metric, Samples, Source};
use crate::uplink::Link;
use crate::uplink::status::{Failure, Status};
use crate::wire::Side;

/// How long an observer may take to answer a scrape.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every metric of the node agent, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "netpol_agent_build_info",
        &["version"],
        "Always 1; the label tells the version",
    ),
    Metric::gauge(
        "netpol_agent_observing",
        &["node"],
        "Whether the node's observer answers",
    ),
    Metric::gauge(
        "netpol_agent_attached_interfaces",
        &["node", "mechanism"],
        "Interfaces that the kernel program is attached to",
    ),
    Metric::gauge(
        "netpol_agent_interfaces",
        &["node", "state"],
        "Interfaces of pods: bound or unbound, as their pod is known or not; one_sided, where packets towards the pod \
         pass unseen; refused, where the kernel program could not be attached",
    ),
    Metric::gauge(
        "netpol_agent_edges",
        &["node", "state"],
        "Edges and attempts that the agent knows of: learned, or parked until it is known whose they are",
    ),
    Metric::gauge(
        "netpol_agent_map_entries",
        &["node", "map"],
        "Entries of a map of the kernel",
    ),
    Metric::gauge(
        "netpol_agent_map_limit_entries",
        &["node", "map"],
        "Most entries of a map of the kernel",
    ),
    Metric::gauge(
        "netpol_agent_last_walk_timestamp_seconds",
        &["node"],
        "When the kernel's maps were last read whole, in Unix time; absent before the first time",
    ),
    Metric::counter(
        "netpol_agent_packets_total",
        &["node", "fate"],
        "Packets that the kernel program saw since its maps were made, by what became of them",
    ),
    Metric::counter(
        "netpol_agent_events_total",
        &["node", "event"],
        "What happened to packets besides; ring_full delays an edge by one walk of the maps",
    ),
    Metric::gauge(
        "netpol_agent_losses",
        &["node", "place"],
        "What could not be seen or kept since the maps were made, by where it was lost: edges and attempts without room \
         and not known otherwise, attempts with addresses that are not the pod's, pending handshakes without a slot",
    ),
    Metric::gauge(
        "netpol_agent_spool_bytes",
        &["node"],
        "Bytes of batches that the aggregator has not acknowledged",
    ),
    Metric::gauge(
        "netpol_agent_spool_limit_bytes",
        &["node"],
        "Most bytes of batches in the spool",
    ),
    Metric::gauge(
        "netpol_agent_spool_batches",
        &["node"],
        "Batches that the aggregator has not acknowledged",
    ),
    Metric::counter(
        "netpol_agent_spool_full_total",
        &["node"],
        "Times that a batch found no room in the spool, so that edges wait in the kernel's maps",
    ),
    Metric::gauge(
        "netpol_agent_lag_seconds",
        &["node"],
        "Age of the oldest batch that the aggregator has not acknowledged; 0 if there is none",
    ),
    Metric::counter(
        "netpol_agent_delivered_batches_total",
        &["node"],
        "Batches that the aggregator has acknowledged",
    ),
    Metric::counter(
        "netpol_agent_delivered_edges_total",
        &["node"],
        "Edges in those batches, each counted as often as it was sent",
    ),
    Metric::counter(
        "netpol_agent_delivered_bytes_total",
        &["node"],
        "Bytes of those deliveries, compressed",
    ),
    Metric::gauge(
        "netpol_agent_last_delivery_timestamp_seconds",
        &["node"],
        "When a delivery was acknowledged last, in Unix time; absent before the first",
    ),
    Metric::counter(
        "netpol_agent_failed_deliveries_total",
        &["node", "reason"],
        "Deliveries that were not acknowledged, by reason",
    ),
    Metric::counter(
        "netpol_agent_refused_batches_total",
        &["node"],
        "Batches of which something was put aside, since it is damaged or the aggregator will never take it",
    ),
    Metric::counter(
        "netpol_agent_refused_edges_total",
        &["node"],
        "Edges that were put aside with them",
    ),
    Metric::gauge(
        "netpol_agent_upgrade_needed",
        &["node", "side"],
        "Whether that side is too old for the other, as the aggregator said last",
    ),
];

/// The nodes of an agent, as far as they are there.
#[derive(Debug, Default)]
pub struct Nodes {
    observers: Mutex<Vec<(String, Asker)>>,
    links: Mutex<Vec<(String, Link)>>,
}

impl Nodes {
    /// Adds the observer of a node.
    pub fn add_observer(&self, node: &str, asker: Asker) {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push((node.to_owned(), asker));
    }

    /// Adds the way of a node's batches to the aggregator.
    pub fn add_link(&self, node: &str, link: Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.push((node.to_owned(), link));
    }

    /// Every node's report, or `None` from an observer that does not answer in time. Waits.
    #[must_use]
    pub fn reports(&self) -> Vec<(String, Option<Report>)> {
        let observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let observers = observers.clone();
        let ask = |(node, asker): (String, Asker)| (node, asker.ask(PATIENCE));
        observers.into_iter().map(ask).collect()
    }
}

impl Source for Nodes {
    fn tell(&self, samples: &mut Samples) {
        let version = env!("CARGO_PKG_VERSION");
        samples.put("netpol_agent_build_info", [("version", version)], 1);
        for (node, report) in self.reports() {
            let observing = u8::from(report.is_some());
            samples.put("netpol_agent_observing", [("node", &node)], observing);
            if let Some(report) = report {
                tell_report(samples, &node, &report);
            }
        }
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, link) in links.iter() {
            tell_status(samples, node, &link.status(), Timestamp::now());
        }
    }
}

fn tell_report(samples: &mut Samples, node: &str, report: &Report) {
    let mechanism = report.mechanism.to_string().to_lowercase();
    let labels = [("node", node), ("mechanism", mechanism.as_str())];
    samples.count(
        "netpol_agent_attached_interfaces",
        labels,
        report.attached as u64,
    );
    for (state, count) in [
        ("bound", report.bound),
        ("unbound", report.unbound),
        ("one_sided", report.one_sided),
        ("refused", report.refused),
    ] {
        let labels = [("node", node), ("state", state)];
        samples.count("netpol_agent_interfaces", labels, count as u64);
    }
    for (state, count) in [("learned", report.learned), ("parked", report.parked)] {
        let labels = [("node", node), ("state", state)];
        samples.count("netpol_agent_edges", labels, count as u64);
    }
    for (map, entries, limit) in report.maps {
        let labels = [("node", node), ("map", map)];
        samples.count("netpol_agent_map_entries", labels, entries as u64);
        samples.count("netpol_agent_map_limit_entries", labels, limit.into());
    }
    if let Some(walked) = report.walked {
        let name = "netpol_agent_last_walk_timestamp_seconds";
        let labels = [("node", node)];
        samples.count(name, labels, walked.as_second().max(0).unsigned_abs());
    }
    tell_counters(samples, node, report);
    tell_losses(samples, node, report);
}

fn tell_counters(samples: &mut Samples, node: &str, report: &Report) {
    let Some(counters) = &report.counters else {
        return;
    };
    for (fate, count) in Fate::ALL.iter().zip(counters.fates) {
        let labels = [("node", node), ("fate", fate.name())];
        samples.count("netpol_agent_packets_total", labels, count);
    }
    for (event, count) in Event::ALL.iter().zip(counters.events) {
        let labels = [("node", node), ("event", event.name())];
        samples.count("netpol_agent_events_total", labels, count);
    }
}

fn tell_losses(samples: &mut Samples, node: &str, report: &Report) {
    let losses = &report.losses;
    for (place, count) in [
        ("edges", losses.missing_edges()),
        ("attempts", losses.missing_attempts()),
        ("foreign", losses.foreign),
        ("not_for_pod", losses.not_for_pod),
        ("slots", report.slots_lost),
    ] {
        let labels = [("node", node), ("place", place)];
        samples.count("netpol_agent_losses", labels, count);
    }
}

fn tell_status(samples: &mut Samples, node: &str, status: &Status, now: Timestamp) {
    let labels = [("node", node)];
    for (name, count) in [
        ("netpol_agent_spool_bytes", status.spool.bytes),
        ("netpol_agent_spool_limit_bytes", status.spool.limit),
        ("netpol_agent_spool_batches", status.spool.batches),
        ("netpol_agent_spool_full_total", status.turned_away),
        (
            "netpol_agent_delivered_batches_total",
            status.acknowledged_batches,
        ),
        (
            "netpol_agent_delivered_edges_total",
            status.acknowledged_edges,
        ),
        (
            "netpol_agent_delivered_bytes_total",
            status.acknowledged_bytes,
        ),
        (
            "netpol_agent_refused_batches_total",
            status.quarantined_batches,
        ),
        ("netpol_agent_refused_edges_total", status.quarantined_edges),
    ] {
        samples.count(name, labels, count);
    }
    samples.put("netpol_agent_lag_seconds", labels, status.lag(now));
    if let Some(last) = status.acknowledged {
        let name = "netpol_agent_last_delivery_timestamp_seconds";
        samples.count(name, labels, last.as_second().max(0).unsigned_abs());
    }
    for failure in Failure::ALL {
        let count = status.failures.get(&failure).copied().unwrap_or(0);
        let labels = [("node", node), ("reason", failure.name())];
        samples.count("netpol_agent_failed_deliveries_total", labels, count);
    }
    for (side, name) in [(Side::Agent, "agent"), (Side::Aggregator, "aggregator")] {
        let needed = u8::from(status.upgrade == Some(side));
        let labels = [("node", node), ("side", name)];
        samples.put("netpol_agent_upgrade_needed", labels, needed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use netpol_common::abi::{Counters, EVENTS, FATES};

    use super::*;
    use crate::metrics::Metrics;
    use crate::node::attach::Mechanism;
    use crate::node::report::asking;
    use crate::observe::Losses;

    /// The page on operations.
    const OPERATIONS: &str = include_str!("../../../deploy/OPERATIONS.md");

    #[test]
    fn every_metric_is_documented() {
        let table = crate::metrics::documentation(METRICS);
        assert!(
            OPERATIONS.contains(&table),
            "this is not in deploy/OPERATIONS.md:\n{table}"
        );
    }

    fn report() -> Report {
        Report {
            mechanism: Mechanism::Tcx,
            attached: 3,
            refused: 0,
            bound: 2,
            unbound: 1,
            one_sided: 0,
            learned: 40,
            parked: 2,
            maps: [("edges", 42, 65_536), ("attempts", 7, 16_384)],
            walked: Some(Timestamp::UNIX_EPOCH),
            counters: Some(Counters {
                fates: [5; FATES],
                events: [0; EVENTS],
            }),
            losses: Losses {
                edges_lost: 4,
                edges_recovered: 1,
                ..Losses::default()
            },
            slots_lost: 6,
        }
    }

    #[derive(Debug)]
    struct Told(fn(&mut Samples));

    impl Source for Told {
        fn tell(&self, samples: &mut Samples) {
            (self.0)(samples);
        }
    }

    #[test]
    fn every_metric_that_is_told_is_listed_and_every_one_listed_is_told() {
        let metrics = Metrics::new(METRICS);
        metrics.add(Arc::new(Nodes::default()));
        metrics.add(Arc::new(Told(|samples| {
            samples.put("netpol_agent_observing", [("node", "a")], 1);
            tell_report(samples, "a", &report());
            let status = Status {
                acknowledged: Some(Timestamp::UNIX_EPOCH),
                failures: BTreeMap::from([(Failure::Token, 3)]),
                upgrade: Some(Side::Agent),
                ..Status::default()
            };
            tell_status(samples, "a", &status, Timestamp::UNIX_EPOCH);
        })));
        let text = metrics.text().unwrap();
        for metric in METRICS {
            assert!(
                text.contains(&format!("\n{}{{", metric.name)),
                "{}\n{text}",
                metric.name
            );
        }
        for line in [
            "netpol_agent_losses{node=\"a\",place=\"edges\"} 3.0",
            "netpol_agent_failed_deliveries_total{node=\"a\",reason=\"token\"} 3.0",
            "netpol_agent_upgrade_needed{node=\"a\",side=\"agent\"} 1.0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn an_observer_that_is_gone_is_told_as_not_observing() {
        let nodes = Nodes::default();
        let (asker, asked) = asking();
        drop(asked);
        nodes.add_observer("a", asker);
        let metrics = Metrics::new(METRICS);
        metrics.add(Arc::new(nodes));
        let text = metrics.text().unwrap();
        assert!(
            text.contains("netpol_agent_observing{node=\"a\"} 0.0"),
            "{text}"
        );
    }
}
