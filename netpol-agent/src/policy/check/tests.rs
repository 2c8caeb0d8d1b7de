//! Who a flow may have been between, by pods that were other ones then, and pods with several addresses or none.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::inventory;

/// When the pods of the past began, when they were seen, when others had taken their names, and when those were seen.
const TIMES: [&str; 4] = [
    "2026-01-01T00:00:00Z",
    "2026-01-01T01:00:00Z",
    "2026-01-01T02:00:00Z",
    "2026-01-01T03:00:00Z",
];
const THEN: Option<&str> = Some(TIMES[1]);
const SINCE: Option<&str> = Some(TIMES[3]);

/// A pod as the past had it: on the node `one`, labelled `app` and its name before the dash.
fn pod(name: &str, addresses: &[&str]) -> Value {
    let addresses = addresses.iter().map(|address| json!({"ip": address}));
    let addresses: Vec<Value> = addresses.collect();
    let app = name.split('-').next();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "n", "name": name, "uid": format!("{name}-then"), "labels": {"app": app},
            "creationTimestamp": TIMES[0],
        },
        "spec": {"nodeName": "one"}, "status": {"podIPs": addresses},
    })
}

/// Another pod of that name, which came later.
fn another(mut pod: Value) -> Value {
    let name = pod["metadata"]["name"].clone();
    pod["metadata"]["uid"] = format!("{name}-since").into();
    pod["metadata"]["creationTimestamp"] = TIMES[2].into();
    pod
}

fn owned(mut pod: Value, kind: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": "own", "uid": kind});
    pod["metadata"]["ownerReferences"] = json!([owner]);
    pod
}

fn on_host(mut pod: Value) -> Value {
    pod["spec"]["hostNetwork"] = json!(true);
    pod
}

fn nodes() -> Vec<Value> {
    let node = |(name, address)| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    [("one", "192.0.2.1"), ("two", "192.0.2.2")]
        .map(node)
        .into()
}

/// An index of pods, some of which were replaced since.
fn index(past: Vec<Value>, present: Vec<Value>) -> Index {
    let read = |objects: Vec<Value>| {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let read = inventory::parse("objects", &list);
        read.expect("an inventory").objects
    };
    let at = |time: &str| time.parse::<Timestamp>().expect("a time");
    let mut index = Index::default();
    index.reset(read([nodes(), past].concat()), at(TIMES[0]));
    for object in read(present) {
        index.apply(object, at(TIMES[2]));
    }
    index
}

/// Policies that isolate the pods of `db`, and let in some.
fn policies(ingress: &Value) -> Vec<NetworkPolicy> {
    let selector = json!({"matchLabels": {"app": "db"}});
    let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": ingress});
    let policy = json!({"metadata": {"namespace": "n", "name": "db"}, "spec": spec});
    vec![serde_json::from_value(policy).expect("a policy")]
}

/// The answer to a flow on port 80: whether it is allowed, and how many pairs it may have been between.
fn checked(
    index: &Index,
    policies: &[NetworkPolicy],
    (client, server): (&str, &str),
    time: Option<&str>,
) -> (bool, usize) {
    let end = |text: &str| match text.matches('/').count() {
        2 => json!({"workload": text}),
        1 => json!({"pod": text}),
        _ => json!({"ip": text}),
    };
    let record = json!({
        "time": time, "client": end(client), "server": end(server), "protocol": "TCP", "port": 80,
        "outcome": "established",
    });
    let record: FlowRecord = serde_json::from_value(record).expect("a flow");
    let world = World::of(index);
    let checker = Checker::new(&world, policies, Reading::default());
    let answer = checker.check(index, &record).expect("known ends");
    (answer.allowed(), answer.pairs)
}

#[test]
fn a_pod_is_judged_by_the_labels_that_it_had() {
    let mut renamed = another(pod("web-0", &["10.0.0.1"]));
    renamed["metadata"]["labels"] = json!({"app": "other"});
    let past = vec![pod("web-0", &["10.0.0.1"]), pod("db-0", &["10.0.0.2"])];
    let index = index(past, vec![renamed]);
    let web = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    let policies = policies(&json!([{"from": [web]}]));
    for client in ["n/web-0", "10.0.0.1"] {
        let flow = (client, "n/db-0");
        assert_eq!(checked(&index, &policies, flow, THEN), (true, 1));
        assert_eq!(checked(&index, &policies, flow, SINCE), (false, 1));
    }
}

