//! Who had an address when, as objects come and go.

use jiff::Timestamp;
use netpol_agent::identity::Index;
use netpol_agent::identity::objects::{Object, ObjectKind};
use netpol_agent::inventory;

use crate::sightings::{assert_table, at, resolve};

const NODES: &str = "
{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.1.0.0/24]}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: b}, spec: {podCIDRs: [10.1.1.0/24]}, status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}}
";
const UNKNOWN: &str = "? 10.1.0.9 belonged to no known pod, service or node at that time";

fn objects(text: &str) -> Vec<Object> {
    inventory::parse("test", text)
        .expect("an inventory")
        .objects
}

fn apply(index: &mut Index, text: &str, clock: &str) {
    for object in objects(text) {
        index.apply(object, at(clock));
    }
}

fn delete(index: &mut Index, text: &str, clock: &str) {
    for object in objects(text) {
        index.delete(&object.key(), at(clock));
    }
}

/// A pod of its own workload on node `a`, with further status fields.
fn pod(name: &str, created: &str, status: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: t, uid: u-{name}, \
         creationTimestamp: \"2026-01-02T{created}Z\"}}, spec: {{nodeName: a, containers: []}}, status: {{{status}}}}}"
    )
}

fn running(name: &str, created: &str, address: &str) -> String {
    pod(name, created, &format!("phase: Running, podIP: {address}"))
}

fn nodes() -> Index {
    let mut index = Index::default();
    apply(&mut index, NODES, "00:00:00");
    index
}

#[test]
fn an_address_is_its_pods_from_creation_to_deletion() {
    let mut index = nodes();
    let text = running("one", "10:00:00", "10.1.0.9");
    apply(&mut index, &text, "10:00:07");
    delete(&mut index, &text, "10:30:00.5");
    assert_table(
        &index,
        &[
            ("10.1.0.9 -> 192.168.0.2:1 @ 09:59:59", UNKNOWN),
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:00:00",
                "t/Pod/one -> node b:1/TCP",
            ),
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:30:00.4",
                "t/Pod/one -> node b:1/TCP",
            ),
            ("10.1.0.9 -> 192.168.0.2:1 @ 10:30:00.5", UNKNOWN),
            // A sighting that began while the pod was there was its own.
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:29:00..10:40:00",
                "t/Pod/one -> node b:1/TCP",
            ),
        ],
    );
}

#[test]
fn fifty_owners_of_one_address_are_told_apart_by_time() {
    let mut index = nodes();
    for minute in 10..60 {
        let text = running(
            &format!("job{minute}"),
            &format!("10:{minute}:00"),
            "10.1.0.9",
        );
        apply(&mut index, &text, &format!("10:{minute}:01"));
        delete(&mut index, &text, &format!("10:{minute}:30"));
    }
    for minute in 10..60 {
        let during = resolve(
            &index,
            &format!("10.1.0.9 -> 192.168.0.2:1 @ 10:{minute}:20"),
        );
        assert_eq!(during, format!("t/Pod/job{minute} -> node b:1/TCP"));
        assert_eq!(
            resolve(
                &index,
                &format!("10.1.0.9 -> 192.168.0.2:1 @ 10:{minute}:40")
            ),
            UNKNOWN
        );
    }
    index.prune(at("10:40:00"));
    assert_eq!(
        resolve(&index, "10.1.0.9 -> 192.168.0.2:1 @ 10:20:20"),
        UNKNOWN,
        "pruned"
    );
    let kept = resolve(&index, "10.1.0.9 -> 192.168.0.2:1 @ 10:50:20");
    assert_eq!(kept, "t/Pod/job50 -> node b:1/TCP");
}

#[test]
fn what_a_pod_sent_before_the_api_knew_its_address_is_its_own() {
    let mut index = nodes();
    apply(
        &mut index,
        &pod("init", "10:00:00", "phase: Pending"),
        "10:00:00",
    );
    let early = "10.1.0.9 -> 192.168.0.2:1 @ 10:00:05";
    assert_eq!(resolve(&index, early), UNKNOWN);
    apply(
        &mut index,
        &running("init", "10:00:00", "10.1.0.9"),
        "10:00:30",
    );
    assert_eq!(resolve(&index, early), "t/Pod/init -> node b:1/TCP");
}

