//! Small clusters by hand: what is too rare among random ones, and what is only said.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use crate::graph::{Counts, Evidence, FlowGraph, ViewEvidence};
use crate::identity::objects::Labels;
use crate::identity::{EdgeId, Peer};
use crate::policy::cluster::Workload;
use crate::policy::finding::Finding;
use crate::policy::model::{Basis, PolicyPeer};
use crate::policy::options::{OneWay, OptionsFor, Peers, Ranges, RejectedEdge};
use crate::policy::{
    Cluster, Direction, Dns, Options, Policy, Proposal, Synthesis, Synthesiser, Widening,
    synthesise, synthesise_for,
};

/// Deployments of one namespace, each selected by its name.
pub(super) fn cluster(names: &[&str]) -> Cluster {
    let workload = |name: &&str| {
        let labels: Labels = [("app".to_owned(), (*name).to_owned())].into();
        let workload = Workload {
            selector: labels.clone(),
            label_sets: [labels].into(),
            ..Workload::default()
        };
        (deployment(name), workload)
    };
    Cluster {
        workloads: names.iter().map(workload).collect(),
        resolvers: [(deployment("dns"), 53)].into(),
        ..Cluster::default()
    }
}

pub(super) fn deployment(name: &str) -> WorkloadName {
    WorkloadName::new("n", "Deployment", name)
}

/// An edge that both ends saw established in an hour.
pub(super) fn seen(client: &str, server: &str, port: u16, hour: u32) -> (EdgeId, Evidence) {
    let edge = EdgeId {
        client: Peer::Workload(deployment(client)),
        server: Peer::Workload(deployment(server)),
        protocol: Protocol::Tcp,
        port,
    };
    let mut view = ViewEvidence::default();
    view.counts.established = 1;
    view.windows.insert(hour);
    let evidence = Evidence {
        client: Some(view.clone()),
        server: Some(view),
        ..Evidence::default()
    };
    (edge, evidence)
}

fn names(names: &[&str]) -> BTreeSet<WorkloadName> {
    names.iter().map(|name| deployment(name)).collect()
}

pub(super) fn always() -> Options {
    Options {
        dns: Dns::Always,
        ..Options::default()
    }
}

pub(super) fn graph(edges: &[(&str, &str, u16)]) -> FlowGraph {
    let edges = edges.iter();
    FlowGraph {
        edges: edges
            .map(|(client, server, port)| seen(client, server, *port, 1))
            .map(|(edge, evidence)| (edge.into(), evidence))
            .collect(),
        ..FlowGraph::default()
    }
}

/// The peers and ports of a workload's egress rules.
pub(super) fn egress(
    proposal: &Proposal,
    name: &str,
) -> Option<Vec<(Vec<PolicyPeer>, Vec<String>)>> {
    let mut policies = proposal.policies.iter();
    let policy = policies.find(|policy| policy.workload == deployment(name))?;
    let rules = policy.egress.iter();
    let rules = rules.map(|rule| {
        let ports = rule.ports.iter().map(ToString::to_string);
        (rule.peers.clone(), ports.collect())
    });
    Some(rules.collect())
}

/// A resolver that no selector matches is left out and told, and hinders nobody.
#[test]
fn an_unselectable_resolver_is_no_resolver() {
    let mut cluster = cluster(&["api", "dns", "web"]);
    let dns = cluster
        .workloads
        .get_mut(&deployment("dns"))
        .expect("it is there");
    dns.label_sets.clear();
    dns.selector.clear();
    let proposal = synthesise(&graph(&[("web", "api", 80)]), &cluster, &always());
    let rules = egress(&proposal, "web").expect("a policy");
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert_eq!(rules[0].1, ["TCP 80"]);
    let words: BTreeSet<&str> = proposal.findings.iter().map(Finding::word).collect();
    assert!(
        words.contains("NoResolver") && words.contains("Unselectable"),
        "{words:?}"
    );
}

/// A resolver on its node's network needs no label: it stands as its node's addresses.
#[test]
fn a_resolver_on_its_nodes_network_is_addresses() {
    let mut cluster = cluster(&["api", "dns", "web"]);
    let dns = cluster
        .workloads
        .get_mut(&deployment("dns"))
        .expect("it is there");
    (dns.host_network, dns.nodes) = (true, ["one".to_owned()].into());
    dns.label_sets.clear();
    dns.selector.clear();
    cluster.nodes = [("one".to_owned(), [IpAddr::from([192, 0, 2, 1])].into())].into();
    let proposal = synthesise(&graph(&[("web", "api", 80)]), &cluster, &always());
    let rules = egress(&proposal, "web").expect("a policy");
    let block = PolicyPeer::Block("192.0.2.1/32".parse().unwrap());
    let ports = vec!["TCP 53".to_owned(), "UDP 53".to_owned()];
    assert!(rules.contains(&(vec![block], ports)), "{rules:?}");
    assert!(
        !proposal
            .findings
            .iter()
            .any(|finding| finding.word() == "NoResolver")
    );
}

