//! A case as a person reads it, and may try again with `generate`: the cluster as an inventory, what was seen as flow
//! records, and the options as JSON. So a counter-example of a promise is printed.

use std::fmt::{self, Write};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol, View};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{Case, any_case};
use crate::graph::{Evidence, FlowGraph, UnresolvedFlow, UnresolvedFlows, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer, Unresolved};
use crate::policy::cluster::Workload;
use crate::policy::finding::Finding;
use crate::policy::{Cluster, Options, synthesise};
use crate::{flows, inventory};

/// When what was seen once was seen, and what was seen again.
const TIMES: [&str; 2] = ["2026-01-02T03:04:05Z", "2026-01-02T03:06:07Z"];

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n--- inventory.yaml\n{}", self.inventory())?;
        writeln!(f, "--- flows.jsonl\n{}", self.flows())?;
        for note in self.notes() {
            writeln!(f, "--- besides: {note}")?;
        }
        let options = serde_json::to_string(&self.options).map_err(|_| fmt::Error)?;
        write!(f, "--- options\n{options}")
    }
}

impl Case {
    /// Documents of one line each.
    fn inventory(&self) -> String {
        let cluster = &self.cluster;
        let mut objects: Vec<Value> = Vec::new();
        for (name, workload) in &cluster.workloads {
            objects.extend(of_workload(name, workload));
        }
        for (name, addresses) in &cluster.nodes {
            let addresses = addresses.iter();
            let addresses: Vec<Value> = addresses
                .map(|address| json!({"type": "InternalIP", "address": address}))
                .collect();
            objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses}}));
        }
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "default", "name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "endpoints": [{"addresses": cluster.api_server}],
        }));
        for (name, port) in &cluster.resolvers {
            let selector = cluster.workloads.get(name).map(|known| &known.selector);
            objects.push(json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": name.namespace, "name": format!("dns-{}", name.name)},
                "spec": {"selector": selector, "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": port}]},
            }));
        }
        let documents: Vec<String> = objects.iter().map(ToString::to_string).collect();
        documents.join("\n---\n") + "\n"
    }

    fn flows(&self) -> String {
        let mut lines = String::new();
        for (edge, evidence) in &self.graph.edges {
            for record in self.records(edge, evidence) {
                let line = serde_json::to_string(&record).unwrap_or_default();
                let _ = writeln!(lines, "{line}");
            }
        }
        lines
    }

    fn records(&self, edge: &EdgeId, evidence: &Evidence) -> Vec<FlowRecord> {
        let ends = [&edge.client, &edge.server].map(|peer| self.endpoint(peer));
        let [Some(client), Some(server)] = ends else {
            return Vec::new();
        };
        let record = |view, seen: &ViewEvidence, outcome| FlowRecord {
            time: TIMES[0].parse().ok(),
            client: client.clone(),
            server: server.clone(),
            protocol: edge.protocol,
            port: edge.port,
            outcome,
            count: seen.counts.of(outcome),
            last_seen: TIMES[usize::from(seen.repeated)].parse().ok(),
            view: Some(view),
            by_service: None,
            observer: None,
            remote_node: None,
        };
        let mut records = Vec::new();
        for view in [View::Client, View::Server] {
            let Some(seen) = evidence.view(view) else {
                continue;
            };
            let outcomes = Outcome::ALL.into_iter();
            let seen_of = outcomes.filter(|outcome| seen.counts.of(*outcome) > 0);
            records.extend(seen_of.map(|outcome| record(view, seen, outcome)));
        }
        records
    }

    /// What a record names an end by; nothing for a node that was removed.
    fn endpoint(&self, peer: &Peer) -> Option<Endpoint> {
        let first = |addresses: &std::collections::BTreeSet<IpAddr>| addresses.first().copied();
        match peer {
            Peer::Workload(name) => Some(Endpoint::Workload(name.clone())),
            Peer::Node(name) => first(self.cluster.nodes.get(name)?).map(Endpoint::Ip),
            Peer::ApiServer => first(&self.cluster.api_server).map(Endpoint::Ip),
            Peer::External(address) => Some(Endpoint::Ip(*address)),
        }
    }

    /// What neither file can tell.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (edge, evidence) in &self.graph.edges {
            let EdgeId {
                client,
                server,
                protocol,
                port,
            } = &**edge;
            for (holds, what) in [
                (evidence.own_node, "comes from the server's own node"),
                (evidence.client_watched, "the client was watched"),
                (evidence.server_watched, "the server was watched"),
                (
                    self.records(edge, evidence).is_empty(),
                    "is known though nothing was seen of it, or a node is gone",
                ),
            ] {
                if holds {
                    notes.push(format!("{client} -> {server} {protocol} {port}: {what}"));
                }
            }
        }
        notes
    }
}

