//! What is proposed beside policies that people wrote: small clusters by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::ObjectName;
use serde_json::{Value, json};

use super::small::{cluster, deployment, graph, seen};
use crate::graph::FlowGraph;
use crate::identity::Peer;
use crate::policy::against::{Existing, Missing, Remark, missing};
use crate::policy::evaluate::{Member, Pod, Reading, World};
use crate::policy::model::PolicyPeer;
use crate::policy::options::OptionsFor;
use crate::policy::{Cluster, Direction, Options, Policy};

/// One pod of each workload.
fn world(cluster: &Cluster) -> World {
    let members = cluster.workloads.iter().map(|(name, workload)| Member {
        pod: Pod {
            name: ObjectName::new(&name.namespace, &name.name),
            labels: workload.selector.clone(),
            node: workload.nodes.first().cloned(),
            host_network: workload.host_network,
            named_ports: Vec::new(),
        },
        addresses: Vec::new(),
        workload: name.clone(),
        stand_in: false,
    });
    World::new(BTreeMap::new(), cluster.nodes.clone(), members.collect())
}

/// Policies of the namespace `n`.
fn written(specs: &[Value]) -> Vec<NetworkPolicy> {
    let numbered = specs.iter().enumerate();
    let policies = numbered.map(|(number, spec)| {
        let metadata = json!({"namespace": "n", "name": format!("theirs-{number}")});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a policy")
    });
    policies.collect()
}

fn completed(
    cluster: &Cluster,
    graph: &FlowGraph,
    options: Options,
    world: &World,
    specs: &[Value],
) -> Missing {
    let existing = Existing {
        world,
        policies: &written(specs),
        reading: Reading::default(),
    };
    missing(graph, cluster, &OptionsFor::from(options), &existing)
}

fn plain(cluster: &Cluster, graph: &FlowGraph, specs: &[Value]) -> Missing {
    completed(cluster, graph, Options::default(), &world(cluster), specs)
}

/// The policy that is missing for a workload.
fn of<'a>(missing: &'a Missing, name: &str) -> Option<&'a Policy> {
    let mut policies = missing.proposal.policies.iter();
    policies.find(|policy| policy.workload == deployment(name))
}

fn app(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}

/// The node `one`, on which a workload is.
fn on_a_node(cluster: &mut Cluster, name: &str, host_network: bool) {
    let workload = cluster.workloads.get_mut(&deployment(name));
    let workload = workload.expect("it is there");
    (workload.host_network, workload.nodes) = (host_network, ["one".to_owned()].into());
    cluster.nodes = [("one".to_owned(), [IpAddr::from([192, 0, 2, 1])].into())].into();
}

/// Probes from a pod's own node pass whatever policies say, but people write rules for them.
#[test]
fn rules_that_let_probes_in_are_not_unused() {
    let mut cluster = cluster(&["api", "web"]);
    on_a_node(&mut cluster, "web", false);
    let mut graph = graph(&[("web", "api", 80)]);
    let (mut edge, mut evidence) = seen("api", "web", 8080, 1);
    edge.client = Peer::Node("one".to_owned());
    (evidence.client, evidence.own_node) = (None, true);
    graph.edges.insert(edge.into(), evidence);
    let from_node = |port: u16| {
        let from = json!([{"ipBlock": {"cidr": "192.0.2.1/32"}}]);
        json!({"from": from, "ports": [{"protocol": "TCP", "port": port}]})
    };
    let spec = json!({
        "podSelector": app("web"),
        "policyTypes": ["Ingress"],
        "ingress": [from_node(8080), from_node(8081)],
    });
    let remarks = plain(&cluster, &graph, &[spec]).remarks;
    let unused = remarks.iter().filter_map(|remark| match remark {
        Remark::Unused { rule, .. } => Some(rule.rule),
        _ => None,
    });
    assert_eq!(unused.collect::<Vec<_>>(), [1]);
}