/// Edges that were not established are counted, each once, and nothing is said if there is none.
#[test]
fn what_was_not_established_is_counted() {
    let cluster = cluster(&["api", "db", "web"]);
    let counted = |refused: &[(&str, &str, u16)]| {
        let mut graph = graph(&[("web", "api", 80)]);
        for (client, server, port) in refused {
            let (edge, mut evidence) = seen(client, server, *port, 1);
            for view in [&mut evidence.client, &mut evidence.server] {
                let view = view.as_mut().expect("both saw it");
                (view.counts.established, view.counts.refused) = (0, 1);
            }
            graph.edges.insert(edge.into(), evidence);
        }
        let proposal = synthesise(&graph, &cluster, &Options::default());
        proposal
            .findings
            .into_iter()
            .find_map(|finding| match finding {
                Finding::NotEstablished { edges } => Some(edges),
                _ => None,
            })
    };
    assert_eq!(counted(&[]), None);
    assert_eq!(counted(&[("web", "db", 1)]), Some(1));
    assert_eq!(
        counted(&[("web", "db", 1), ("db", "api", 2), ("web", "api", 3)]),
        Some(3)
    );
}

/// What one end makes a rule of is not counted at the other end, whose options differ.
#[test]
fn what_only_the_other_end_makes_a_rule_of_is_not_counted() {
    let cluster = cluster(&["api", "web"]);
    let (mut edge, mut evidence) = seen("web", "api", 90, 1);
    edge.protocol = Protocol::Udp;
    let counts = |established, refused, one_way| Counts {
        established,
        refused,
        one_way,
        ..Counts::default()
    };
    evidence.client.as_mut().expect("a view").counts = counts(0, 1, 0);
    evidence.server.as_mut().expect("a view").counts = counts(0, 0, 1);
    let edges = FlowGraph {
        edges: [(edge.into(), evidence)].into(),
        ..FlowGraph::default()
    };
    let of = |asking: &str| {
        let asking = (
            deployment(asking),
            Options {
                one_way: OneWay::Always,
                ..Options::default()
            },
        );
        let never = Options {
            one_way: OneWay::Never,
            ..Options::default()
        };
        let options = OptionsFor {
            workloads: [asking].into(),
            ..never.into()
        };
        let proposal = synthesise_for(&edges, &cluster, &options);
        let words = proposal.findings.iter().map(Finding::word);
        let counted = words.filter(|word| *word == "NotEstablished").count();
        (proposal.policies.len(), counted)
    };
    assert_eq!(of("api"), (1, 0), "the server learns it");
    assert_eq!(of("web"), (0, 1), "nobody learns it");
}

/// Relations that are too large to be searched, of which the least cover is forced, so that nothing is told of it.
#[test]
fn a_large_cover_that_is_forced_is_the_least() {
    // A port for each of 64 peers, and others with two or three ports in a row of them.
    let names: Vec<String> = (0..3 * 64).map(|number| format!("c{number:03}")).collect();
    let mut edges: Vec<(&str, &str, u16)> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let (first, more) = (number % 64, number / 64);
        let ports = first..=(first + more).min(63);
        edges.extend(ports.map(|port| (name.as_str(), "api", 2 * port as u16 + 1)));
    }
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("api");
    let options = Options {
        dns: Dns::Seen,
        ..Options::default()
    };
    let proposal = synthesise(&graph(&edges), &cluster(&all), &options);
    let of_api = |policy: &&Policy| policy.workload == deployment("api");
    let api = proposal.policies.iter().find(of_api).expect("a policy");
    let entries: Vec<(usize, usize)> = (api.ingress.iter())
        .map(|rule| (rule.peers.len(), rule.ports.len()))
        .collect();
    assert_eq!(entries, [(1, 1); 64]);
    let words: BTreeSet<&str> = proposal.findings.iter().map(Finding::word).collect();
    assert!(!words.contains("NotLeast"), "{words:?}");
}

