//! Policies have the fewest rules, then entries of peers, then entries of ports: judged by trying everything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer};
use crate::policy::cluster::Workload;
use crate::policy::{Cluster, Dns, Options, Policy, Rule, synthesise};

/// Whoever may be at the other end of the edges of `own/Deployment/w`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Other {
    Pods(&'static str, BTreeMap<&'static str, &'static str>),
    Address(IpAddr),
}

type Edges = BTreeSet<(Other, (Protocol, u16))>;

/// Rules, entries of peers, entries of ports.
type Cost = (usize, usize, usize);

/// The most edges that everything is tried with.
const MOST: usize = 14;

fn any_edges() -> impl Strategy<Value = Edges> {
    let others = prop::collection::btree_set(any_other(), 1..6);
    let ports = prop::collection::btree_set(any_port(), 1..5);
    (others, ports).prop_flat_map(|(others, ports)| {
        let all: Vec<_> = others
            .iter()
            .flat_map(|other| ports.iter().map(move |port| (other.clone(), *port)))
            .collect();
        let most = all.len().min(MOST);
        prop::sample::subsequence(all, 1..=most).prop_map(|edges| edges.into_iter().collect())
    })
}

fn any_other() -> impl Strategy<Value = Other> {
    let namespace = || prop::sample::select(&["own", "a", "b"][..]);
    let value = || prop::sample::select(&["x", "y", "z"][..]);
    let one_key = (namespace(), value())
        .prop_map(|(namespace, app)| Other::Pods(namespace, [("app", app)].into()));
    let two_keys = (namespace(), value(), value()).prop_map(|(namespace, name, tier)| {
        Other::Pods(namespace, [("name", name), ("tier", tier)].into())
    });
    let address = (0u8..6).prop_map(|last| Other::Address([198, 51, 100, last].into()));
    prop_oneof![2 => one_key, 2 => two_keys, 2 => address]
}

fn any_port() -> impl Strategy<Value = (Protocol, u16)> {
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    (protocol, 80u16..86)
}

/// What is proposed for the workload that is the server of all edges, and that nothing is said to be cut off.
fn proposed(edges: &Edges) -> Policy {
    let own = WorkloadName::new("own", "Deployment", "w");
    let mut cluster = Cluster::default();
    let mut workload = |name: &WorkloadName, labels: &Labels| {
        let workload = Workload {
            selector: labels.clone(),
            label_sets: [labels.clone()].into(),
            ..Workload::default()
        };
        cluster.workloads.insert(name.clone(), workload);
    };
    workload(&own, &[("own".to_owned(), "w".to_owned())].into());
    let mut graph = FlowGraph::default();
    for (other, (protocol, port)) in edges {
        let client = match other {
            Other::Address(address) => Peer::External(*address),
            Other::Pods(namespace, labels) => {
                let values: Vec<&str> = labels
                    .iter()
                    .flat_map(|(key, value)| [*key, *value])
                    .collect();
                let name = WorkloadName::new(*namespace, "Deployment", values.join("-"));
                let labels = labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
                workload(&name, &labels.collect());
                Peer::Workload(name)
            }
        };
        let edge = EdgeId {
            client,
            server: Peer::Workload(own.clone()),
            protocol: *protocol,
            port: *port,
        };
        let view = ViewEvidence {
            counts: Counts {
                established: 1,
                ..Counts::default()
            },
            ..ViewEvidence::default()
        };
        let evidence = Evidence {
            server: Some(view),
            ..Evidence::default()
        };
        graph.edges.insert(edge, evidence);
    }
    let options = Options {
        dns: Dns::Seen,
        ..Options::default()
    };
    let proposal = synthesise(&graph, &cluster, &options);
    let cut_off = proposal
        .findings
        .iter()
        .find(|finding| finding.word() == "NotLeast");
    assert_eq!(cut_off, None);
    let mut policies = proposal.policies.into_iter();
    policies
        .find(|policy| policy.workload == own)
        .expect("a policy")
}

fn cost(rules: &[Rule]) -> Cost {
    (
        rules.len(),
        rules.iter().map(|rule| rule.peers.len()).sum(),
        rules.iter().map(|rule| rule.ports.len()).sum(),
    )
}

