//! What is said of small clusters, and what is proposed for them, where it is too rare among random ones.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::words::Protocol;
use serde_json::{Value, json};

use super::super::*;
use crate::inventory;

/// A pod of the namespace `a` on the node `one`, labelled `app` and its name before the dash, and `name`.
fn pod(name: &str, addresses: &[&str]) -> Value {
    let addresses = addresses.iter().map(|address| json!({"ip": address}));
    let addresses: Vec<Value> = addresses.collect();
    let labels = json!({"app": name.split('-').next(), "name": name});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": name, "labels": labels},
        "spec": {"nodeName": "one"}, "status": {"podIPs": addresses},
    })
}

/// The same pod, of the StatefulSet that is called as it before the dash.
fn of_set(mut pod: Value) -> Value {
    let set = pod["metadata"]["labels"]["app"].clone();
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": set});
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod
}

/// A policy of the namespace `a`.
fn policy(name: &str, spec: &Value) -> NetworkPolicy {
    let object = json!({"metadata": {"namespace": "a", "name": name}, "spec": spec});
    serde_json::from_value(object).expect("a policy")
}

/// A policy that isolates the pods of an app and lets in some.
fn ingress_of(app: &str, rules: &Value) -> NetworkPolicy {
    let selector = json!({"matchLabels": {"app": app}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules});
    policy(app, &spec)
}

