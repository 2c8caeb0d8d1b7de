//! What comes of records: views, services, hairpins, repetition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol, View};
use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::{Builder, Evidence, FlowGraph, Resolve, Windows};
use crate::identity::{EdgeId, Mark, Peer, Resolution, Sighting, Unresolved};

/// The service that `api` and `old` back, and `web` itself where asked for.
const SERVICE: &str = "10.96.0.10";
/// A service that `web` alone and `api` back.
const OWN_SERVICE: &str = "10.96.0.11";
/// The bridge of node a.
const BRIDGE: &str = "10.1.0.1";

/// Three workloads on two nodes, and two services.
#[derive(Default)]
struct Cluster {
    nodes: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Resolve for Cluster {
    fn resolve(&self, sighting: &Sighting) -> Resolution {
        let (client, mark) = match &sighting.client {
            Endpoint::Ip(ip) if ip.to_string() == BRIDGE => {
                let mark = Mark {
                    own_node: true,
                    ..Mark::default()
                };
                (Peer::Node("a".to_owned()), mark)
            }
            Endpoint::Pod(pod) => (workload(&pod.name), Mark::default()),
            other => {
                return Resolution::Unresolved(Unresolved::NotInInventory(other.to_string()));
            }
        };
        let edge = |server: &str, mark: &Mark| {
            let id = EdgeId {
                client: client.clone(),
                server: workload(server),
                protocol: sighting.protocol,
                port: 8080,
            };
            (id, mark.clone())
        };
        let service = |name: &str, servers: [&str; 2]| {
            let mark = Mark {
                by_service: Some(ObjectName::new("shop", name)),
                ..Mark::default()
            };
            Resolution::Edges(servers.map(|server| edge(server, &mark)).to_vec())
        };
        match &sighting.server {
            Endpoint::Ip(ip) if ip.to_string() == SERVICE => service("api", ["api", "old"]),
            Endpoint::Ip(ip) if ip.to_string() == OWN_SERVICE => service("own", ["api", "web"]),
            Endpoint::Pod(pod) => Resolution::Edges(vec![edge(&pod.name, &mark)]),
            other => Resolution::Unresolved(Unresolved::NotInInventory(other.to_string())),
        }
    }

    fn nodes_of(&self, workload: &WorkloadName) -> BTreeSet<String> {
        self.nodes
            .get(workload.name.as_str())
            .cloned()
            .unwrap_or_default()
    }
}

fn workload(name: &str) -> Peer {
    Peer::Workload(WorkloadName::new("shop", "Deployment", name))
}

fn end(name: &str) -> Endpoint {
    name.parse().map_or_else(
        |_| Endpoint::Pod(ObjectName::new("shop", name)),
        Endpoint::Ip,
    )
}

fn record(client: &str, server: &str, view: Option<View>, outcome: Outcome) -> FlowRecord {
    FlowRecord {
        time: "2026-01-02T10:00:10Z".parse().ok(),
        client: end(client),
        server: end(server),
        protocol: Protocol::Tcp,
        port: 80,
        outcome,
        count: 5,
        last_seen: "2026-01-02T10:00:50Z".parse().ok(),
        view,
        by_service: None,
        observer: None,
        remote_node: None,
    }
}

fn graph(cluster: &Cluster, records: &[FlowRecord]) -> FlowGraph {
    let mut builder = Builder::default();
    records.iter().for_each(|r| builder.add(cluster, r));
    builder.finish(cluster)
}

/// What a graph says, in short: an edge, and who saw it how often answered, and by which services.
fn short(graph: &FlowGraph) -> Vec<String> {
    let count = |evidence: &Evidence, view| {
        let seen = evidence.view(view);
        seen.map_or("-".to_owned(), |seen| seen.counts.established.to_string())
    };
    let line = |(id, evidence): (&Arc<EdgeId>, &Evidence)| {
        let (client, server) = (count(evidence, View::Client), count(evidence, View::Server));
        let by: Vec<_> = evidence
            .by_service
            .iter()
            .map(|s| s.name.as_str())
            .collect();
        let (from, to) = (name(&id.client), name(&id.server));
        format!("{from}>{to} {client}/{server} {}", by.join(","))
            .trim_end()
            .to_owned()
    };
    graph.edges.iter().map(line).collect()
}

fn name(peer: &Peer) -> String {
    match peer {
        Peer::Workload(workload) => workload.name.clone(),
        other => other.to_string(),
    }
}

const SEEN: Outcome = Outcome::Established;
const CLIENT: Option<View> = Some(View::Client);
const SERVER: Option<View> = Some(View::Server);

#[test]
fn views_are_never_added_up() {
    let records = [
        record("web", "api", CLIENT, SEEN),
        record("web", "api", CLIENT, SEEN),
        record("web", "api", SERVER, SEEN),
        record("api", "old", None, SEEN),
    ];
    let graph = graph(&Cluster::default(), &records);
    assert_eq!(short(&graph), ["api>old 5/5", "web>api 10/5"]);
}

#[test]
fn the_servers_view_tells_which_backend_it_was() {
    let by_service = record("web", SERVICE, CLIENT, SEEN);
    let api = record("web", "api", SERVER, SEEN);
    let elsewhere = record("old", "api", CLIENT, SEEN);
    let records = [by_service, api, elsewhere];
    let graph = graph(&Cluster::default(), &records);
    assert_eq!(short(&graph), ["old>api 5/-", "web>api 5/5"]);
}

#[test]
fn a_backend_that_nobody_watched_stays_possible() {
    let records = [
        record("web", SERVICE, CLIENT, SEEN),
        record("web", "api", SERVER, SEEN),
    ];
    let graph = graph(&Cluster::default(), &records);
    assert_eq!(short(&graph), ["web>api 5/5", "web>old 5/- api"]);
}

#[test]
fn a_backend_is_watched_if_all_its_nodes_are() {
    let mut records = [
        record("web", SERVICE, CLIENT, SEEN),
        record("web", "api", SERVER, SEEN),
    ];
    records[1].observer = Some("a".to_owned());
    let on = |nodes: &[&str]| Cluster {
        nodes: [("old", nodes.iter().map(ToString::to_string).collect())].into(),
    };
    assert_eq!(short(&graph(&on(&["a"]), &records)), ["web>api 5/5"]);
    assert_eq!(
        short(&graph(&on(&["a", "b"]), &records)),
        ["web>api 5/5", "web>old 5/- api"]
    );
}

#[test]
fn an_edge_that_no_server_confirms_is_not_lost() {
    let records = [
        record("web", SERVICE, CLIENT, SEEN),
        record("api", "old", None, SEEN),
    ];
    let graph = graph(&Cluster::default(), &records);
    assert_eq!(
        short(&graph),
        ["api>old 5/5", "web>api 5/- api", "web>old 5/- api"]
    );
}

#[test]
fn a_backend_is_not_ruled_out_by_what_it_saw_of_others() {
    let records = [
        record("web", SERVICE, CLIENT, SEEN),
        record("old", "api", SERVER, SEEN),
    ];
    let graph = graph(&Cluster::default(), &records);
    assert_eq!(
        short(&graph),
        ["old>api -/5", "web>api 5/- api", "web>old 5/- api"]
    );
}

#[test]
fn each_outcome_goes_to_the_backend_that_shows_it() {
    let records = [
        record("web", SERVICE, CLIENT, SEEN),
        record("web", SERVICE, CLIENT, Outcome::Refused),
        record("web", "api", SERVER, SEEN),
        record("web", "old", SERVER, Outcome::Refused),
    ];
    let graph = graph(&Cluster::default(), &records);
    let refused = |to: &str| {
        let edges = graph.edges.iter();
        let mut ours = edges.filter(|(id, _)| id.server == workload(to));
        ours.next()
            .and_then(|(_, evidence)| evidence.client.as_ref())
            .map(|seen| (seen.counts.established, seen.counts.refused))
    };
    assert_eq!(
        (refused("api"), refused("old")),
        (Some((5, 0)), Some((0, 5)))
    );
}

#[test]
fn a_pod_that_reaches_itself_is_itself_and_its_node() {
    let records = [
        record("web", OWN_SERVICE, CLIENT, SEEN),
        record(BRIDGE, "web", SERVER, SEEN),
        record("web", "api", SERVER, SEEN),
    ];
    let graph = graph(&Cluster::default(), &records);
    assert_eq!(
        short(&graph),
        ["web>api 5/5", "web>web 5/5", "node a>web -/5"]
    );
    let own: Vec<bool> = graph.edges.values().map(|e| e.own_node).collect();
    assert_eq!(own, [false, false, true]);
}

#[test]
fn one_way_datagrams_repeat_in_two_separate_minutes() {
    let mut first = record("web", "api", CLIENT, Outcome::OneWay);
    first.protocol = Protocol::Udp;
    let mut later = first.clone();
    later.time = "2026-01-02T10:01:00Z".parse().ok();
    later.last_seen = None;
    let mut timeless = first.clone();
    (timeless.time, timeless.last_seen) = (None, None);
    let mut other = later.clone();
    other.outcome = Outcome::Refused;
    let repeated = |records: &[FlowRecord]| {
        let graph = graph(&Cluster::default(), records);
        graph
            .edges
            .values()
            .any(|e| e.client.as_ref().is_some_and(|seen| seen.repeated))
    };
    assert!(!repeated(&[first.clone(), first.clone()]));
    assert!(!repeated(&[timeless.clone(), timeless]));
    assert!(!repeated(&[first.clone(), other]));
    assert!(repeated(&[first, later]));
}

#[test]
fn a_record_marks_the_windows_of_its_ends_and_no_others() {
    let seen = FlowRecord {
        last_seen: "2026-01-02T14:10:00Z".parse().ok(),
        ..record("web", "api", CLIENT, SEEN)
    };
    let refused = FlowRecord {
        time: "2026-01-02T09:00:00Z".parse().ok(),
        ..record("web", "api", CLIENT, Outcome::Refused)
    };
    let graph = graph(&Cluster::default(), &[seen, refused.clone()]);
    let view = graph.edges.values().next().and_then(|e| e.client.as_ref());
    let windows: Vec<u32> = view.unwrap().windows.iter().collect();
    let ten = Windows::of("2026-01-02T10:00:00Z".parse().unwrap());
    assert_eq!(windows, [ten, ten + 4]);
    let last = "2026-01-02T14:10:00Z".parse().unwrap();
    assert_eq!(graph.recorded, refused.time.zip(Some(last)));
}

#[test]
fn an_open_connection_makes_an_edge() {
    let mut open = record("web", "api", CLIENT, SEEN);
    open.count = 0;
    let mut nothing = record("web", "old", CLIENT, Outcome::Refused);
    nothing.count = 0;
    let graph = graph(&Cluster::default(), &[open.clone(), open, nothing]);
    assert_eq!(short(&graph), ["web>api 1/-"]);
}

#[test]
fn nothing_answered_is_unanswered_but_for_datagrams() {
    let graph = graph(
        &Cluster::default(),
        &[record("web", "api", CLIENT, Outcome::OneWay)],
    );
    let seen = graph.edges.values().next().and_then(|e| e.client.as_ref());
    let counts = seen.map(|seen| (seen.counts.one_way, seen.counts.unanswered));
    assert_eq!(counts, Some((0, 5)));
}

#[test]
fn unresolved_flows_are_kept_with_their_reason_up_to_a_bound() {
    let mut records = vec![record("web", "192.0.2.1", CLIENT, SEEN); 2];
    for number in 0..10_500_u32 {
        let address = format!("2001:db8::{:x}:{:x}", number >> 8, number & 0xff);
        records.push(record("web", &address, CLIENT, SEEN));
    }
    let unresolved = graph(&Cluster::default(), &records).unresolved;
    let (flow, seen) = unresolved.flows.iter().next().unwrap();
    assert_eq!(
        flow.reason,
        Unresolved::NotInInventory("192.0.2.1".to_owned())
    );
    assert_eq!(seen.counts.established, 10);
    assert_eq!(
        (unresolved.flows.len(), unresolved.beyond_bound),
        (10_000, 501)
    );
}

fn any_record() -> impl Strategy<Value = FlowRecord> {
    let client = prop::sample::select(vec!["web", "api", BRIDGE, "192.0.2.1"]);
    let server = prop::sample::select(vec!["web", "api", "old", SERVICE, OWN_SERVICE]);
    let view = prop::sample::select(vec![CLIENT, SERVER, None]);
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    let protocol = prop::sample::select(Protocol::ALL.to_vec());
    (client, server, view, outcome, protocol, 0..4_u64).prop_map(
        |(client, server, view, outcome, protocol, count)| FlowRecord {
            protocol,
            count,
            ..record(client, server, view, outcome)
        },
    )
}

proptest! {
    #[test]
    fn the_order_of_records_changes_nothing(
        records in prop::collection::vec(any_record(), 0..30),
        swaps in prop::collection::vec(any::<(Pick, Pick)>(), 0..30),
    ) {
        let straight = graph(&Cluster::default(), &records);
        let mut shuffled = records.clone();
        for (one, other) in swaps.iter().filter(|_| !records.is_empty()) {
            shuffled.swap(one.index(records.len()), other.index(records.len()));
        }
        prop_assert_eq!(straight, graph(&Cluster::default(), &shuffled));
    }

    #[test]
    fn no_answered_client_is_lost(records in prop::collection::vec(any_record(), 0..30)) {
        let graph = graph(&Cluster::default(), &records);
        for record in records.iter().filter(|r| r.outcome == SEEN && r.view != SERVER) {
            let Resolution::Edges(edges) = Cluster::default().resolve(&Sighting {
                client: record.client.clone(),
                server: record.server.clone(),
                protocol: record.protocol,
                port: record.port,
                span: None,
                view: record.view,
            }) else { continue };
            let seen = |id: &EdgeId| graph.edges.get(id)
                .and_then(|e| e.client.as_ref())
                .is_some_and(|seen| seen.counts.established > 0);
            prop_assert!(edges.iter().any(|(id, _)| seen(id)));
        }
    }
}