/// The least cost of all sets of rules: of more and more edges, each time with the first that is not yet allowed.
fn least(edges: &Edges) -> Cost {
    let others: Vec<&Other> = edges
        .iter()
        .map(|(other, _)| other)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let ports: Vec<(Protocol, u16)> = edges
        .iter()
        .map(|(_, port)| *port)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut rules: Vec<(usize, Cost)> = Vec::new();
    for some in subsets(&others) {
        let entries = fewest_entries(&some);
        for ports in subsets(&ports) {
            let is_in = |other: &Other, port| edges.contains(&(other.clone(), port));
            if some
                .iter()
                .all(|other| ports.iter().all(|port| is_in(other, *port)))
            {
                let held = edges
                    .iter()
                    .map(|(other, port)| some.contains(&other) && ports.contains(port));
                let mask = held
                    .enumerate()
                    .fold(0, |mask, (place, held)| mask | usize::from(held) << place);
                rules.push((mask, (1, entries, runs(&ports))));
            }
        }
    }
    let mut known: BTreeMap<usize, Cost> = BTreeMap::from([(0, (0, 0, 0))]);
    loop {
        let (allowed, cost) = known.pop_first().expect("single edges allow everything");
        if allowed.count_ones() as usize == edges.len() {
            return cost;
        }
        let next = 1 << (!allowed).trailing_zeros();
        for (mask, more) in rules.iter().filter(|(mask, _)| mask & next != 0) {
            let total = (cost.0 + more.0, cost.1 + more.1, cost.2 + more.2);
            let entry = known.entry(allowed | mask).or_insert(total);
            *entry = total.min(*entry);
        }
    }
}

fn subsets<T: Copy>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    (1..1usize << all.len()).map(|chosen| {
        let numbered = all.iter().enumerate();
        let chosen = numbered.filter(|(place, _)| chosen >> place & 1 == 1);
        chosen.map(|(_, one)| *one).collect()
    })
}

/// The fewest entries that stand for exactly these.
fn fewest_entries(others: &[&Other]) -> usize {
    let mut fewest = vec![0];
    for chosen in 1..1usize << others.len() {
        let within = |entry: &usize| {
            entry & !chosen == 0 && {
                let members = others
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| entry >> place & 1 == 1);
                is_entry(&members.map(|(_, other)| *other).collect::<Vec<_>>())
            }
        };
        let first = 1 << chosen.trailing_zeros();
        let entries = (1..=chosen)
            .filter(|entry| entry & first != 0)
            .filter(within);
        // What an entry shares with the rest need not be covered again, so that entries may overlap.
        let least = entries.map(|entry| {
            let rest = chosen & !entry;
            let with_overlap =
                (0..fewest.len()).filter(|more| more & !chosen == 0 && rest & !more == 0);
            1 + with_overlap
                .map(|more| fewest[more])
                .min()
                .unwrap_or(usize::MAX - 1)
        });
        let least = least.min().expect("an entry for each");
        fewest.push(least);
    }
    fewest[fewest.len() - 1]
}

/// Whether one entry can stand for exactly these: all addresses of a block, or every combination of the namespaces
/// and values that occur, of the same keys.
fn is_entry(others: &[&Other]) -> bool {
    let mut addresses: Vec<u32> = Vec::new();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for other in others {
        match other {
            Other::Address(IpAddr::V4(address)) => addresses.push((*address).into()),
            Other::Address(IpAddr::V6(_)) => return false,
            Other::Pods(namespace, labels) => {
                keys.insert(labels.keys().collect::<Vec<_>>());
                values.entry("").or_default().insert(namespace);
                labels
                    .iter()
                    .for_each(|(key, value)| values.entry(key).or_default().extend([value]));
            }
        }
    }
    if addresses.is_empty() {
        return keys.len() == 1
            && values.values().map(BTreeSet::len).product::<usize>() == others.len();
    }
    let size = addresses.len() as u32;
    let first = addresses.iter().min().copied().unwrap_or_default();
    let together = addresses.iter().all(|address| address - first < size);
    keys.is_empty() && size.is_power_of_two() && first.is_multiple_of(size) && together
}

/// How many unbroken runs some ports are.
fn runs(ports: &[(Protocol, u16)]) -> usize {
    let starts = |(protocol, port): &&(Protocol, u16)| !ports.contains(&(*protocol, port - 1));
    ports.iter().filter(starts).count()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// No other rules that allow exactly the edges are fewer, or as few with fewer entries.
    #[test]
    fn minimal(edges in any_edges()) {
        let policy = proposed(&edges);
        prop_assert_eq!(cost(&policy.ingress), least(&edges), "{:?}", policy.ingress);
    }
}