/// A policy that isolates the pods of an app and lets them out to some.
fn egress_of(app: &str, rules: &Value) -> NetworkPolicy {
    let selector = json!({"matchLabels": {"app": app}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Egress"], "egress": rules});
    policy(app, &spec)
}

fn explained(
    objects: &[Value],
    policies: &[NetworkPolicy],
    (from, to): (&str, &str),
    port: u16,
) -> Explanation {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let mut read = inventory::parse("objects", &list).expect("an inventory");
    let index = read.take_index();
    let (world, cluster) = (World::of(&index), Cluster::of(&index));
    let scene = Scene {
        world: &world,
        cluster: &cluster,
        policies,
        reading: Reading::default(),
    };
    let find = |text| Ends::find(text, &world, &cluster).expect("an end");
    let question = Question {
        from: &find(from),
        to: &find(to),
        protocol: Protocol::Tcp,
        port,
    };
    explain(&scene, &question)
}

/// What misses of each rule that does not let in the clients of the only answer.
fn misses_of(explanation: &Explanation) -> Vec<Vec<Part>> {
    let [answer] = &*explanation.answers else {
        panic!("{:?}", explanation.answers);
    };
    assert!(answer.ingress.by.is_empty(), "{answer:?}");
    let rules = answer.ingress.not_by.iter();
    rules
        .map(|rule| rule.misses.iter().map(|miss| miss.part).collect())
        .collect()
}

#[test]
fn what_is_said_of_both_families_is_said_once() {
    let objects = [
        pod("web", &["10.0.0.1", "fd00::1"]),
        pod("db", &["10.0.0.2", "fd00::2"]),
        pod("other", &["10.0.0.3"]),
    ];
    let block = json!({"ipBlock": {"cidr": "10.0.0.1/32"}});
    let policies = [ingress_of("other", &json!([{"from": [block]}]))];
    let explanation = explained(&objects, &policies, ("a/web", "a/db"), 80);
    let [answer] = &*explanation.answers else {
        panic!("{:?}", explanation.answers);
    };
    assert_eq!(answer.families, ["IPv4", "IPv6"].into());
}

/// The headings of the answers.
fn headings(explanation: &Explanation) -> Vec<String> {
    let text = explanation.to_string();
    let lines = text.lines().skip(1).filter(|line| line.contains(" -> "));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_no_block_tells_apart_is_of_both_families() {
    let objects = [
        pod("web", &["10.0.0.1", "fd00::1"]),
        of_set(pod("db-0", &["10.0.0.2", "fd00::2"])),
        of_set(pod("db-1", &["10.0.0.3", "fd00::3"])),
        of_set(pod("db-2", &["10.0.0.4"])),
    ];
    let only = |name: &str, rules: Value| {
        let selector = json!({"matchLabels": {"name": name}});
        let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules});
        policy(name, &spec)
    };
    let other = json!({"ipBlock": {"cidr": "192.0.2.0/24"}});
    let policies = [
        only("db-1", json!([{"from": [other]}])),
        only("db-2", json!([])),
    ];
    let explanation = explained(&objects, &policies, ("a/web", "a/db"), 80);
    let told = [
        "a/web -> a/db-0 over IPv4 and IPv6: allowed",
        "a/web -> a/db-1 over IPv4 and IPv6: denied",
        "a/web -> a/db-2 over IPv4: denied",
    ];
    assert_eq!(headings(&explanation), told);
}

#[test]
fn a_block_of_one_family_decides_for_that_family_only() {
    let objects = [
        pod("web", &["10.0.0.1", "fd00::1"]),
        pod("db", &["10.0.0.2", "fd00::2"]),
    ];
    for (block, allowed, denied) in [
        ("10.0.0.0/24", "IPv4", "IPv6"),
        ("fd00::/64", "IPv6", "IPv4"),
    ] {
        let rules = json!([{"from": [{"ipBlock": {"cidr": block}}]}]);
        let policies = [ingress_of("db", &rules)];
        let explanation = explained(&objects, &policies, ("a/web", "a/db"), 80);
        let mut told = [
            format!("a/web -> a/db over {allowed}: allowed"),
            format!("a/web -> a/db over {denied}: denied"),
        ];
        told.sort();
        let mut headings = headings(&explanation);
        headings.sort();
        assert_eq!(headings, told);
        assert!(!explanation.allowed);
        let text = explanation.to_string();
        assert!(
            text.contains("for some of their pods or addresses only"),
            "{text}"
        );
    }
}

#[test]
fn a_policy_has_rules_in_the_directions_that_it_is_about() {
    let rules = |types: Value| {
        let spec =
            json!({"podSelector": {}, "policyTypes": types, "ingress": [{}, {}], "egress": [{}]});
        let policy = policy("p", &spec);
        Way::ALL.map(|way| rules_in_words(&policy, way).len())
    };
    assert_eq!(rules(json!(["Ingress"])), [2, 0]);
    assert_eq!(rules(json!(["Egress"])), [0, 1]);
    assert_eq!(rules(json!(["Ingress", "Egress"])), [2, 1]);
    assert_eq!(rules(json!([])), [2, 1]);
    assert_eq!(rules(Value::Null), [2, 1]);
}

#[test]
fn no_selector_matches_a_pod_on_its_nodes_network() {
    let mut agent = pod("agent", &["192.0.2.1"]);
    agent["spec"] = json!({"nodeName": "two", "hostNetwork": true});
    let objects = [agent, pod("db", &["10.0.0.1"])];
    let selector = json!({"podSelector": {"matchLabels": {"app": "agent"}}});
    let policies = [ingress_of("db", &json!([{"from": [selector]}]))];
    let explanation = explained(&objects, &policies, ("a/agent", "a/db"), 80);
    assert_eq!(misses_of(&explanation), [[Part::Peer]]);
}

#[test]
fn only_a_whole_family_surely_holds_an_address_that_is_not_known() {
    let objects = [pod("late", &[]), pod("db", &["10.0.0.1"])];
    let blocks = [
        json!({"cidr": "0.0.0.0/8"}),
        json!({"cidr": "::/0"}),
        json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}),
    ];
    for block in blocks {
        let policies = [ingress_of("db", &json!([{"from": [{"ipBlock": block}]}]))];
        let explanation = explained(&objects, &policies, ("a/late", "a/db"), 80);
        assert_eq!(misses_of(&explanation), [[Part::Address]], "{block}");
    }
    let all = json!({"cidr": "0.0.0.0/0", "except": []});
    let policies = [ingress_of("db", &json!([{"from": [{"ipBlock": all}]}]))];
    assert!(explained(&objects, &policies, ("a/late", "a/db"), 80).allowed);
}