#[test]
fn an_address_that_changes_changes_when_that_is_learned() {
    let mut index = nodes();
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.10"),
        "11:00:00",
    );
    assert_table(
        &index,
        &[
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:59:00",
                "t/Pod/one -> node b:1/TCP",
            ),
            ("10.1.0.9 -> 192.168.0.2:1 @ 11:01:00", UNKNOWN),
            (
                "10.1.0.10 -> 192.168.0.2:1 @ 11:01:00",
                "t/Pod/one -> node b:1/TCP",
            ),
            (
                "10.1.0.10 -> 192.168.0.2:1 @ 10:59:00",
                "? 10.1.0.10 belonged to no known pod, service or node at that time",
            ),
        ],
    );
}

#[test]
fn a_pod_missing_from_a_list_ended_before_its_heir_began() {
    let mut index = nodes();
    let (one, two) = (
        running("one", "10:00:00", "10.1.0.9"),
        running("two", "10:20:00", "10.1.0.9"),
    );
    apply(&mut index, &one, "10:00:00");
    index.reset_kind(&ObjectKind::Pod, objects(&two), at("11:00:00"));
    let ambiguous =
        "? 10.1.0.9 may have belonged to any of several at that time: t/Pod/one, t/Pod/two";
    assert_table(
        &index,
        &[
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:19:00",
                "t/Pod/one -> node b:1/TCP",
            ),
            ("10.1.0.9 -> 192.168.0.2:1 @ 10:20:00.5", ambiguous),
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:20:01",
                "t/Pod/two -> node b:1/TCP",
            ),
        ],
    );
}

#[test]
fn a_watched_overlap_is_ambiguous() {
    let mut index = nodes();
    let (one, two) = (
        running("one", "10:00:00", "10.1.0.9"),
        running("two", "10:20:00", "10.1.0.9"),
    );
    apply(&mut index, &one, "10:00:00");
    apply(&mut index, &two, "10:20:00");
    delete(&mut index, &one, "10:25:00");
    let ambiguous =
        "? 10.1.0.9 may have belonged to any of several at that time: t/Pod/one, t/Pod/two";
    assert_table(
        &index,
        &[
            ("10.1.0.9 -> 192.168.0.2:1 @ 10:22:00", ambiguous),
            (
                "10.1.0.9 -> 192.168.0.2:1 @ 10:26:00",
                "t/Pod/two -> node b:1/TCP",
            ),
        ],
    );
}

#[test]
fn two_pods_of_one_workload_are_the_same() {
    let mut index = nodes();
    let owned = |name: &str| {
        running(name, "10:00:00", "10.1.0.9").replace(
            "namespace: t,",
            "namespace: t, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: s, uid: s}],",
        )
    };
    apply(&mut index, &owned("s-0"), "10:00:00");
    apply(&mut index, &owned("s-1"), "10:00:00");
    let found = resolve(&index, "10.1.0.9 -> 192.168.0.2:1 @ 10:00:10");
    assert_eq!(found, "t/StatefulSet/s -> node b:1/TCP");
}

