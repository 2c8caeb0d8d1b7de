//! Hand-written policies of Cilium and Calico, and what their documentation says of them.

use std::net::IpAddr;

use netpol_common::words::Protocol;

use super::{Answer, Asked, Other, Subject, calico, cilium};
use crate::identity::objects::Labels;
use crate::policy::model::Direction::{self, Egress, Ingress};

fn labels(app: &str) -> Labels {
    [("app".to_owned(), app.to_owned())].into()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What is asked about the pod `app=web` in the namespace `shop`: a direction, the other end, TCP and a port.
struct Case {
    direction: Direction,
    other: &'static str,
    port: u16,
}

fn case(direction: Direction, other: &'static str, port: u16) -> Case {
    Case {
        direction,
        other,
        port,
    }
}

/// An end in words: `namespace/app`, `own-node`, `node`, `api-node`, `api`, or an address outside.
fn end<'a>(text: &'a str, labels: &'a Labels) -> Other<'a> {
    let node = |own, api_server| Other::Node {
        address: address("192.0.2.1"),
        own,
        api_server,
    };
    match (text, text.split_once('/')) {
        ("own-node", _) => node(true, false),
        ("node", _) => node(false, false),
        ("api-node", _) => node(false, true),
        ("api", _) => Other::Outside {
            address: address("192.0.2.9"),
            api_server: true,
        },
        (_, Some((namespace, _))) => Other::Pod {
            namespace,
            labels,
            address: address("10.0.0.9"),
        },
        (outside, None) => Other::Outside {
            address: address(outside),
            api_server: false,
        },
    }
}

fn ask(case: &Case, answer: impl Fn(Subject<'_>, &Asked<'_>) -> Answer) -> Answer {
    let own = labels("web");
    let theirs = labels(case.other.split_once('/').map_or("", |(_, app)| app));
    let subject = Subject {
        namespace: "shop",
        labels: &own,
    };
    let asked = Asked {
        direction: case.direction,
        other: end(case.other, &theirs),
        protocol: Protocol::Tcp,
        port: case.port,
    };
    answer(subject, &asked)
}

fn by_cilium(spec: &str, case: &Case) -> Answer {
    let policies = cilium::read(&cilium_policy(spec)).unwrap();
    ask(case, |subject, asked| {
        cilium::answer(&policies, subject, asked)
    })
}

fn by_calico(specs: &[&str], case: &Case) -> Answer {
    let texts: Vec<String> = (specs.iter().enumerate())
        .map(|(number, spec)| calico_policy(&format!("p{number}"), spec))
        .collect();
    let policies = calico::read(&texts.join("---\n")).unwrap();
    ask(case, |subject, asked| {
        calico::answer(&policies, subject, asked)
    })
}

fn cilium_policy(spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  \
         endpointSelector: {{matchLabels: {{app: web}}}}\n{spec}"
    )
}

fn calico_policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  selector: app == 'web'\n{spec}"
    )
}

const PORTS: &str = "toPorts: [{ports: [{port: '80', endPort: 90, protocol: TCP}]}]";

#[test]
fn cilium_isolates_a_direction_that_has_rules() {
    let isolated = |spec: &str, direction| {
        let answer = by_cilium(spec, &case(direction, "shop/api", 80));
        assert_eq!(answer.allowed, !answer.isolated);
        answer.isolated
    };
    assert!(isolated("  ingress: [{}]\n", Ingress));
    assert!(!isolated("  ingress: [{}]\n", Egress));
    assert!(!isolated("  ingress: []\n", Ingress));
    assert!(!isolated("  egress: [{}]\n", Ingress));
    let own_node = by_cilium("  ingress: [{}]\n", &case(Ingress, "own-node", 80));
    assert!(own_node.isolated && own_node.allowed);
}

#[test]
fn cilium_matches_each_kind_of_peer() {
    let table: [(&str, &[&str], &[&str]); 7] = [
        (
            "fromEndpoints: [{matchLabels: {'k8s:app': api}}]",
            &["shop/api"],
            &["shop/other", "infra/api", "node", "10.0.0.9"],
        ),
        (
            "fromEndpoints: [{matchLabels: {app: api, 'k8s:io.kubernetes.pod.namespace': infra}}]",
            &["infra/api"],
            &["shop/api"],
        ),
        (
            "fromEndpoints: [{matchExpressions: [{key: 'any:io.kubernetes.pod.namespace', operator: In, values: [a, b]}]}]",
            &["a/x", "b/y"],
            &["shop/api", "c/x"],
        ),
        (
            "fromCIDR: [198.51.100.0/24, 10.0.0.0/8, 192.0.2.0/24]",
            &["198.51.100.7", "10.0.0.9", "api"],
            &["shop/api", "node", "203.0.113.1"],
        ),
        (
            "fromCIDRSet: [{cidr: 198.51.100.0/24, except: [198.51.100.8/29]}]",
            &["198.51.100.7"],
            &["198.51.100.9"],
        ),
        (
            "fromEntities: [remote-node]",
            &["node", "api-node"],
            &["api", "shop/api", "198.51.100.7"],
        ),
        (
            "fromEntities: [kube-apiserver]",
            &["api-node", "api"],
            &["node", "shop/api"],
        ),
    ];
    for (peers, allowed, denied) in table {
        let spec = format!("  ingress: [{{{peers}, {PORTS}}}]\n");
        for (others, expected) in [(allowed, true), (denied, false)] {
            for other in others {
                let answer = by_cilium(&spec, &case(Ingress, other, 85));
                assert_eq!(answer.allowed, expected, "{peers}: {other}");
                assert!(!by_cilium(&spec, &case(Ingress, other, 91)).allowed);
            }
        }
    }
}

