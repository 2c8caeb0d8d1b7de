//! Policies have the fewest rules, then entries of peers, then entries of ports: judged by trying everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer};
use crate::policy::cluster::Workload;
use crate::policy::finding::Finding;
use crate::policy::model::PolicyPeer;
use crate::policy::{Cluster, Direction, Dns, Excess, Options, Policy, PortSpec, Rule, synthesise};

/// Whoever may be at the other end of the edges of `own/Deployment/w`, as clients or as servers.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
enum Other {
    Pods(&'static str, BTreeMap<&'static str, &'static str>),
    Address(IpAddr),
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(namespace, labels) => {
                let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
                write!(f, "{namespace}/{}", labels.collect::<Vec<_>>().join(","))
            }
            Self::Address(address) => write!(f, "{address}"),
        }
    }
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

/// What is proposed for the workload that is the server of all edges (ingress) or the client of all (egress), and how
/// far from the least it is said to be.
fn proposed(edges: &Edges, direction: Direction) -> (Policy, Excess) {
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
        let peer = match other {
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
        let own = Peer::Workload(own.clone());
        let (client, server) = match direction {
            Direction::Ingress => (peer, own),
            Direction::Egress => (own, peer),
        };
        let edge = EdgeId {
            client,
            server,
            protocol: *protocol,
            port: *port,
        };
        graph.edges.insert(edge.into(), established());
    }
    let options = Options {
        dns: Dns::Seen,
        ..Options::default()
    };
    let proposal = synthesise(&graph, &cluster, &options);
    let of_own = proposal.findings.iter().find_map(|finding| match finding {
        Finding::NotLeast {
            workload, excess, ..
        } if *workload == own => Some(*excess),
        _ => None,
    });
    let mut policies = proposal.policies.into_iter();
    let policy = policies.find(|policy| policy.workload == own);
    (policy.expect("a policy"), of_own.unwrap_or_default())
}