/// What is allowed already is written down in the policy of the workload that it is true of.
#[test]
fn a_policy_says_what_of_its_own_is_allowed_already() {
    let cluster = cluster(&["api", "db", "web"]);
    let graph = graph(&[("web", "api", 80), ("web", "db", 90)]);
    let spec = json!({
        "podSelector": app("web"),
        "policyTypes": ["Egress"],
        "egress": [{
            "to": [{"podSelector": app("api")}],
            "ports": [{"protocol": "TCP", "port": 80}],
        }],
    });
    let missing = plain(&cluster, &graph, &[spec]);
    let said = |name: &str| of(&missing, name).expect("a policy").already.clone();
    let text = "1 edge of egress already allowed by n/theirs-0#0".to_owned();
    assert_eq!(said("web"), [(Direction::Egress, text)].into());
    assert_eq!((said("api"), said("db")), Default::default());
}

/// Twenty pairs beyond what was learned are listed; of more, their number.
#[test]
fn what_is_allowed_beyond_what_was_learned_is_listed_up_to_twenty() {
    let names: Vec<String> = (0..22).map(|number| format!("c{number}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.extend(["hub", "web"]);
    let cluster = cluster(&all);
    let graph = graph(&[("web", "hub", 80)]);
    let said = |clients: usize| {
        let some = &names[..clients];
        let selector =
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": some}]});
        let spec = json!({
            "podSelector": app("hub"),
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"podSelector": selector}],
                "ports": [{"protocol": "TCP", "port": 9}],
            }],
        });
        let remarks = plain(&cluster, &graph, &[spec]).remarks;
        let is_pair = |remark: &&Remark| matches!(remark, Remark::Beyond { .. });
        let more: Vec<usize> = (remarks.iter())
            .filter_map(|remark| match remark {
                Remark::MoreBeyond { count } => Some(*count),
                _ => None,
            })
            .collect();
        (remarks.iter().filter(is_pair).count(), more)
    };
    assert_eq!(said(1), (1, vec![]));
    assert_eq!(said(20), (20, vec![]));
    assert_eq!(said(22), (20, vec![2]));
}

/// A policy without a rule is missing as long as a direction is not isolated.
#[test]
fn a_direction_that_is_open_makes_a_policy_without_rules() {
    let cluster = cluster(&["api", "web"]);
    let graph = graph(&[("web", "api", 80)]);
    let ingress = json!({
        "podSelector": app("api"),
        "policyTypes": ["Ingress"],
        "ingress": [{
            "from": [{"podSelector": app("web")}],
            "ports": [{"protocol": "TCP", "port": 80}],
        }],
    });
    let half = plain(&cluster, &graph, std::slice::from_ref(&ingress));
    let api = of(&half, "api").expect("a policy");
    assert!(api.ingress.is_empty() && api.egress.is_empty(), "{api:?}");
    let egress = json!({"podSelector": app("api"), "policyTypes": ["Egress"]});
    let whole = plain(&cluster, &graph, &[ingress, egress]);
    assert_eq!(of(&whole, "api"), None);
    assert!(of(&whole, "web").is_some());
}

/// Policies may select pods by labels that are not known as long as there is none.
#[test]
fn nothing_is_allowed_already_of_a_workload_without_pods() {
    let cluster = cluster(&["api", "dns", "web"]);
    let graph = graph(&[("web", "api", 80), ("web", "dns", 53)]);
    let nobody = World::new(BTreeMap::new(), BTreeMap::new(), Vec::new());
    let open = json!({"podSelector": {}, "ingress": [{}], "egress": [{}]});
    let specs = [open];
    let missing = completed(&cluster, &graph, denying(), &nobody, &specs);
    assert_eq!(
        of(&missing, "api").map(|policy| policy.ingress.len()),
        Some(1)
    );
    assert!(lets_its_namespace_in(&missing));
    let missing = completed(&cluster, &graph, denying(), &world(&cluster), &specs);
    assert_eq!(of(&missing, "api"), None);
}

fn denying() -> Options {
    Options {
        default_deny: true,
        ..Options::default()
    }
}

