//! What the aggregator tells of the connections that were opened.

use std::collections::BTreeMap;

use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, View};

use crate::cluster::Cluster;
use crate::person::netpol;
use crate::traffic::Client;

/// Connections by client, server, port, and whose interface saw them.
pub(crate) type Counts = BTreeMap<(String, String, u16, View), u64>;

/// What was opened, as both ends have to have seen it.
pub(crate) fn opened(clients: &[Client]) -> Counts {
    let mut counts = Counts::new();
    for ((client, server, port), count) in clients.iter().map(Client::opened) {
        for view in [View::Client, View::Server] {
            let key = (client.to_owned(), server.to_owned(), port, view);
            *counts.entry(key).or_default() += count;
        }
    }
    counts
}

/// What the aggregator tells; nothing, if it is just away.
pub(crate) fn told(cluster: &Cluster) -> Option<Counts> {
    let said = netpol(cluster, &["flows", "-A", "-o", "json"]);
    if said.code != Some(0) {
        return None;
    }
    let mut counts = Counts::new();
    for line in said.out.lines() {
        let record: FlowRecord = serde_json::from_str(line).unwrap();
        let (client, server) = (
            owner(cluster, &record.client),
            owner(cluster, &record.server),
        );
        let (Some(client), Some(server)) = (client, server) else {
            panic!("nobody talks like this: {line}");
        };
        assert_eq!(record.outcome, Outcome::Established, "{line}");
        // The service of `web` has another port than its pods.
        let port = if record.port == 80 { 8080 } else { record.port };
        // Without a view it is both that tell so.
        for view in [View::Client, View::Server] {
            if record.view.is_none_or(|own| own == view) {
                let key = (client.clone(), server.clone(), port, view);
                *counts.entry(key).or_default() += record.count;
            }
        }
    }
    Some(counts)
}

fn owner(cluster: &Cluster, end: &Endpoint) -> Option<String> {
    match end {
        Endpoint::Ip(address) => cluster.owner(*address).map(str::to_owned),
        Endpoint::Workload(name) => Some(name.to_string()),
        Endpoint::Pod(pod) => {
            let object = cluster.api.get("pods", &pod.namespace, &pod.name);
            let address = object["status"]["podIP"].as_str()?.parse().ok()?;
            cluster.owner(address).map(str::to_owned)
        }
    }
}

/// The first difference, in words. More was told than was opened so far only if something was counted twice.
pub(crate) fn difference(told: &Counts, opened: &Counts) -> Option<String> {
    for (key, count) in told {
        let most = opened.get(key).copied().unwrap_or(0);
        assert!(
            *count <= most,
            "{key:?}: {count} were told, and {most} opened"
        );
    }
    let missing = opened
        .iter()
        .find(|(key, count)| told.get(key) != Some(count));
    missing.map(|(key, count)| format!("{key:?}: {:?} of {count}", told.get(key)))
}