#[test]
fn cilium_without_peers_or_with_none() {
    let everybody = format!("  egress: [{{{PORTS}}}]\n");
    assert!(by_cilium(&everybody, &case(Egress, "node", 80)).allowed);
    assert!(!by_cilium(&everybody, &case(Egress, "node", 79)).allowed);
    let nobody = format!("  egress: [{{toEndpoints: [], {PORTS}}}]\n");
    assert!(!by_cilium(&nobody, &case(Egress, "shop/api", 80)).allowed);
    let any_port = "  egress: [{toEndpoints: [{}]}]\n";
    assert!(by_cilium(any_port, &case(Egress, "shop/api", 9)).allowed);
    assert!(!by_cilium(any_port, &case(Egress, "infra/api", 9)).allowed);
    let host = format!("  egress: [{{toEntities: [host], {PORTS}}}]\n");
    assert!(by_cilium(&host, &case(Egress, "own-node", 80)).allowed);
    assert!(!by_cilium(&host, &case(Egress, "node", 80)).allowed);
}

/// Operators of selectors, of which those that deny also hold of pods without the label.
#[test]
fn cilium_matches_by_each_operator() {
    let table: [(&str, &[&str], &[&str]); 4] = [
        (
            "key: app, operator: In, values: [api, x]",
            &["shop/api", "shop/x"],
            &["shop/y"],
        ),
        (
            "key: app, operator: NotIn, values: [api, x]",
            &["shop/y"],
            &["shop/api", "shop/x"],
        ),
        ("key: app, operator: Exists", &["shop/api"], &[]),
        ("key: app, operator: DoesNotExist", &[], &["shop/api"]),
    ];
    for (requirement, allowed, denied) in table {
        let peers = format!("fromEndpoints: [{{matchExpressions: [{{{requirement}}}]}}]");
        let spec = format!("  ingress: [{{{peers}, {PORTS}}}]\n");
        for (others, expected) in [(allowed, true), (denied, false)] {
            for other in others {
                let answer = by_cilium(&spec, &case(Ingress, other, 85));
                assert_eq!(answer.allowed, expected, "{requirement}: {other}");
            }
        }
    }
}

#[test]
fn what_cilium_or_the_reader_does_not_know_is_an_error() {
    let table = [
        ("  ingressDeny: [{}]\n", "ingressDeny"),
        ("  ingress: [{fromRequires: [{}]}]\n", "fromRequires"),
        ("  ingress: [{fromEntities: [world]}]\n", "world"),
        (
            "  ingress: [{fromEndpoints: [{}], fromCIDR: []}]\n",
            "shop/p: a rule has peers of more than one kind",
        ),
        (
            "  egress: [{toPorts: [{ports: [{port: http, protocol: TCP}]}]}]\n",
            "shop/p: a port has no number",
        ),
        (
            "  egress: [{toPorts: [{ports: [{port: '80'}]}]}]\n",
            "another protocol",
        ),
        (
            "  egress: [{toPorts: [{ports: [{port: '0', protocol: TCP}]}]}]\n",
            "shop/p: a port has no number",
        ),
        (
            "  egress: [{toPorts: [{ports: []}]}]\n",
            "a list of ports is empty",
        ),
    ];
    for (spec, expected) in table {
        let error = cilium::read(&cilium_policy(spec)).unwrap_err().to_string();
        assert!(error.contains(expected), "{spec}{error}");
    }
    let other = cilium_policy("").replace("cilium.io/v2", "cilium.io/v1");
    assert!(cilium::read(&other).is_err());
}

const ALL: &str = "  types: [Ingress, Egress]\n";

