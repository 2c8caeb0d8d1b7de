//! The specification, sentence by sentence, as far as it is about single connections.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::*;

fn pod(namespace: &str, name: &str, app: &str) -> Pod {
    Pod {
        name: ObjectName::new(namespace, name),
        labels: [("app".to_owned(), app.to_owned())].into(),
        node: Some(format!("node-of-{name}")),
        host_network: false,
        named_ports: vec![("web".to_owned(), Protocol::Tcp, 8080)],
    }
}

fn policy(spec: &Value) -> NetworkPolicy {
    let object = json!({"metadata": {"namespace": "shop", "name": "p"}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

/// The verdict on `client` reaching `server` under one policy in the namespace `shop`.
fn verdict(
    spec: &Value,
    client: End<'_>,
    server: End<'_>,
    (protocol, port): (Protocol, u16),
) -> Verdict {
    let policies = [policy(spec)];
    let namespaces = BTreeMap::from([(
        "other".to_owned(),
        Labels::from([("team".to_owned(), "b".to_owned())]),
    )]);
    let evaluator = Evaluator {
        namespaces: &namespaces,
        policies: &policies,
        reading: Reading::default(),
    };
    evaluator.verdict(&Connection {
        client,
        client_address: "10.0.0.1".parse().unwrap(),
        server,
        server_address: "10.0.0.2".parse().unwrap(),
        protocol,
        port,
    })
}

const HTTP: (Protocol, u16) = (Protocol::Tcp, 8080);

/// Whether a pod of `shop` labelled `app: db` may be reached by one labelled `app: web`.
fn web_reaches_db(spec: &Value, port: (Protocol, u16)) -> bool {
    let (web, db) = (pod("shop", "web-1", "web"), pod("shop", "db-1", "db"));
    verdict(spec, End::Pod(&web), End::Pod(&db), port).allowed()
}

#[test]
fn a_pod_that_no_policy_selects_is_not_isolated() {
    assert!(web_reaches_db(
        &json!({"podSelector": {"matchLabels": {"app": "x"}}}),
        HTTP
    ));
}

#[test]
fn an_empty_selector_selects_all_pods_of_the_namespace_only() {
    assert!(!web_reaches_db(&json!({"podSelector": {}}), HTTP));
    let (web, db) = (pod("other", "web-1", "web"), pod("other", "db-1", "db"));
    assert!(
        verdict(
            &json!({"podSelector": {}}),
            End::Pod(&web),
            End::Pod(&db),
            HTTP
        )
        .allowed()
    );
}

#[test]
fn policy_types_default_to_ingress_and_to_egress_where_it_has_rules() {
    let web = pod("shop", "web-1", "web");
    let types = |spec: &Value| {
        let verdict = verdict(
            spec,
            End::Pod(&web),
            End::Pod(&pod("shop", "db", "db")),
            HTTP,
        );
        (verdict.ingress.isolated, verdict.egress.isolated)
    };
    assert_eq!(types(&json!({"podSelector": {}})), (true, false));
    assert_eq!(
        types(&json!({"podSelector": {}, "egress": [{}]})),
        (true, true)
    );
    assert_eq!(
        types(&json!({"podSelector": {}, "policyTypes": ["Egress"]})),
        (false, true)
    );
}

#[test]
fn an_empty_rule_allows_all_and_an_absent_list_of_peers_allows_everybody() {
    assert!(web_reaches_db(
        &json!({"podSelector": {}, "ingress": [{}]}),
        HTTP
    ));
    let ports_only = json!({"podSelector": {}, "ingress": [{"ports": [{"port": 8080}]}]});
    assert!(web_reaches_db(&ports_only, HTTP));
    assert!(!web_reaches_db(&ports_only, (Protocol::Tcp, 8081)));
}

#[test]
fn selectors_know_four_operators() {
    let allowed = |operator: &str, values: Value| {
        let expression = json!({"key": "app", "operator": operator, "values": values});
        let from = json!([{"podSelector": {"matchExpressions": [expression]}}]);
        web_reaches_db(
            &json!({"podSelector": {}, "ingress": [{"from": from}]}),
            HTTP,
        )
    };
    assert!(allowed("In", json!(["x", "web"])));
    assert!(!allowed("In", json!(["x"])));
    assert!(allowed("NotIn", json!(["x"])));
    assert!(!allowed("NotIn", json!(["web"])));
    assert!(allowed("Exists", Value::Null));
    assert!(!allowed("DoesNotExist", Value::Null));
    assert!(!allowed("Like", json!(["web"])));
}

#[test]
fn namespace_and_pod_selector_of_one_entry_both_hold() {
    let reached = |from: Value, namespace: &str| {
        let (web, db) = (pod(namespace, "web-1", "web"), pod("shop", "db-1", "db"));
        let spec = json!({"podSelector": {}, "ingress": [{"from": [from]}]});
        verdict(&spec, End::Pod(&web), End::Pod(&db), HTTP).allowed()
    };
    let both = json!({
        "namespaceSelector": {"matchLabels": {"team": "b"}},
        "podSelector": {"matchLabels": {"app": "web"}},
    });
    assert!(reached(both.clone(), "other"));
    assert!(!reached(both, "shop"));
    assert!(reached(
        json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}),
        "other"
    ));
    assert!(reached(json!({"namespaceSelector": {}}), "shop"));
    assert!(!reached(
        json!({"podSelector": {"matchLabels": {"app": "web"}}}),
        "other"
    ));
    let by_name =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}});
    assert!(reached(by_name, "other"));
}