#[test]
fn endpoints_are_those_of_the_time() {
    let mut index = nodes();
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    apply(
        &mut index,
        &running("two", "10:00:00", "10.1.0.10"),
        "10:00:00",
    );
    let service = "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: t, \
                   creationTimestamp: \"2026-01-02T10:00:00Z\"}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}";
    apply(&mut index, service, "10:00:00");
    let slice = |address: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: s-1, namespace: t, \
             labels: {{kubernetes.io/service-name: s}}}}, addressType: IPv4, ports: [{{port: 8080}}], \
             endpoints: [{address}]}}"
        )
    };
    apply(&mut index, &slice(""), "10:00:00");
    apply(&mut index, &slice("{addresses: [10.1.0.9]}"), "10:10:00");
    apply(&mut index, &slice("{addresses: [10.1.0.10]}"), "10:20:00");
    apply(&mut index, &slice(""), "10:30:00");
    assert_table(
        &index,
        &[
            (
                "t/one -> 10.96.0.1:80 @ 10:05:00",
                "? service t/s had no endpoints for port 80",
            ),
            // A change takes its time to reach nodes and us.
            (
                "t/one -> 10.96.0.1:80 @ 10:09:59",
                "t/Pod/one -> t/Pod/one:8080/TCP",
            ),
            (
                "t/one -> 10.96.0.1:80 @ 10:15:00",
                "t/Pod/one -> t/Pod/one:8080/TCP",
            ),
            (
                "t/one -> 10.96.0.1:80 @ 10:25:00",
                "t/Pod/one -> t/Pod/two:8080/TCP",
            ),
            (
                "t/one -> 10.96.0.1:80 @ 10:15:00..10:25:00",
                "t/Pod/one -> t/Pod/one:8080/TCP {by t/s} | t/Pod/one -> t/Pod/two:8080/TCP {by t/s}",
            ),
            (
                "t/one -> 10.96.0.1:80 @ 10:40:00",
                "? service t/s had no endpoints for port 80",
            ),
            (
                "t/one -> 10.96.0.1:80 @ 09:00:00",
                "? 10.96.0.1 belonged to no known pod, service or node at that time",
            ),
        ],
    );
}

#[test]
fn a_service_that_is_gone_is_not_outside_the_cluster() {
    let mut index = nodes();
    let service = "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: t}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}";
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    apply(&mut index, service, "10:00:00");
    delete(&mut index, service, "10:10:00");
    assert_eq!(
        resolve(&index, "t/one -> 10.96.0.1:80 @ 10:15:00"),
        "? 10.96.0.1 belonged to no known pod, service or node at that time"
    );
}

#[test]
fn addresses_that_agents_report_are_their_nodes() {
    let mut index = nodes();
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    let report = |index: &mut Index, node: &str, addresses: &[&str], clock: &str| {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|each| each.parse().expect("an address"))
            .collect();
        index.learn_node_addresses(node, &addresses, at(clock));
    };
    report(
        &mut index,
        "a",
        &["10.1.0.1", "172.17.0.1", "127.0.0.1", "169.254.20.10"],
        "10:00:00",
    );
    report(&mut index, "b", &["10.1.1.1", "172.17.0.1"], "10:00:00");
    assert_table(
        &index,
        &[
            (
                "10.1.0.1 -> t/one:8080 @ 10:00:05 server",
                "node a -> t/Pod/one:8080/TCP {own node}",
            ),
            (
                "10.1.1.1 -> t/one:8080 @ 10:00:05 server",
                "node b -> t/Pod/one:8080/TCP",
            ),
            // An address that every node has is, to a pod, its own node's.
            (
                "172.17.0.1 -> t/one:8080 @ 10:00:05 server",
                "node a -> t/Pod/one:8080/TCP {own node}",
            ),
            (
                "t/one -> 172.17.0.1:8080 @ 10:00:05 client",
                "t/Pod/one -> node a:8080/TCP",
            ),
            (
                "172.17.0.1 -> 203.0.113.1:8080 @ 10:00:05",
                "? 172.17.0.1 may have belonged to any of several at that time: node a, node b",
            ),
            (
                "t/one -> 169.254.20.10:53 @ 10:00:05 client",
                "t/Pod/one -> 169.254.20.10:53/TCP",
            ),
        ],
    );
    report(&mut index, "b", &["10.1.1.1"], "11:00:00");
    report(&mut index, "b", &["10.1.1.1", "10.1.1.2"], "12:00:00");
    report(&mut index, "b", &[], "13:00:00");
    assert_table(
        &index,
        &[
            (
                "172.17.0.1 -> 203.0.113.1:8080 @ 11:30:00",
                "node a -> 203.0.113.1:8080/TCP",
            ),
            (
                "10.1.1.2 -> 203.0.113.1:8080 @ 11:30:00",
                "node b -> 203.0.113.1:8080/TCP",
            ),
            (
                "10.1.1.1 -> 203.0.113.1:8080 @ 14:00:00",
                "node b -> 203.0.113.1:8080/TCP",
            ),
        ],
    );
    assert_eq!(
        index.node_addresses("b").len(),
        3,
        "its own, and two that were reported"
    );
}