/// The rejected edges that a proposal says are allowed all the same, each with whose policy allows it.
fn still_allowed(proposal: &Proposal) -> Vec<(&WorkloadName, Direction, &EdgeId)> {
    let still = proposal
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::RejectedStillAllowed {
                workload,
                direction,
                edge,
            } => Some((workload, *direction, edge)),
            _ => None,
        });
    still.collect()
}

/// A rejected edge that a wider rule holds all the same is told; one on a port that no rule has is not.
#[test]
fn a_rejected_edge_that_a_wider_rule_holds_is_told() {
    let cluster = cluster(&["api", "db", "web"]);
    let udp = EdgeId {
        protocol: Protocol::Udp,
        ..seen("web", "api", 80, 1).0
    };
    let (held, other) = (seen("web", "api", 80, 1).0, seen("web", "api", 81, 1).0);
    let rejected = [&held, &other, &udp].map(|edge| RejectedEdge(edge.clone()));
    let mut edges = graph(&[
        ("web", "api", 80),
        ("web", "api", 81),
        ("db", "api", 80),
        ("web", "db", 9),
    ]);
    edges
        .edges
        .insert(udp.clone().into(), seen("web", "api", 80, 1).1);
    for (peers, expected) in [
        (
            Peers::Namespace,
            &[(&deployment("api"), Direction::Ingress, &held)][..],
        ),
        (Peers::Workload, &[]),
    ] {
        let options = Options {
            peers,
            reject: rejected.clone().into(),
            ..Options::default()
        };
        let proposal = synthesise(&edges, &cluster, &options);
        assert_eq!(still_allowed(&proposal), expected, "{peers:?}");
    }
}

/// A workload's edge with somebody else.
pub(super) fn with(client: Peer, server: Peer) -> EdgeId {
    EdgeId {
        client,
        server,
        protocol: Protocol::Tcp,
        port: 443,
    }
}

/// A graph of edges, each with evidence that both ends saw them established, but for what `change` makes of it.
pub(super) fn changed(edges: &[EdgeId], change: impl Fn(&mut Evidence)) -> FlowGraph {
    let edges = edges.iter().map(|edge| {
        let mut evidence = seen("web", "api", 80, 1).1;
        change(&mut evidence);
        (edge.clone().into(), evidence)
    });
    FlowGraph {
        edges: edges.collect(),
        ..FlowGraph::default()
    }
}

/// A rejected address within a block that is written instead of others is told, one beside it is not.
#[test]
fn a_rejected_address_in_a_wider_block_is_told() {
    let web = || Peer::Workload(deployment("web"));
    let to = |last: u8| with(web(), Peer::External(IpAddr::from([203, 0, 113, last])));
    let edges = [to(7), to(9), to(200)];
    let options = Options {
        cidr_groups: [(
            "near".to_owned(),
            ["203.0.113.0/25".parse().unwrap()].into(),
        )]
        .into(),
        reject: [to(7), to(200)].map(RejectedEdge).into(),
        ..Options::default()
    };
    let proposal = synthesise(&changed(&edges, |_| {}), &cluster(&["web"]), &options);
    let expected = [(&deployment("web"), Direction::Egress, &to(7))];
    assert_eq!(still_allowed(&proposal), expected);
}

/// What a node's port stands for is told of its clients, and that a client is unseen of its servers.
#[test]
fn ports_of_nodes_and_unseen_clients_are_told_at_the_end_that_they_concern() {
    let web = || Peer::Workload(deployment("web"));
    let outside = || Peer::External(IpAddr::from([203, 0, 113, 7]));
    let edges = [with(web(), outside()), with(outside(), web())];
    let edges = changed(&edges, |evidence| {
        (evidence.by_node_port, evidence.real_client_unseen) = (true, true);
    });
    let proposal = synthesise(&edges, &cluster(&["web"]), &Options::default());
    let node_port = Finding::NodePort {
        edge: with(web(), outside()),
    };
    let unseen = Finding::RealClientUnseen {
        edge: with(outside(), web()),
    };
    let told = |word: &str| -> Vec<&Finding> {
        let findings = proposal.findings.iter();
        findings.filter(|finding| finding.word() == word).collect()
    };
    assert_eq!(told("NodePort"), [&node_port]);
    assert_eq!(told("RealClientUnseen"), [&unseen]);
}

