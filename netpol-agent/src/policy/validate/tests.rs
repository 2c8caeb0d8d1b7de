//! Single fields, each with what is wrong in it; the cases that an API server judged are in `tests/semantics`.

use serde_json::{Value, json};

use super::*;

fn fields(spec: Value) -> Vec<String> {
    let object = json!({"metadata": {"namespace": "shop", "name": "p"}, "spec": spec});
    let policy: NetworkPolicy = serde_json::from_value(object).unwrap();
    validate(&policy)
        .into_iter()
        .map(|invalid| invalid.field)
        .collect()
}

fn of_port(port: Value) -> Vec<String> {
    fields(json!({"podSelector": {}, "egress": [{"ports": [port]}]}))
}

fn of_peer(peer: Value) -> Vec<String> {
    fields(json!({"podSelector": {}, "ingress": [{"from": [peer]}]}))
}

#[test]
fn what_is_right_passes() {
    assert_eq!(
        of_port(json!({"port": 80, "endPort": 80, "protocol": "SCTP"})),
        [""; 0]
    );
    assert_eq!(of_port(json!({"port": "http-1"})), [""; 0]);
    assert_eq!(
        of_peer(json!({"podSelector": {}, "namespaceSelector": {}})),
        [""; 0]
    );
    assert_eq!(
        of_peer(json!({"ipBlock": {"cidr": "fd00::/8", "except": ["fd00::/9"]}})),
        [""; 0]
    );
}

#[test]
fn ports_are_checked() {
    let cases = [
        (json!({"port": 0}), "port"),
        (json!({"port": 65536}), "port"),
        (json!({"port": "UPPER"}), "port"),
        (json!({"port": "1234"}), "port"),
        (json!({"port": 80, "endPort": 79}), "endPort"),
        (json!({"port": "web", "endPort": 80}), "endPort"),
        (json!({"endPort": 80}), "endPort"),
        (json!({"port": 80, "protocol": "ICMP"}), "protocol"),
    ];
    for (port, field) in cases {
        assert_eq!(
            of_port(port.clone()),
            [format!("spec.egress[0].ports[0].{field}")],
            "{port}"
        );
    }
}

#[test]
fn peers_are_checked() {
    let block = |block: Value| json!({"ipBlock": block});
    let expression = |operator: &str, values: Value| json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}});
    let cases = [
        (json!({}), ""),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
            "",
        ),
        (block(json!({"cidr": "10.0.0.0"})), ".ipBlock.cidr"),
        (
            block(json!({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]})),
            ".ipBlock.except[0]",
        ),
        (
            block(json!({"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]})),
            ".ipBlock.except[0]",
        ),
        (
            block(json!({"cidr": "10.0.0.0/8", "except": ["fd00::/9"]})),
            ".ipBlock.except[0]",
        ),
        (
            json!({"podSelector": {"matchLabels": {"a b": ""}}}),
            ".podSelector.matchLabels",
        ),
        (
            json!({"podSelector": {"matchLabels": {"a": "-"}}}),
            ".podSelector.matchLabels",
        ),
        (
            expression("In", json!([])),
            ".podSelector.matchExpressions[0].values",
        ),
        (
            expression("Exists", json!(["x"])),
            ".podSelector.matchExpressions[0].values",
        ),
        (
            expression("Like", json!(["x"])),
            ".podSelector.matchExpressions[0].operator",
        ),
    ];
    for (peer, field) in cases {
        assert_eq!(
            of_peer(peer.clone()),
            [format!("spec.ingress[0].from[0]{field}")],
            "{peer}"
        );
    }
}

#[test]
fn names_and_types_are_checked() {
    assert_eq!(
        fields(json!({"policyTypes": ["Both"]})),
        ["spec.policyTypes[0]"]
    );
    let object = json!({"metadata": {"namespace": "a.b", "name": "A"}, "spec": {}});
    let policy: NetworkPolicy = serde_json::from_value(object).unwrap();
    assert_eq!(validate(&policy).len(), 2);
}

#[test]
fn annotations_are_counted_all_together() {
    let is_valid = |more: usize| {
        let value = |size: usize| "x".repeat(size);
        let annotations = json!({"first": value(200_000), "second": value(62_133 + more)});
        let metadata = json!({"namespace": "shop", "name": "p", "annotations": annotations});
        let object = json!({"metadata": metadata, "spec": {"podSelector": {}}});
        validate(&serde_json::from_value(object).unwrap()).is_empty()
    };
    assert!(is_valid(0), "256 KiB");
    assert!(!is_valid(1));
}