/// Whether the resolver's policy that is missing lets in every pod of the namespace.
fn lets_its_namespace_in(missing: &Missing) -> bool {
    let namespace = PolicyPeer::Namespaces(["n"].into_iter().collect());
    let rules = of(missing, "dns").into_iter().flat_map(|dns| &dns.ingress);
    rules
        .flat_map(|rule| &rule.peers)
        .any(|peer| *peer == namespace)
}

fn dns_ports() -> Value {
    json!([{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}])
}

/// Whether the policy of the namespace itself is missing.
fn is_denial_missing(cluster: &Cluster, graph: &FlowGraph, specs: &[Value]) -> bool {
    let missing = completed(cluster, graph, denying(), &world(cluster), specs);
    missing
        .proposal
        .policies
        .iter()
        .any(Policy::is_of_namespace)
}

/// Only policies for whatever pods the namespace gets are what its own policy would be.
#[test]
fn a_namespace_is_denied_already_if_every_pod_is_and_may_ask_its_resolver() {
    let cluster = cluster(&["api", "dns", "web"]);
    let graph = graph(&[("web", "api", 80), ("web", "dns", 53)]);
    let asking = |selector: Value, types: &[&str]| {
        let to = json!([{"podSelector": app("dns")}]);
        json!({
            "podSelector": selector,
            "policyTypes": types,
            "egress": [{"to": to, "ports": dns_ports()}],
        })
    };
    let both = ["Ingress", "Egress"];
    let some = json!({"matchExpressions": [{"key": "batch", "operator": "DoesNotExist"}]});
    let cases = [
        ("nothing is there", vec![], true),
        ("as it would be", vec![asking(json!({}), &both)], false),
        ("some pods only", vec![asking(some, &both)], true),
        (
            "ingress is open",
            vec![asking(json!({}), &["Egress"])],
            true,
        ),
        (
            "nobody may ask",
            vec![json!({"podSelector": {}, "policyTypes": both})],
            true,
        ),
        (
            "two policies",
            vec![json!({"podSelector": {}}), asking(json!({}), &["Egress"])],
            false,
        ),
    ];
    for (what, specs, expected) in cases {
        let missing = is_denial_missing(&cluster, &graph, &specs);
        assert_eq!(missing, expected, "{what}");
    }
}

/// A resolver on its node's network is its node's addresses, to the policy of a namespace too.
#[test]
fn a_namespace_may_ask_a_resolver_on_its_nodes_network() {
    let mut cluster = cluster(&["api", "dns", "web"]);
    on_a_node(&mut cluster, "dns", true);
    let graph = graph(&[("web", "api", 80)]);
    let asking = |cidr: &str| {
        json!({
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": cidr}}], "ports": dns_ports()}],
        })
    };
    let missing = |specs: &[Value]| is_denial_missing(&cluster, &graph, specs);
    assert!(missing(&[]) && missing(&[asking("192.0.2.2/32")]));
    assert!(!missing(&[asking("192.0.2.1/32")]));
}

/// A resolver lets its namespace in already if a rule says so for every pod; that it is isolated is not enough.
#[test]
fn a_resolver_answers_a_namespace_already_if_a_rule_lets_every_pod_in() {
    let cluster = cluster(&["api", "dns", "web"]);
    let graph = graph(&[("web", "api", 80), ("web", "dns", 53)]);
    let ingress = |rules: Value| {
        let spec = json!({
            "podSelector": app("dns"),
            "policyTypes": ["Ingress"],
            "ingress": rules,
        });
        let specs = [spec];
        let missing = completed(&cluster, &graph, denying(), &world(&cluster), &specs);
        lets_its_namespace_in(&missing)
    };
    let from = |peer: Value| json!([{"from": [{"podSelector": peer}], "ports": dns_ports()}]);
    assert!(ingress(json!([])), "nobody is let in");
    assert!(ingress(from(app("web"))), "some are let in");
    assert!(!ingress(from(json!({}))), "everybody is let in");
}