/// More external addresses than a person wants to read are told, as many are not; what is written as blocks does not count.
#[test]
fn too_many_external_addresses_are_told() {
    let web = || Peer::Workload(deployment("web"));
    let to = |last: u8| with(web(), Peer::External(IpAddr::from([203, 0, 113, last])));
    let edges: Vec<EdgeId> = (1..=3).map(to).collect();
    let edges = changed(&edges, |_| {});
    let crowds = |limit, group: &str| {
        let options = Options {
            external_addresses: limit,
            cidr_groups: [("near".to_owned(), [group.parse().unwrap()].into())].into(),
            ..Options::default()
        };
        let proposal = synthesise(&edges, &cluster(&["web"]), &options);
        let words = proposal.findings.iter().map(Finding::word);
        words.filter(|word| *word == "NeedsWidening").count()
    };
    let elsewhere = "192.0.2.0/24";
    assert_eq!([crowds(2, elsewhere), crowds(3, elsewhere)], [1, 0]);
    assert_eq!(crowds(2, "203.0.113.0/24"), 0);
}

/// DNS that is always allowed rests on the edge that was seen, where it was.
#[test]
fn dns_that_was_seen_is_not_said_to_be_unseen() {
    let cluster = cluster(&["dns", "web"]);
    let (mut edge, evidence) = seen("web", "dns", 53, 1);
    edge.protocol = Protocol::Udp;
    let edges = FlowGraph {
        edges: [(edge.into(), evidence)].into(),
        ..FlowGraph::default()
    };
    let proposal = synthesise(&edges, &cluster, &always());
    for policy in &proposal.policies {
        let rules = policy.egress.iter().chain(&policy.ingress);
        let rests: Vec<(Protocol, Basis)> = rules
            .flat_map(|rule| &rule.evidence)
            .map(|support| (support.edge.protocol, support.basis))
            .collect();
        let expected = [
            (Protocol::Tcp, Basis::DnsPair),
            (Protocol::Udp, Basis::Established),
        ];
        assert_eq!(rests, expected, "{}", policy.name);
    }
    assert_eq!(proposal.policies.len(), 2);
}

/// A first edge changes the resolvers' policies too where DNS is always allowed; a later one does not.
#[test]
fn an_edge_names_whose_policies_change() {
    let cluster = cluster(&["api", "db", "dns", "web"]);
    for (dns, first) in [
        (Dns::Seen, &["api", "web"][..]),
        (Dns::Pair, &["api", "web"]),
        (Dns::Always, &["api", "dns", "web"]),
    ] {
        let options = Options {
            dns,
            ..Options::default()
        };
        let mut synthesiser = Synthesiser::new(Cow::Borrowed(&cluster), Cow::Owned(options.into()));
        let mut learn = |client, server, port| {
            let (edge, evidence) = seen(client, server, port, 1);
            synthesiser.learn(&edge, &evidence)
        };
        assert_eq!(learn("web", "api", 80), names(first), "{dns:?}");
        assert_eq!(learn("web", "api", 81), names(&["api", "web"]), "{dns:?}");
    }
}

/// The edges that make rules of a workload's policy are told by direction, and so is their number.
#[test]
fn learned_edges_are_told_by_direction() {
    let cluster = cluster(&["api", "db", "web"]);
    let options = OptionsFor::default();
    let mut graph = FlowGraph::default();
    let edges = [("web", "api", 80), ("web", "api", 81), ("api", "db", 90)];
    let edges = edges.map(|(client, server, port)| {
        let (edge, evidence) = seen(client, server, port, 1);
        graph.edges.insert(edge.clone().into(), evidence);
        edge
    });
    let (mut refused, mut evidence) = seen("web", "db", 99, 1);
    for view in [&mut evidence.client, &mut evidence.server] {
        view.as_mut().expect("both saw it").counts.established = 0;
    }
    refused.protocol = Protocol::Sctp;
    graph.edges.insert(refused.into(), evidence);
    let [first, second, third] = edges;
    let synthesis = Synthesis::of(&graph, &cluster, &options);
    let told = |name| synthesis.edges_of(&deployment(name)).learned;
    let both = BTreeSet::from([first, second]);
    assert_eq!(told("web"), [BTreeSet::new(), both.clone()]);
    assert_eq!(told("api"), [both, [third.clone()].into()]);
    assert_eq!(told("db"), [[third].into(), BTreeSet::new()]);
    assert_eq!(told("nobody"), [BTreeSet::new(), BTreeSet::new()]);
    let number = |name| synthesis.learned_edges_of(&deployment(name));
    let names = ["web", "api", "db", "nobody"];
    assert_eq!(names.map(number), [2, 3, 1, 0]);
}

