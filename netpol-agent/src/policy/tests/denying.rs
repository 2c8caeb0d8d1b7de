//! Namespaces that are to deny all else, and options that differ between workloads: small clusters by hand.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;

use super::small::{cluster, deployment, egress, graph, seen};
use crate::graph::{Counts, Evidence, FlowGraph};
use crate::identity::{EdgeId, Peer};
use crate::policy::emit::kubernetes;
use crate::policy::finding::Finding;
use crate::policy::model::{PolicyPeer, Rule};
use crate::policy::options::{OptionsFor, RejectedEdge};
use crate::policy::{
    Cluster, Dns, NAMESPACE, OneWay, Options, Proposal, Synthesis, Synthesiser, Widening,
    synthesise, synthesise_for,
};

const PLAIN: [(&str, &str, u16); 2] = [("web", "api", 80), ("web", "dns", 53)];

fn denied(cluster: &Cluster, graph: &FlowGraph) -> Proposal {
    let options = Options {
        default_deny: true,
        ..Options::default()
    };
    synthesise(graph, cluster, &options)
}

/// The names of all policies.
fn names(proposal: &Proposal) -> Vec<&str> {
    let policies = proposal.policies.iter();
    policies.map(|policy| policy.name.as_str()).collect()
}

/// What is said of the denial: of which workload, in which words.
fn said(proposal: &Proposal) -> Vec<(&str, String)> {
    let findings = proposal.findings.iter();
    let said = findings.filter_map(|finding| match finding {
        Finding::CutOff { workload } => Some(("CutOff", workload.name.clone())),
        Finding::DefaultDenyLeftOut { workload, .. } => Some(("LeftOut", workload.name.clone())),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_namespace_with_policies_is_denied_and_its_resolver_answers_it() {
    let mut cluster = cluster(&["agent", "api", "dns", "idle", "web"]);
    let agent = cluster
        .workloads
        .get_mut(&deployment("agent"))
        .expect("it is there");
    (agent.host_network, agent.nodes) = (true, ["one".to_owned()].into());
    cluster.nodes = [("one".to_owned(), [IpAddr::from([192, 0, 2, 1])].into())].into();
    let mut edges = PLAIN.to_vec();
    edges.push(("agent", "api", 81));
    let proposal = denied(&cluster, &graph(&edges));
    assert_eq!(
        names(&proposal),
        [
            "api-deployment",
            "default-deny",
            "dns-deployment",
            "web-deployment"
        ]
    );
    assert_eq!(said(&proposal), [("CutOff", "idle".to_owned())]);
    let namespace = PolicyPeer::Namespaces(["n"].into_iter().collect());
    let lets_in = |rules: &[Rule]| rules.iter().any(|rule| rule.peers.contains(&namespace));
    for policy in &proposal.policies {
        let is_resolver = policy.workload == deployment("dns");
        assert_eq!(lets_in(&policy.ingress), is_resolver, "{}", policy.name);
        assert!(!lets_in(&policy.egress), "{}", policy.name);
    }
}

#[test]
fn a_namespace_is_left_out_where_a_resolver_would_answer_nobody() {
    let cluster = cluster(&["api", "dns", "idle", "web"]);
    let proposal = denied(&cluster, &graph(&[("web", "api", 80)]));
    assert_eq!(names(&proposal), ["api-deployment", "web-deployment"]);
    assert_eq!(said(&proposal), [("LeftOut", "dns".to_owned())]);
}

#[test]
fn a_namespace_is_left_out_where_a_policy_cannot_be_written() {
    let cluster = cluster(&["api", "dns", "idle", "web"]);
    let mut edges = PLAIN.to_vec();
    edges.push(("api", "web", 0));
    let proposal = denied(&cluster, &graph(&edges));
    assert_eq!(names(&proposal), ["dns-deployment"]);
    let said = said(&proposal);
    assert_eq!(
        said,
        [("LeftOut", "api".to_owned()), ("LeftOut", "web".to_owned())]
    );
}

#[test]
fn a_namespace_without_policies_is_left_alone() {
    let mut cluster = cluster(&["api", "web"]);
    cluster.resolvers.clear();
    let proposal = denied(&cluster, &graph(&[]));
    assert_eq!((names(&proposal), said(&proposal)), (vec![], vec![]));
}

/// What is rejected is denied, also to a workload that has nothing else. Who has no edge is left alone, and a rejection of
/// what was never seen cuts nobody off.
#[test]
fn a_workload_of_which_every_edge_is_rejected_is_closed() {
    let cluster = cluster(&["api", "idle", "web"]);
    let (edge, evidence) = seen("web", "api", 80, 1);
    let options = Options {
        reject: [RejectedEdge(edge.clone())].into(),
        ..Options::default()
    };
    let proposal = synthesise(&graph(&[("web", "api", 80)]), &cluster, &options);
    assert_eq!(names(&proposal), ["api-deployment", "web-deployment"]);
    for policy in &proposal.policies {
        let spec = kubernetes::object(policy).spec.unwrap_or_default();
        let types = spec.policy_types.unwrap_or_default();
        assert_eq!(types, ["Ingress", "Egress"], "{}", policy.name);
        assert!(policy.ingress.is_empty() && policy.egress.is_empty());
    }
    let left_alone = |proposal: &Proposal| -> Vec<String> {
        let findings = proposal.findings.iter();
        let names = findings.filter_map(|finding| match finding {
            Finding::NoPolicy { workload } => Some(workload.name.clone()),
            _ => None,
        });
        names.collect()
    };
    assert_eq!(left_alone(&proposal), ["idle"]);
    let mut synthesiser =
        Synthesiser::new(Cow::Borrowed(&cluster), Cow::Owned(options.clone().into()));
    synthesiser.learn(&edge, &evidence);
    assert_eq!(synthesiser.proposal(), proposal);
    let learned = FlowGraph {
        edges: [(edge.clone().into(), evidence)].into(),
        ..FlowGraph::default()
    };
    let options_for = options.clone().into();
    let synthesis = Synthesis::of(&learned, &cluster, &options_for);
    let edges = synthesis.edges_of(&deployment("web"));
    assert_eq!(edges.rejected, [[].into(), [edge].into()]);
    assert_eq!(edges.learned, [[].into(), [].into()]);
    let unseen = synthesise(&graph(&[]), &cluster, &options);
    assert_eq!(names(&unseen), [""; 0]);
    assert_eq!(left_alone(&unseen), ["api", "idle", "web"]);
}

/// DNS that only an option allows is taken away by a rejection, which is answered.
#[test]
fn dns_that_was_not_seen_can_be_rejected() {
    let cluster = cluster(&["api", "dns", "web"]);
    let (rejected, evidence) = seen("web", "dns", 53, 1);
    let udp = EdgeId {
        protocol: Protocol::Udp,
        ..rejected.clone()
    };
    let mut edges = graph(&[("web", "api", 80)]);
    edges.edges.insert(udp.into(), evidence);
    for dns in [Dns::Pair, Dns::Always] {
        let options = Options {
            dns,
            reject: [RejectedEdge(rejected.clone())].into(),
            ..Options::default()
        };
        let proposal = synthesise(&edges, &cluster, &options);
        let rules = egress(&proposal, "web").unwrap_or_default();
        let ports: BTreeSet<_> = rules.into_iter().flat_map(|(_, ports)| ports).collect();
        assert_eq!(ports, ["TCP 80".to_owned(), "UDP 53".to_owned()].into());
        let edge = rejected.clone();
        assert!(proposal.findings.contains(&Finding::Rejected { edge }));
        let edge = rejected.clone();
        let unheard = Finding::RejectMatchesNothing { edge };
        assert!(!proposal.findings.contains(&unheard), "{dns:?}");
    }
}

/// Of a workload that is gone only its edges are told, and it keeps no namespace from denying all else.
#[test]
fn a_workload_that_only_the_graph_knows_stands_in_nobodys_way() {
    let cluster = cluster(&["api", "dns", "web"]);
    let mut edges = graph(&PLAIN);
    let (mut edge, evidence) = seen("gone", "api", 443, 1);
    edge.server = Peer::External([203, 0, 113, 1].into());
    edges.edges.insert(edge.into(), evidence);
    let proposal = denied(&cluster, &edges);
    assert!(names(&proposal).contains(&"default-deny"));
    assert_eq!(said(&proposal), []);
    let of_gone = proposal.findings.iter().filter(|finding| {
        let text = finding.to_string();
        text.contains("gone")
    });
    assert_eq!(of_gone.collect::<Vec<_>>(), Vec::<&Finding>::new());
}

/// What a namespace may ask, as the findings say it, and as its policy does: both or neither.
fn asked(proposal: &Proposal) -> (Vec<Peer>, Vec<String>) {
    let of_namespace = proposal
        .policies
        .iter()
        .find(|policy| policy.is_of_namespace());
    let rules = &of_namespace.expect("a policy").egress;
    let told = proposal
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Widening {
                workload,
                what: Widening::Dns { peer, .. },
                ..
            } if workload.kind == NAMESPACE => Some(peer.clone()),
            _ => None,
        });
    let ports = rules.iter().flat_map(|rule| &rule.ports);
    (told.collect(), ports.map(ToString::to_string).collect())
}

/// A namespace that denies all else asks the resolvers that a rule can name, and whom its workloads asked; not whom
/// those of another did.
#[test]
fn a_namespace_asks_resolvers_and_whom_its_workloads_asked() {
    let mut cluster = cluster(&["api", "host", "lost", "web"]);
    let other = WorkloadName::new("elsewhere", "Deployment", "other");
    let workload = cluster.workloads[&deployment("web")].clone();
    cluster.workloads.insert(other.clone(), workload);
    for name in ["host", "lost"] {
        let workload = cluster.workloads.get_mut(&deployment(name));
        let workload = workload.expect("it is there");
        (workload.host_network, workload.nodes) = (true, [name.to_owned()].into());
    }
    cluster.nodes = [("host".to_owned(), [IpAddr::from([192, 0, 2, 9])].into())].into();
    // One has no address, the other no port.
    cluster.resolvers = [(deployment("lost"), 53), (deployment("host"), 0)].into();
    let mut edges = graph(&[("web", "api", 80)]);
    let clients = [(deployment("web"), 1), (other, 2)];
    for (client, last) in clients {
        let (mut edge, evidence) = seen("web", "api", 53, 1);
        edge.protocol = Protocol::Udp;
        edge.client = Peer::Workload(client);
        edge.server = Peer::External([192, 0, 2, last].into());
        edges.edges.insert(edge.into(), evidence);
    }
    let options = Options {
        default_deny: true,
        ..Options::default()
    };
    let options = OptionsFor {
        namespaces: [("n".to_owned(), options)].into(),
        ..OptionsFor::default()
    };
    let proposal = synthesise_for(&edges, &cluster, &options);
    let (told, ports) = asked(&proposal);
    assert_eq!(told, [Peer::External([192, 0, 2, 1].into())]);
    assert_eq!(ports, ["TCP 53", "UDP 53"]);
}

/// What a workload asks for holds of its own questions, at both ends, and of nobody else's.
#[test]
fn dns_is_allowed_as_each_client_asks_for() {
    let cluster = cluster(&["api", "db", "dns", "web"]);
    let mut edges = graph(&[("web", "api", 80), ("api", "db", 90)]);
    for client in ["api", "web"] {
        let (mut edge, evidence) = seen(client, "dns", 53, 1);
        edge.protocol = Protocol::Udp;
        edges.edges.insert(edge.into(), evidence);
    }
    let with = |dns| Options {
        dns,
        ..Options::default()
    };
    let dns_of = |all: Dns, of_web: Dns| {
        let options = OptionsFor {
            cluster: with(all),
            workloads: [(deployment("web"), with(of_web))].into(),
            namespaces: BTreeMap::new(),
        };
        let proposal = synthesise_for(&edges, &cluster, &options);
        let asked = ["api", "db", "web"].map(|name| {
            let rules = egress(&proposal, name).unwrap_or_default();
            let ports = rules.into_iter().flat_map(|(_, ports)| ports);
            ports
                .filter(|port| port.ends_with(" 53"))
                .collect::<BTreeSet<String>>()
        });
        let mut policies = proposal.policies.iter();
        let dns = policies.find(|policy| policy.workload == deployment("dns"));
        let edges = dns.into_iter().flat_map(|policy| &policy.ingress);
        let answered: BTreeSet<String> = edges
            .flat_map(|rule| &rule.evidence)
            .map(|support| format!("{} {}", support.edge.client, support.edge.protocol))
            .collect();
        (
            asked.map(|ports| ports.into_iter().collect::<Vec<_>>().join(", ")),
            answered,
        )
    };
    let clients = |names: &[&str]| -> BTreeSet<String> {
        names
            .iter()
            .map(|name| format!("n/Deployment/{name}"))
            .collect()
    };
    let both = "TCP 53, UDP 53".to_owned();
    let udp = "UDP 53".to_owned();
    assert_eq!(
        dns_of(Dns::Seen, Dns::Pair),
        (
            [udp.clone(), String::new(), both.clone()],
            clients(&["api UDP", "web TCP", "web UDP"])
        )
    );
    assert_eq!(
        dns_of(Dns::Pair, Dns::Seen),
        (
            [both.clone(), String::new(), udp.clone()],
            clients(&["api TCP", "api UDP", "web UDP"])
        )
    );
    assert_eq!(
        dns_of(Dns::Seen, Dns::Always),
        (
            [udp.clone(), String::new(), both.clone()],
            clients(&["api UDP", "web TCP", "web UDP"])
        )
    );
    let everybody = ["api TCP", "api UDP", "db TCP", "db UDP"];
    assert_eq!(
        dns_of(Dns::Always, Dns::Seen),
        (
            [both.clone(), both, udp],
            clients(&[&everybody[..], &["web UDP"]].concat())
        )
    );
}

/// Traffic from pods' own nodes makes no rule, and is counted for each workload.
#[test]
fn probes_are_counted() {
    let cluster = cluster(&["api", "dns", "web"]);
    let mut probed = graph(&[("web", "api", 80)]);
    for port in [1, 2] {
        let (edge, mut evidence) = seen("web", "dns", port, 1);
        evidence.own_node = true;
        evidence.client = None;
        probed.edges.insert(edge.into(), evidence);
    }
    let proposal = synthesise(&probed, &cluster, &Options::default());
    let counted: Vec<(&str, usize)> = (proposal.findings.iter())
        .filter_map(|finding| match finding {
            Finding::OwnNode { workload, edges } => Some((workload.name.as_str(), *edges)),
            _ => None,
        })
        .collect();
    assert_eq!(counted, [("dns", 2)]);
}

/// An edge with a node that is gone makes no rule, is told, and withholds nothing.
#[test]
fn a_node_that_is_gone_needs_no_rule() {
    let mut cluster = cluster(&["api", "web"]);
    cluster.nodes = [("gone".to_owned(), BTreeSet::new())].into();
    let mut edges = graph(&[("web", "api", 80)]);
    let (mut edge, evidence) = seen("web", "api", 90, 1);
    edge.client = Peer::Node("gone".to_owned());
    edges.edges.insert(edge.clone().into(), evidence);
    let proposal = synthesise(&edges, &cluster, &Options::default());
    assert_eq!(names(&proposal), ["api-deployment", "web-deployment"]);
    assert!(proposal.findings.contains(&Finding::NodeGone { edge }));
    assert!(
        !proposal
            .findings
            .iter()
            .any(|finding| finding.word() == "Withheld")
    );
}

/// What makes no rule is told, each in its words.
#[test]
fn what_is_left_out_is_told() {
    let cluster = cluster(&["api", "web"]);
    let told = |change: &dyn Fn(&mut Evidence)| -> BTreeSet<&'static str> {
        let (mut edge, mut evidence) = seen("web", "api", 90, 1);
        edge.protocol = Protocol::Udp;
        change(&mut evidence);
        let mut edges = graph(&[("web", "api", 80)]);
        edges.edges.insert(edge.into(), evidence);
        let proposal = synthesise(&edges, &cluster, &Options::default());
        let words = proposal.findings.iter().map(Finding::word);
        words
            .filter(|word| *word != "NoTraffic" && *word != "NoPolicy")
            .collect()
    };
    let both = |evidence: &mut Evidence, counts: Counts| {
        for view in [&mut evidence.client, &mut evidence.server] {
            view.as_mut().expect("both saw it").counts = counts;
        }
    };
    let one_way = Counts {
        one_way: 1,
        ..Counts::default()
    };
    let unknown = Counts {
        unknown: 1,
        ..Counts::default()
    };
    assert_eq!(told(&|_| ()), [].into());
    assert_eq!(
        told(&|evidence| both(evidence, one_way)),
        ["OneWayLeftOut"].into()
    );
    assert_eq!(
        told(&|evidence| both(evidence, unknown)),
        ["UnknownOutcome"].into()
    );
    let watched = told(&|evidence| (evidence.server, evidence.server_watched) = (None, true));
    assert!(watched.contains("OtherEndOnly"), "{watched:?}");
}