/// What both interfaces saw of an edge that was answered.
fn established() -> Evidence {
    let view = ViewEvidence {
        counts: Counts {
            established: 1,
            ..Counts::default()
        },
        ..ViewEvidence::default()
    };
    Evidence {
        client: Some(view.clone()),
        server: Some(view),
        ..Evidence::default()
    }
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

/// Random rules, more than any search goes through, and the edges that they allow: of many peers on many ports.
fn any_planted() -> impl Strategy<Value = (usize, Edges)> {
    let peers = prop::collection::btree_set(0usize..MANY, 2..12);
    let ports = prop::collection::btree_set(0u16..120, 1..12);
    prop::collection::vec((peers, ports), 8..24).prop_map(|rules| {
        let pairs = |(peers, ports): &(BTreeSet<usize>, BTreeSet<u16>)| {
            let ports = ports.clone();
            let each = peers.clone().into_iter();
            each.flat_map(move |peer| ports.clone().into_iter().map(move |port| (peer, port)))
                .collect::<Vec<_>>()
        };
        let edges = rules.iter().flat_map(pairs);
        let edge =
            |(peer, port): (usize, u16)| (many()[peer].clone(), (Protocol::Tcp, 8000 + 2 * port));
        (rules.len(), edges.map(edge).collect())
    })
}

/// How many peers there are in [`many`].
const MANY: usize = 60;

/// Pods of several namespaces, tiers and names, of which many make boxes, and some addresses.
fn many() -> Vec<Other> {
    let namespaces = ["own", "a", "b"];
    let values = ["u", "v", "w", "x"];
    let pods = namespaces.into_iter().flat_map(|namespace| {
        let two = values.into_iter().flat_map(move |name| {
            values.map(|tier| Other::Pods(namespace, [("name", name), ("tier", tier)].into()))
        });
        two.take(14)
    });
    let addresses = (0..18u8).map(|last| Other::Address([198, 51, 100, 2 * last].into()));
    pods.chain(addresses).collect()
}

/// Whether the rules of a policy in `own` allow an edge, read off the model.
fn allows(rules: &[Rule], other: &Other, (protocol, port): (Protocol, u16)) -> bool {
    let is_peer = |peer: &PolicyPeer| match (peer, other) {
        (PolicyPeer::Block(block), Other::Address(address)) => block.contains(address),
        (PolicyPeer::Pods { namespaces, pods }, Other::Pods(namespace, labels)) => {
            let mut keys = pods.iter();
            let own = || *namespace == "own";
            namespaces
                .as_ref()
                .map_or_else(own, |names| names.contains(namespace))
                && keys.all(|(key, values)| {
                    labels.get(key).is_some_and(|value| values.contains(value))
                })
        }
        _ => false,
    };
    let is_port =
        |spec: &PortSpec| spec.protocol == protocol && (spec.port..=spec.last()).contains(&port);
    let mut rules = rules.iter();
    rules.any(|rule| rule.peers.iter().any(is_peer) && rule.ports.iter().any(is_port))
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(&Direction::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// No other rules that allow exactly the edges are fewer, or as few with fewer entries.
    #[test]
    fn minimal(edges in any_edges(), direction in any_direction()) {
        let (policy, excess) = proposed(&edges, direction);
        let rules = policy.rules(direction);
        prop_assert_eq!(excess, Excess::default(), "nothing is cut off");
        prop_assert_eq!(cost(rules), least(&edges), "{:?}", rules);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    /// Where the search is cut off, the rules still allow exactly the edges, and are at most as far from the least as
    /// is told: rules that are known to do are no fewer than those which are told to be needed.
    #[test]
    fn the_bound_that_is_told_holds((planted, edges) in any_planted(), direction in any_direction()) {
        let (policy, excess) = proposed(&edges, direction);
        let rules = policy.rules(direction);
        prop_assert!(rules.len() - excess.rules <= planted, "{} less {:?} of {}", rules.len(), excess, planted);
        let ports: BTreeSet<(Protocol, u16)> = edges.iter().map(|(_, port)| *port).collect();
        for other in many() {
            for port in &ports {
                let seen = edges.contains(&(other.clone(), *port));
                prop_assert_eq!(allows(rules, &other, *port), seen, "{:?} on {:?}", other, port);
            }
        }
    }
}

/// More runs of ports than are searched at once: a rule for each peer, and what is told of the least is true.
#[test]
fn too_many_ports_to_search_are_a_rule_for_each_peer() {
    let peer = |last| Other::Address([198, 51, 100, last].into());
    let ports = 10_000..10_600u16;
    let pairs = ports.flat_map(|port| [1, 3, 5].map(|last| (last, port)));
    let edges: Edges = pairs
        .filter(|(last, port)| u16::from(last / 2) != port % 3)
        .map(|(last, port)| (peer(last), (Protocol::Tcp, port)))
        .collect();
    for direction in Direction::ALL {
        let (policy, excess) = proposed(&edges, direction);
        let rules = policy.rules(direction);
        assert_eq!((rules.len(), excess.rules), (3, 1));
        for port in 9_999..10_601 {
            for last in [1, 3, 5] {
                let edge = (peer(last), (Protocol::Tcp, port));
                assert_eq!(
                    allows(rules, &edge.0, edge.1),
                    edges.contains(&edge),
                    "{edge:?}"
                );
            }
        }
    }
}

/// More peers in one region than are searched at once: an entry for each, and what is told of the least is true.
#[test]
fn too_many_peers_to_search_are_an_entry_each() {
    let name = |number: u32| -> &'static str { Box::leak(format!("n{number}").into_boxed_str()) };
    let names: Vec<&'static str> = (0..40).map(name).collect();
    let mixed = |row: u32, column: u32| (30 * row + column + 1).wrapping_mul(2_654_435_761) >> 16;
    let is_there = |row, column| mixed(row, column) % 5 < 3;
    let all = (0..40u32).flat_map(|row| (0..30u32).map(move |column| (row, column)));
    let other = |(row, column): (u32, u32)| {
        let labels = [
            ("name", names[row as usize]),
            ("tier", names[column as usize]),
        ];
        Other::Pods("own", labels.into())
    };
    let (some, others): (Vec<_>, Vec<_>) = all.partition(|(row, column)| is_there(*row, *column));
    let edges: Edges = some
        .iter()
        .map(|place| (other(*place), (Protocol::Tcp, 80)))
        .collect();
    let (policy, excess) = proposed(&edges, Direction::Ingress);
    let rules = policy.rules(Direction::Ingress);
    assert_eq!((rules.len(), excess.rules), (1, 0));
    assert_eq!(rules[0].peers.len() - excess.peers, 1);
    for (places, allowed) in [(some, true), (others, false)] {
        for place in places {
            assert_eq!(
                allows(rules, &other(place), (Protocol::Tcp, 80)),
                allowed,
                "{place:?}"
            );
        }
    }
}