/// A workload, and a pod for each of its sets of labels.
fn of_workload(name: &WorkloadName, workload: &Workload) -> Vec<Value> {
    let mut objects = Vec::new();
    let template = workload.label_sets.first().cloned().unwrap_or_default();
    let metadata = json!({"namespace": name.namespace, "name": name.name});
    let spec = json!({"hostNetwork": workload.host_network});
    let template = json!({"metadata": {"labels": template}, "spec": spec});
    match name.kind.as_str() {
        "Deployment" => objects.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"selector": {"matchLabels": workload.selector}, "template": template},
        })),
        "CronJob" => objects.push(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata,
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}},
        })),
        _ => {}
    }
    let pods = workload.label_sets.iter().enumerate();
    objects.extend(pods.map(|(number, labels)| pod(name, workload, number, labels)));
    objects
}

fn pod(name: &WorkloadName, workload: &Workload, number: usize, labels: &Labels) -> Value {
    let alone = name.kind == "Pod";
    let own = match alone && number == 0 {
        true => name.name.clone(),
        false => format!("{}-{number}", name.name),
    };
    let owners = match alone {
        true => json!([]),
        false => json!([{
            "apiVersion": "v1", "kind": name.kind, "name": name.name, "uid": name.to_string(), "controller": true,
        }]),
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": name.namespace, "name": own, "labels": labels, "ownerReferences": owners},
        "spec": {"nodeName": "one", "hostNetwork": workload.host_network},
    })
}

proptest! {
    /// What is printed of a case is an inventory and flow records, with all its workloads and all that was seen.
    #[test]
    fn what_is_shown_can_be_read(case in any_case()) {
        let mut read = inventory::parse("inventory.yaml", &case.inventory()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let cluster = crate::policy::Cluster::of(&read.take_index());
        for (name, workload) in &case.cluster.workloads {
            let shown = cluster.workloads.get(name);
            prop_assert!(shown.is_some(), "{} of {:?}", name, cluster.workloads.keys());
            prop_assert_eq!(shown.map(|shown| shown.host_network), Some(workload.host_network));
        }
        let shown = case.flows();
        let records = read_records(&shown).map_err(TestCaseError::fail)?;
        let told: Vec<FlowRecord> = case.graph.edges.iter().flat_map(|(edge, evidence)| case.records(edge, evidence)).collect();
        prop_assert_eq!(records, told);
    }
}

/// Flows of which an end cannot be told are listed by what became of them; attempts and what was too much are counted.
#[test]
fn what_is_unresolved_is_told_by_what_became_of_it() {
    let told = |outcomes: &[Outcome], beyond_bound: u64| -> Vec<String> {
        let flow = |(number, outcome): (usize, &Outcome)| {
            let flow = UnresolvedFlow {
                client: Endpoint::Ip([10, 0, 0, 1].into()),
                server: Endpoint::Ip([10, 0, 0, 2].into()),
                protocol: Protocol::Tcp,
                port: 80 + number as u16,
                outcome: *outcome,
                reason: Unresolved::NotInInventory("10.0.0.2".to_owned()),
            };
            (flow, ViewEvidence::default())
        };
        let flows = outcomes.iter().enumerate().map(flow).collect();
        let graph = FlowGraph {
            unresolved: UnresolvedFlows {
                flows,
                beyond_bound,
            },
            ..FlowGraph::default()
        };
        let proposal = synthesise(&graph, &Cluster::default(), &Options::default());
        proposal.findings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&[], 0), [""; 0]);
    let attempts = "UnresolvedAttempts: 2 refused or unanswered flows of which an end cannot be told; no rule (`flows` lists \
                    them)";
    assert_eq!(
        told(&[Outcome::Refused, Outcome::Unanswered], 0),
        [attempts]
    );
    let beyond = "UnresolvedBeyondBound: 7 more records of such flows, too many to be told apart";
    assert_eq!(told(&[], 7), [beyond]);
    let listed = told(
        &[Outcome::Established, Outcome::Unknown, Outcome::Refused],
        0,
    );
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(
        listed[0].starts_with("Unresolved: 10.0.0.1 -> 10.0.0.2 TCP 80-81: "),
        "{listed:?}"
    );
}

/// What names one thing only still says why.
#[test]
fn findings_of_one_thing_say_why() {
    let edge = EdgeId {
        client: Peer::Node("gone".to_owned()),
        server: Peer::Workload(WorkloadName::new("n", "Deployment", "w")),
        protocol: Protocol::Tcp,
        port: 80,
    };
    assert_eq!(
        Finding::NodeGone { edge }.to_string(),
        "NodeGone: node gone -> n/Deployment/w TCP 80: the node has no address any more, so it makes no rule"
    );
    assert_eq!(
        Finding::NoResolver.to_string(),
        "NoResolver: DNS is to be allowed always, but no service of the inventory has a port named dns or dns-tcp"
    );
}

fn read_records(text: &str) -> Result<Vec<FlowRecord>, String> {
    let mut records = Vec::new();
    let read = flows::read(
        "flows.jsonl",
        text.as_bytes(),
        flows::BadLines::Fail,
        |record| {
            records.push(record);
        },
    );
    read.map_err(|error| error.to_string())?;
    Ok(records)
}