/// A port that makes a range known changes the policies of all that were seen to use the range, and they hold it all.
#[test]
fn a_range_is_known_to_all_of_a_servers_clients() {
    let cluster = cluster(&["ftp", "one", "two", "other"]);
    let options = Options {
        ranges: Ranges::Infer,
        ..Options::default()
    };
    let mut synthesiser = Synthesiser::new(Cow::Borrowed(&cluster), Cow::Owned(options.into()));
    let mut learn = |client: &str, port: u16| {
        let (edge, evidence) = seen(client, "ftp", port, 7);
        synthesiser.learn(&edge, &evidence)
    };
    for port in 0..9 {
        learn("one", 30_000 + 10 * port);
    }
    assert_eq!(learn("two", 30_090), names(&["ftp", "one", "two"]));
    let ports = |name: &str| -> Vec<String> {
        let policy = synthesiser.resynthesise(&deployment(name)).0.unwrap();
        let rules = policy.ingress.iter().chain(&policy.egress);
        let ports = rules.flat_map(|rule| &rule.ports);
        ports.map(ToString::to_string).collect()
    };
    for name in ["ftp", "one", "two"] {
        assert_eq!(ports(name), ["TCP 29991-30099"], "{name}");
    }
}

/// A range is one server's over one protocol: what else its clients use stays as it was seen.
#[test]
fn a_range_is_of_one_server_over_one_protocol() {
    let cluster = cluster(&["dns", "ftp", "idle", "one", "other"]);
    let options = Options {
        ranges: Ranges::Infer,
        ..Options::default()
    };
    let mut synthesiser = Synthesiser::new(Cow::Borrowed(&cluster), Cow::Owned(options.into()));
    for port in 0..10 {
        let (edge, evidence) = seen("one", "ftp", 30_000 + 10 * port, 7);
        synthesiser.learn(&edge, &evidence);
    }
    let (mut datagrams, evidence) = seen("one", "ftp", 30_050, 7);
    datagrams.protocol = Protocol::Udp;
    let (elsewhere, _) = seen("one", "other", 30_050, 7);
    let (plain, _) = seen("idle", "ftp", 21, 7);
    for edge in [datagrams, elsewhere, plain] {
        synthesiser.learn(&edge, &evidence);
    }
    let ports = |name: &str| -> BTreeSet<String> {
        let policy = synthesiser.resynthesise(&deployment(name)).0.unwrap();
        let rules = policy.ingress.iter().chain(&policy.egress);
        let ports = rules.flat_map(|rule| rule.ports.iter().map(move |port| (&rule.peers, port)));
        ports
            .map(|(peers, port)| format!("{} {port}", peers.len()))
            .collect()
    };
    let range = "1 TCP 29991-30099".to_owned();
    let own = ["1 TCP 30050", "1 UDP 30050"].map(str::to_owned);
    let expected: BTreeSet<String> = own.iter().cloned().chain([range.clone()]).collect();
    assert_eq!(ports("one"), expected);
    let of_ftp = BTreeSet::from(["1 TCP 21".to_owned(), range, own[1].clone()]);
    assert_eq!(ports("ftp"), of_ftp);
    assert_eq!(ports("idle"), ["1 TCP 21".to_owned()].into());
    let told = |name| {
        let findings = synthesiser.resynthesise(&deployment(name)).1.into_iter();
        let ranges = findings.filter_map(|finding| match finding {
            Finding::Widening {
                what: Widening::PortRange { peers, beyond, .. },
                ..
            } => Some((peers, beyond)),
            _ => None,
        });
        ranges.collect::<Vec<_>>()
    };
    let peer = |name| BTreeSet::from([Peer::Workload(deployment(name))]);
    assert_eq!(told("one"), [(peer("ftp"), 99)]);
    assert_eq!(told("ftp"), [(peer("one"), 99)]);
    assert_eq!(told("idle"), []);
}

/// A port that was in use for hours is none of a range, also where its last hour is not its only one.
#[test]
fn ports_of_several_hours_are_no_range() {
    let cluster = cluster(&["ftp", "one"]);
    let options = Options {
        ranges: Ranges::Infer,
        ..Options::default()
    };
    let mut synthesiser = Synthesiser::new(Cow::Borrowed(&cluster), Cow::Owned(options.into()));
    for port in 0..12 {
        let (edge, mut evidence) = seen("one", "ftp", 30_000 + 10 * port, 7);
        for view in [&mut evidence.client, &mut evidence.server] {
            view.as_mut().unwrap().windows.insert(9);
        }
        synthesiser.learn(&edge, &evidence);
    }
    let (policy, _) = synthesiser.resynthesise(&deployment("ftp"));
    assert!(
        policy
            .unwrap()
            .ingress
            .iter()
            .flat_map(|rule| &rule.ports)
            .all(|port| port.end_port.is_none())
    );
}