#[test]
fn a_pod_is_judged_on_the_node_that_it_was_on() {
    let mut moved = another(pod("db-0", &["10.0.0.3"]));
    moved["spec"]["nodeName"] = json!("two");
    let index = index(vec![pod("db-0", &["10.0.0.2"])], vec![moved]);
    let policies = policies(&json!([]));
    let allowed = |node, time| checked(&index, &policies, (node, "n/db-0"), time);
    assert_eq!(allowed("192.0.2.1", THEN), (true, 1));
    assert_eq!(allowed("192.0.2.2", THEN), (false, 1));
    assert_eq!(allowed("192.0.2.1", SINCE), (false, 1));
    assert_eq!(allowed("192.0.2.2", SINCE), (true, 1));
}

#[test]
fn a_pod_that_is_gone_is_judged_at_the_addresses_that_it_had() {
    let mut web = another(pod("web-0", &["10.0.0.8"]));
    web["metadata"]["labels"] = json!({"app": "other"});
    let mut late = another(pod("late-0", &[]));
    late["metadata"]["labels"] = json!({"app": "other"});
    let past = vec![
        pod("web-0", &["10.0.0.7"]),
        pod("late-0", &[]),
        pod("db-0", &["10.0.0.2"]),
    ];
    let index = index(past, vec![web, late]);
    let policies = policies(&json!([{"from": [{"ipBlock": {"cidr": "10.0.0.7/32"}}]}]));
    let allowed = |client, time| checked(&index, &policies, (client, "n/db-0"), time);
    assert_eq!(allowed("n/web-0", THEN), (true, 1));
    assert_eq!(allowed("n/web-0", SINCE), (false, 1));
    assert_eq!(allowed("n/late-0", THEN), (false, 1));
}

/// A pair is of two addresses of one family, if there are any such two.
#[test]
fn pairs_are_of_one_family() {
    let past = vec![
        pod("web-0", &["10.0.0.1", "fd00::1"]),
        pod("api-0", &["10.0.0.2", "fd00::2"]),
        pod("db-0", &["10.0.0.3"]),
        pod("six-0", &["fd00::4"]),
    ];
    let index = index(past, Vec::new());
    let policies = policies(&json!([{"from": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}]));
    let answer = |flow| checked(&index, &policies, flow, None);
    assert_eq!(answer(("n/web-0", "n/api-0")), (true, 2));
    assert_eq!(answer(("n/web-0", "n/db-0")), (true, 1));
    assert_eq!(answer(("10.0.0.1", "n/db-0")), (true, 1));
    assert_eq!(answer(("n/api-0", "n/db-0")), (false, 1));
    assert_eq!(answer(("n/db-0", "n/six-0")), (true, 1));
}

#[test]
fn a_pod_without_an_address_has_one_of_each_family_of_the_cluster() {
    let past = vec![
        pod("late-0", &[]),
        pod("late-1", &[]),
        pod("db-0", &["10.0.0.3"]),
    ];
    let index = index(past, Vec::new());
    let late = ("n/late-0", "n/late-1");
    assert_eq!(checked(&index, &[], late, None), (true, 1));
}

/// A workload may have had a second pod; a pod is itself.
#[test]
fn a_workload_is_judged_as_two_pods_of_it() {
    let past = vec![
        owned(pod("db-0", &["10.0.0.3"]), "StatefulSet"),
        pod("db-1", &["10.0.0.4"]),
    ];
    let index = index(past, Vec::new());
    let policies = policies(&json!([]));
    let allowed = |client, server| checked(&index, &policies, (client, server), None);
    let own = "n/StatefulSet/own";
    assert_eq!(allowed(own, own), (false, 1));
    assert_eq!(allowed("n/db-0", "n/db-0"), (true, 1));
    assert_eq!(allowed("n/Pod/db-1", "n/Pod/db-1"), (true, 1));
    assert_eq!(allowed("n/Pod/db-1", own), (false, 1));
}

#[test]
fn a_workload_on_the_network_of_a_servers_node_reaches_it() {
    let past = vec![
        owned(on_host(pod("agent-0", &["192.0.2.1"])), "DaemonSet"),
        owned(pod("db-0", &["10.0.0.3"]), "StatefulSet"),
    ];
    let index = index(past, Vec::new());
    let flow = ("n/DaemonSet/own", "n/StatefulSet/own");
    assert_eq!(
        checked(&index, &policies(&json!([])), flow, None),
        (true, 1)
    );
}