#[test]
fn a_port_of_that_name_over_another_protocol_is_none() {
    let mut db = pod("db", &["10.0.0.1"]);
    let port = json!({"name": "dns", "protocol": "UDP", "containerPort": 53});
    db["spec"]["containers"] = json!([{"name": "c", "ports": [port]}]);
    let objects = [pod("web", &["10.0.0.2"]), db];
    let policies = [ingress_of("db", &json!([{"ports": [{"port": "dns"}]}]))];
    let explanation = explained(&objects, &policies, ("a/web", "a/db"), 53);
    assert_eq!(misses_of(&explanation), [[Part::Port]]);
}

/// What is proposed for the one side stays when the other side's is made.
#[test]
fn a_change_allows_what_both_sides_deny() {
    let objects = [pod("web", &["10.0.0.1"]), pod("db", &["10.0.0.2"])];
    let policies = [egress_of("web", &json!([])), ingress_of("db", &json!([]))];
    let asked = ("a/web", "a/db");
    let change = explained(&objects, &policies, asked, 80).change;
    let change = change.expect("a change");
    assert_eq!(change.steps.len(), 2, "{change:?}");
    assert!(explained(&objects, &change.policies, asked, 80).allowed);
}

/// A policy for a workload of which some pods are not isolated would isolate them.
#[test]
fn a_change_that_allows_more_is_better_than_one_that_denies_something() {
    let objects = [
        of_set(pod("web-0", &["10.0.0.1"])),
        of_set(pod("web-1", &["10.0.0.2"])),
        pod("api", &["10.0.0.3"]),
        pod("client", &["10.0.0.4"]),
        pod("other", &["10.0.0.5"]),
    ];
    let names = json!({"key": "name", "operator": "In", "values": ["web-1", "api"]});
    let spec = json!({"podSelector": {"matchExpressions": [names]}, "policyTypes": ["Ingress"]});
    let policies = [policy("some", &spec)];
    let asked = ("a/client", "a/StatefulSet/web");
    let change = explained(&objects, &policies, asked, 80).change;
    let change = change.expect("a change");
    assert_eq!(change.also_allows.len(), 1, "{change:?}");
    assert!(explained(&objects, &change.policies, asked, 80).allowed);
    assert!(explained(&objects, &change.policies, ("a/other", "a/web-0"), 80).allowed);
}

#[test]
fn the_first_address_of_a_block_is_told_apart_from_it() {
    let objects = [pod("web", &["10.0.0.1"])];
    let to = json!([{"ipBlock": {"cidr": "198.51.100.0/24"}}]);
    let rules = json!([{"to": to, "ports": [{"port": 80}]}]);
    let policies = [egress_of("web", &rules)];
    let change = explained(&objects, &policies, ("a/web", "198.51.100.0"), 443).change;
    let change = change.expect("a change");
    assert!(change.also_allows.is_empty(), "{change:?}");
}

/// The same pod with a port of that name.
fn serving(mut pod: Value, name: &str, port: u16) -> Value {
    let port = json!({"name": name, "containerPort": port});
    pod["spec"]["containers"] = json!([{"name": "c", "ports": [port]}]);
    pod
}

/// What is proposed, each step without what to put there.
fn steps(explanation: &Explanation) -> Vec<&str> {
    let steps = explanation.change.iter().flat_map(|change| &change.steps);
    steps.map(|step| step.what.as_str()).collect()
}

