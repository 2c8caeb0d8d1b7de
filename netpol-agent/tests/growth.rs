//! How the time that synthesis takes grows.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use netpol_agent::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use netpol_agent::identity::objects::Labels;
use netpol_agent::identity::{EdgeId, Peer};
use netpol_agent::policy::cluster::Workload;
use netpol_agent::policy::{Cluster, Options, OptionsFor, Synthesiser};
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

fn deployment(name: &str) -> WorkloadName {
    WorkloadName::new("shop", "Deployment", name)
}

fn cluster(names: &[&str]) -> Cluster {
    let workload = |name: &&str| {
        let labels: Labels = [("app".to_owned(), (*name).to_owned())].into();
        let workload = Workload {
            selector: labels.clone(),
            label_sets: BTreeSet::from([labels]),
            ..Workload::default()
        };
        (deployment(name), workload)
    };
    Cluster {
        workloads: names.iter().map(workload).collect(),
        ..Cluster::default()
    }
}

/// Edges from `web` to `api`, one for each port.
fn graph(ports: u16) -> FlowGraph {
    let established = Some(ViewEvidence {
        counts: Counts {
            established: 1,
            ..Counts::default()
        },
        ..ViewEvidence::default()
    });
    let evidence = Evidence {
        client: established.clone(),
        server: established,
        ..Evidence::default()
    };
    let edge = |port| EdgeId {
        client: Peer::Workload(deployment("web")),
        server: Peer::Workload(deployment("api")),
        protocol: Protocol::Tcp,
        port,
    };
    let edges = (1..=ports).map(|port| (edge(port).into(), evidence.clone()));
    FlowGraph {
        edges: edges.collect(),
        ..FlowGraph::default()
    }
}

/// What is asked of each of many workloads is not looked through again with every edge.
#[test]
fn many_options_make_no_edge_slower() {
    let (cluster, graph) = (cluster(&["api", "web"]), graph(2_000));
    let took = |others: usize| {
        let others = (0..others).map(|number| deployment(&format!("other-{number}")));
        let options = OptionsFor {
            workloads: others.map(|name| (name, Options::default())).collect(),
            ..OptionsFor::default()
        };
        let once = |_| {
            let begin = Instant::now();
            let (cluster, options) = (Cow::Borrowed(&cluster), Cow::Borrowed(&options));
            Synthesiser::new(cluster, options).learn_all(&graph);
            begin.elapsed()
        };
        (0..3).map(once).min().unwrap_or_default()
    };
    let (few, many) = (took(1), took(20_000));
    let most = 5 * few + Duration::from_millis(300);
    assert!(many < most, "{many:?} instead of {few:?}");
}