#[test]
fn blocks_have_exceptions_and_match_outside_addresses() {
    let db = pod("shop", "db-1", "db");
    let reached = |block: Value| {
        let spec = json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]});
        verdict(&spec, End::Outside, End::Pod(&db), HTTP).allowed()
    };
    assert!(reached(json!({"cidr": "10.0.0.0/24"})));
    assert!(!reached(
        json!({"cidr": "10.0.0.0/24", "except": ["10.0.0.0/31"]})
    ));
    assert!(!reached(json!({"cidr": "fd00::/8"})));
    assert!(!reached(json!({"cidr": "nonsense"})));
}

#[test]
fn ports_have_protocols_ranges_and_names() {
    let reached = |entry: Value, port| {
        web_reaches_db(
            &json!({"podSelector": {}, "ingress": [{"ports": [entry]}]}),
            port,
        )
    };
    assert!(reached(json!({"protocol": "UDP"}), (Protocol::Udp, 9)));
    assert!(!reached(json!({"protocol": "UDP"}), (Protocol::Tcp, 9)));
    for (port, expected) in [(79, false), (80, true), (85, true), (90, true), (91, false)] {
        assert_eq!(
            reached(json!({"port": 80, "endPort": 90}), (Protocol::Tcp, port)),
            expected
        );
    }
    assert!(reached(json!({"port": "web"}), HTTP));
    assert!(!reached(json!({"port": "web"}), (Protocol::Tcp, 80)));
    assert!(!reached(json!({"port": "web", "endPort": 9000}), HTTP));
}

#[test]
fn a_connection_needs_both_ends() {
    let (web, db) = (pod("shop", "web-1", "web"), pod("shop", "db-1", "db"));
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}]});
    let verdict = verdict(&spec, End::Pod(&web), End::Pod(&db), HTTP);
    assert!(verdict.ingress.allowed && !verdict.egress.allowed && !verdict.allowed());
    assert_eq!(
        verdict.ingress.by,
        [RuleId {
            policy: ObjectName::new("shop", "p"),
            rule: 0
        }]
    );
}

#[test]
fn a_pod_reaches_itself_and_is_reached_by_its_own_node() {
    let db = pod("shop", "db-1", "db");
    let deny = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    assert!(verdict(&deny, End::Pod(&db), End::Pod(&db), HTTP).allowed());
    assert!(verdict(&deny, End::Node("node-of-db-1"), End::Pod(&db), HTTP).allowed());
    assert!(!verdict(&deny, End::Node("another"), End::Pod(&db), HTTP).allowed());
    assert!(!verdict(&deny, End::Pod(&db), End::Node("node-of-db-1"), HTTP).allowed());
}

#[test]
fn a_pod_on_its_nodes_network_is_its_node() {
    let mut host = pod("shop", "web-1", "web");
    host.host_network = true;
    let db = pod("shop", "db-1", "db");
    let from = |peer: Value| json!({"podSelector": {}, "ingress": [{"from": [peer]}]});
    let by_label = from(json!({"podSelector": {"matchLabels": {"app": "web"}}}));
    assert!(!verdict(&by_label, End::Pod(&host), End::Pod(&db), HTTP).allowed());
    let by_address = from(json!({"ipBlock": {"cidr": "10.0.0.1/32"}}));
    assert!(verdict(&by_address, End::Pod(&host), End::Pod(&db), HTTP).allowed());
    assert!(verdict(&from(json!({})), End::Pod(&db), End::Pod(&host), HTTP).allowed());
}

#[test]
fn addresses_that_are_not_known_are_of_the_families_that_are_used() {
    let used = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| json!({"ip": address}));
        let addresses: Vec<Value> = addresses.collect();
        let known = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "known"},
            "spec": {"nodeName": "one"}, "status": {"podIPs": addresses},
        });
        let late = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "late"},
        });
        let world = random::world_of(json!([known, late]));
        let late = world.named(&ObjectName::new("shop", "late"));
        let addresses = world.addresses_of(late.expect("a pod"));
        let addresses = addresses.iter().map(ToString::to_string);
        addresses.collect::<Vec<_>>()
    };
    assert_eq!(used(&["10.0.0.1"]), ["0.0.0.0"]);
    assert_eq!(used(&["fd00::1"]), ["::"]);
    assert_eq!(used(&["10.0.0.1", "fd00::1"]), ["0.0.0.0", "::"]);
    assert_eq!(used(&[]), ["0.0.0.0"]);
}