/// Datagrams without an answer count as each end asks for, and the services by which an edge went stay with it.
#[test]
fn one_way_counts_as_each_workload_asks_for() {
    let cluster = cluster(&["api", "web"]);
    let (mut edge, mut evidence) = seen("web", "api", 90, 1);
    edge.protocol = Protocol::Udp;
    for view in [&mut evidence.client, &mut evidence.server] {
        let counts = &mut view.as_mut().expect("both saw it").counts;
        (counts.established, counts.one_way) = (0, 1);
    }
    let service = ObjectName::new("n", "front");
    evidence.by_service = [service.clone()].into();
    let edges = FlowGraph {
        edges: [(edge.into(), evidence)].into(),
        ..FlowGraph::default()
    };
    let of_web = Options {
        one_way: OneWay::Always,
        ..Options::default()
    };
    let options = OptionsFor {
        workloads: [(deployment("web"), of_web)].into(),
        ..OptionsFor::default()
    };
    let proposal = synthesise_for(&edges, &cluster, &options);
    assert_eq!(names(&proposal), ["web-deployment"]);
    let rules = proposal.policies.iter().flat_map(|policy| &policy.egress);
    let rests: Vec<_> = rules.flat_map(|rule| &rule.evidence).collect();
    assert_eq!(rests.len(), 1);
    assert_eq!(rests[0].by_service, [service].into());
}