#[test]
fn an_agent_reports_nothing_that_is_others() {
    let mut index = nodes();
    apply(
        &mut index,
        "{apiVersion: v1, kind: Node, metadata: {name: c}, spec: {podCIDRs: [\"2001:4860::/64\"]}, status: {addresses: [{type: InternalIP, address: 192.168.0.3}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}, addressType: IPv4, endpoints: [{addresses: [192.168.7.7]}], ports: [{port: 6443}]}
---
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: t}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}",
        "09:00:00",
    );
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    let report = [
        "192.168.0.1",
        "192.168.7.7",
        "10.1.0.1",
        "10.96.0.1",
        "8.8.8.8",
        "2001:4860::1",
        "2001:4870::1",
        "172.17.0.1",
    ];
    let before: Vec<String> = report
        .iter()
        .map(|address| resolve(&index, &to(address)))
        .collect();
    let report: Vec<_> = report.map(|each| each.parse().expect("an address")).into();
    index.learn_node_addresses("c", &report, at("10:00:00"));
    let after: Vec<String> = report
        .iter()
        .map(|address| resolve(&index, &to(&address.to_string())))
        .collect();
    assert_eq!(after[..5], before[..5]);
    assert_eq!(
        after[5], "t/Pod/one -> node c:443/TCP",
        "of its own range of pods"
    );
    assert_eq!(after[6], before[6]);
    assert_eq!(after[7], "t/Pod/one -> node c:443/TCP");
    let own = index.node_addresses("c");
    assert!(!own.contains(&report[4]) && own.contains(&report[5]) && own.contains(&report[7]));
}

fn to(address: &str) -> String {
    let address = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    format!("t/one -> {address}:443 @ 10:00:05 client")
}

#[test]
fn what_an_agent_reports_has_an_end() {
    let mut index = nodes();
    for round in 0..3_u16 {
        let many: Vec<_> = (0..4_000_u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                format!("172.{}.{high}.{low}", 16 + round)
                    .parse()
                    .expect("an address")
            })
            .collect();
        index.learn_node_addresses("a", &many, at(&format!("10:0{round}:00")));
    }
    let known = index.node_addresses("a").len();
    assert!(known <= 4_097, "{known}: its own, and what was reported");
}

#[test]
fn without_ranges_only_neighbours_of_known_pods_are_taken_for_pods() {
    let mut index = Index::default();
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    assert_table(
        &index,
        &[
            (
                "t/one -> 10.1.0.77:1",
                "? 10.1.0.77 belonged to no known pod, service or node at that time",
            ),
            ("t/one -> 10.1.7.77:1", "t/Pod/one -> 10.1.7.77:1/TCP"),
        ],
    );
}

#[test]
fn a_namesake_with_another_uid_ends_the_former_pod() {
    let mut index = nodes();
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    let next = running("one", "10:30:00", "10.1.0.10").replace("u-one", "u-next");
    apply(&mut index, &next, "10:31:00");
    assert_eq!(
        resolve(&index, "10.1.0.9 -> 192.168.0.2:1 @ 10:45:00"),
        UNKNOWN
    );
    assert_eq!(index.pods().count(), 1);
}

#[test]
fn what_never_changes_is_not_pruned() {
    let mut index = nodes();
    apply(
        &mut index,
        &running("one", "10:00:00", "10.1.0.9"),
        "10:00:00",
    );
    let before = resolve(&index, "10.1.0.9 -> 192.168.0.2:1 @ 10:00:30");
    index.prune(Timestamp::MAX);
    assert_eq!(
        resolve(&index, "10.1.0.9 -> 192.168.0.2:1 @ 10:00:30"),
        before
    );
    assert_eq!(index.pods_on("a").count(), 1);
}