#[test]
fn a_port_will_do_where_it_is_missing_for_some_of_the_pods_only() {
    let objects = [
        pod("web", &["10.0.0.1"]),
        of_set(serving(pod("db-0", &["10.0.0.2"]), "http", 8080)),
        of_set(serving(pod("db-1", &["10.0.0.3"]), "http", 9090)),
    ];
    let from = json!([{"podSelector": {"matchLabels": {"app": "web"}}}]);
    let policies = [ingress_of(
        "db",
        &json!([{"from": from, "ports": [{"port": "http"}]}]),
    )];
    for port in [8080, 9090] {
        let explanation = explained(&objects, &policies, ("a/web", "a/StatefulSet/db"), port);
        assert_eq!(
            steps(&explanation),
            ["to spec.ingress[0].ports of NetworkPolicy a/db add"]
        );
        assert!(
            explanation
                .change
                .is_some_and(|change| change.also_allows.is_empty())
        );
    }
}

#[test]
fn only_those_clients_are_added_that_are_missing() {
    let objects = [
        of_set(pod("web-0", &["10.0.0.1"])),
        pod("db", &["10.0.0.2"]),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "all"},
               "spec": {"selector": {"in": "all"}, "ports": [{"port": 80}]}}),
        labelled(pod("one", &["10.0.0.3"])),
        labelled(pod("two", &["10.0.0.4"])),
    ];
    let to = json!([{"podSelector": {"matchLabels": {"app": "one"}}}]);
    let policies = [egress_of(
        "db",
        &json!([{"to": to, "ports": [{"port": 80}]}]),
    )];
    let change = explained(&objects, &policies, ("a/db", "a/Service/all"), 80).change;
    let change = change.expect("a change");
    let yaml: Vec<&str> = change.steps.iter().map(|step| step.yaml.as_str()).collect();
    assert_eq!(yaml, ["- podSelector:\n    matchLabels:\n      app: two\n"]);
}

/// The same pod with a label that a service selects.
fn labelled(mut pod: Value) -> Value {
    pod["metadata"]["labels"]["in"] = json!("all");
    pod
}

#[test]
fn a_policy_is_a_smaller_change_than_rules_in_two() {
    let objects = [
        pod("web", &["10.0.0.1"]),
        of_set(pod("db-0", &["10.0.0.2"])),
        of_set(pod("db-1", &["10.0.0.3"])),
    ];
    let deny = |name: &str| {
        let selector = json!({"matchLabels": {"name": name}});
        policy(
            name,
            &json!({"podSelector": selector, "policyTypes": ["Ingress"]}),
        )
    };
    let asked = ("a/web", "a/StatefulSet/db");
    let policies = [deny("db-0"), deny("db-1")];
    let explanation = explained(&objects, &policies, asked, 80);
    assert_eq!(
        steps(&explanation),
        ["add NetworkPolicy a/allow-db-ingress-80"]
    );
}

/// A policy for the set would isolate the pod of it that nothing isolates, so that there are two rules.
#[test]
fn rules_in_two_policies_where_a_policy_would_deny_something() {
    let objects = [
        pod("web", &["10.0.0.1"]),
        of_set(pod("db-0", &["10.0.0.2"])),
        of_set(pod("db-1", &["10.0.0.3"])),
        of_set(pod("db-2", &["10.0.0.4"])),
    ];
    let deny = |name: &str| {
        let selector = json!({"matchLabels": {"name": name}});
        policy(
            name,
            &json!({"podSelector": selector, "policyTypes": ["Ingress"]}),
        )
    };
    let policies = [deny("db-0"), deny("db-1")];
    let explanation = explained(&objects, &policies, ("a/web", "a/StatefulSet/db"), 80);
    assert_eq!(
        steps(&explanation),
        [
            "to spec.ingress of NetworkPolicy a/db-0 add",
            "to spec.ingress of NetworkPolicy a/db-1 add"
        ]
    );
}

#[test]
fn what_no_addresses_of_one_family_connect_is_not_allowed() {
    let objects = [pod("web", &["10.0.0.1"]), pod("db", &["fd00::2"])];
    let explanation = explained(&objects, &[], ("a/web", "a/db"), 80);
    assert!(!explanation.allowed);
    assert_eq!((explanation.answers.len(), &explanation.change), (0, &None));
    let text = explanation.to_string();
    assert!(
        text.ends_with("nobody speaks with anybody: their addresses are of different families\n"),
        "{text}"
    );
}