#[test]
fn calico_denies_what_no_rule_of_an_applying_policy_matches() {
    let answer = |specs: &[&str], direction| by_calico(specs, &case(direction, "shop/api", 80));
    let open = Answer {
        isolated: false,
        allowed: true,
    };
    let closed = Answer {
        isolated: true,
        allowed: false,
    };
    assert_eq!(answer(&[ALL], Ingress), closed);
    assert_eq!(answer(&[ALL], Egress), closed);
    assert_eq!(answer(&["  types: [Egress]\n"], Ingress), open);
    assert!(by_calico(&[ALL], &case(Ingress, "own-node", 80)).allowed);
    assert!(!by_calico(&[ALL], &case(Ingress, "node", 80)).allowed);
}

#[test]
fn calico_orders_policies() {
    let deny = "  types: [Ingress]\n  order: 1\n  ingress: [{action: Deny}]\n";
    let allow = "  types: [Ingress]\n  order: 2\n  ingress: [{action: Allow}]\n";
    let last = "  types: [Ingress]\n  ingress: [{action: Deny}]\n";
    let asked = case(Ingress, "shop/api", 80);
    assert!(!by_calico(&[allow, deny], &asked).allowed);
    assert!(by_calico(&[last, allow], &asked).allowed);
    assert!(
        by_calico(&[ALL, allow], &asked).allowed,
        "no match passes on"
    );
}

#[test]
fn calico_matches_each_kind_of_peer() {
    let table: [(&str, &[&str], &[&str]); 7] = [
        (
            "selector: app == 'api'",
            &["shop/api"],
            &["infra/api", "shop/x", "node"],
        ),
        (
            "selector: 'projectcalico.org/orchestrator == ''k8s'' && app in {\"api\", ''x''}'",
            &["shop/api", "shop/x"],
            &["infra/api", "10.0.0.9"],
        ),
        (
            "selector: all(), namespaceSelector: \"projectcalico.org/name in {'infra'}\"",
            &["infra/api"],
            &["shop/api", "node"],
        ),
        (
            "namespaceSelector: kubernetes.io/metadata.name == 'infra'",
            &["infra/api"],
            &["shop/api", "10.0.0.9"],
        ),
        (
            "nets: [10.0.0.0/8, 192.0.2.0/24]",
            &["shop/api", "10.0.0.9", "node", "api"],
            &["198.51.100.1"],
        ),
        (
            "nets: [198.51.100.0/24], notNets: [198.51.100.8/29]",
            &["198.51.100.7"],
            &["198.51.100.9"],
        ),
        (
            "nets: [10.0.0.0/8], selector: app == 'api'",
            &["shop/api"],
            &["shop/x", "10.0.0.9"],
        ),
    ];
    for (peers, allowed, denied) in table {
        let spec = format!(
            "{ALL}  egress: [{{action: Allow, protocol: TCP, destination: {{{peers}, ports: [70, '80:90']}}}}]\n"
        );
        for (others, expected) in [(allowed, true), (denied, false)] {
            for other in others {
                for (port, in_ports) in [(70, true), (71, false), (85, true), (91, false)] {
                    let answer = by_calico(&[&spec], &case(Egress, other, port));
                    assert_eq!(
                        answer.allowed,
                        expected && in_ports,
                        "{peers}: {other} {port}"
                    );
                }
                assert!(!by_calico(&[&spec], &case(Ingress, other, 70)).allowed);
            }
        }
    }
}

#[test]
fn what_calico_or_the_reader_does_not_know_is_an_error() {
    let rule = |rule: &str| format!("{ALL}  ingress: [{{{rule}}}]\n");
    let table = [
        (rule("action: Pass"), "Pass"),
        (rule("action: Allow, notProtocol: TCP"), "notProtocol"),
        (
            rule("action: Allow, source: {selector: app != 'x'}"),
            "app != 'x'",
        ),
        (
            rule("action: Allow, source: {selector: app == 'x' || all()}"),
            "|| all()",
        ),
        (
            rule("action: Allow, source: {ports: [80]}, protocol: TCP"),
            "source's ports",
        ),
        (
            rule("action: Allow, destination: {ports: [80]}"),
            "ports without a protocol",
        ),
        (
            rule("action: Allow, destination: {nets: []}"),
            "side of the policy's own pods",
        ),
        (
            rule("action: Allow, destination: {selector: all()}"),
            "side of the policy's own pods",
        ),
        (
            rule("action: Allow, destination: {namespaceSelector: all()}"),
            "side of the policy's own pods",
        ),
        (
            rule("action: Allow, destination: {notNets: [192.0.2.0/24]}"),
            "side of the policy's own pods",
        ),
        (
            rule("action: Allow, protocol: TCP, destination: {ports: ['9:8']}"),
            "neither a port nor a range",
        ),
        (format!("{ALL}  tier: other\n"), "another tier"),
    ];
    for (spec, expected) in table {
        let text = calico_policy("p", &spec);
        let error = calico::read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{spec}{error}");
    }
}

#[test]
fn an_empty_stream_holds_no_policies() {
    assert!(cilium::read("").unwrap().is_empty());
    assert!(calico::read("\n").unwrap().is_empty());
}
