//! What the engine takes from an inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use crate::identity::objects::Labels;
use crate::inventory;
use crate::policy::Cluster;

const INVENTORY: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: one}, spec: {podCIDR: 10.1.0.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: plain, labels: {app: plain, "no key!": x, value: "no value!"}}, spec: {nodeName: one}, status: {podIPs: [{ip: 10.1.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: bare, labels: {"no key!": x}}, spec: {nodeName: one}, status: {podIPs: [{ip: 10.1.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: done, labels: {app: done}}, spec: {nodeName: one}, status: {phase: Succeeded, podIPs: [{ip: 10.1.0.3}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: agent, labels: {app: agent}}, spec: {nodeName: one, hostNetwork: true}, status: {podIPs: [{ip: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: dns, labels: {app: dns, more: x}}, spec: {nodeName: one, containers: [{name: main, ports: [{name: query, containerPort: 5353, protocol: UDP}, {name: metrics, containerPort: 9153}]}]}, status: {podIPs: [{ip: 10.1.0.4}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: m, name: dns, labels: {app: dns}}, spec: {nodeName: one, containers: [{name: main, ports: [{name: query, containerPort: 5354, protocol: UDP}]}]}, status: {podIPs: [{ip: 10.1.0.5}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: n, name: unlabelled}, spec: {selector: {matchLabels: {app: unlabelled}}, template: {spec: {containers: [{name: main}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: n, name: dns}, spec: {clusterIP: 10.96.0.10, selector: {app: dns}, ports: [{name: dns, port: 53, protocol: UDP, targetPort: query}, {name: dns-tcp, port: 53, targetPort: 54}, {name: metrics, port: 9153, targetPort: 9153}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: n, name: open}, spec: {clusterIP: 10.96.0.11, ports: [{name: dns, port: 53, targetPort: 55}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: n, name: nowhere}, spec: {clusterIP: 10.96.0.13, selector: {app: dns}, ports: [{name: dns, port: 53, targetPort: "0"}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: n, name: open-named}, spec: {clusterIP: 10.96.0.12, ports: [{name: dns, port: 53, targetPort: metrics}]}}
"#;

fn cluster() -> Cluster {
    let mut read = inventory::parse("inventory.yaml", INVENTORY).expect("an inventory");
    Cluster::of(&read.take_index())
}

fn pod(namespace: &str, name: &str) -> WorkloadName {
    WorkloadName::new(namespace, "Pod", name)
}

fn addresses(all: &[&str]) -> BTreeSet<IpAddr> {
    all.iter().map(|one| one.parse().unwrap()).collect()
}

#[test]
fn labels_that_no_selector_can_hold_are_left_out() {
    let cluster = cluster();
    let sets = |name: &WorkloadName| -> Vec<Labels> {
        let workload = cluster.workloads.get(name);
        let sets = workload.map(|workload| workload.label_sets.clone());
        sets.into_iter().flatten().collect()
    };
    let plain: Labels = [("app".to_owned(), "plain".to_owned())].into();
    assert_eq!(sets(&pod("n", "plain")), [plain]);
    assert_eq!(sets(&pod("n", "bare")), Vec::<Labels>::new());
    let unlabelled = WorkloadName::new("n", "Deployment", "unlabelled");
    assert_eq!(sets(&unlabelled), Vec::<Labels>::new());
    assert!(cluster.workloads[&unlabelled].selector.contains_key("app"));
    let on_host = cluster.workloads.iter().filter(|(_, one)| one.host_network);
    let on_host: Vec<&str> = on_host.map(|(name, _)| &*name.name).collect();
    assert_eq!(on_host, ["agent"]);
}

#[test]
fn addresses_of_pods_are_those_of_their_own() {
    let cluster = cluster();
    let own = [
        ("10.1.0.1", pod("n", "plain")),
        ("10.1.0.2", pod("n", "bare")),
        ("10.1.0.4", pod("n", "dns")),
        ("10.1.0.5", pod("m", "dns")),
    ];
    let own = own.map(|(address, workload)| (address.parse().unwrap(), workload));
    assert_eq!(cluster.pod_addresses, own.into());
    let one = ("one".to_owned(), ["10.1.0.0/24".parse().unwrap()].into());
    assert_eq!(cluster.pod_ranges, [one].into());
    let inside = |block: &str| -> Vec<WorkloadName> {
        let inside = cluster.pods_in(&block.parse().unwrap());
        inside.cloned().collect()
    };
    assert_eq!(inside("10.1.0.2/31"), [pod("n", "bare")]);
    assert_eq!(inside("10.1.0.4/31"), [pod("n", "dns"), pod("m", "dns")]);
    assert_eq!(inside("10.1.0.6/31"), []);
    let nodes = BTreeMap::from([("one".to_owned(), addresses(&["192.0.2.1"]))]);
    assert_eq!(cluster.nodes, nodes);
}

#[test]
fn resolvers_are_behind_ports_that_are_named_so() {
    let cluster = cluster();
    let dns = pod("n", "dns");
    let resolvers = [(dns.clone(), 54), (dns.clone(), 5353)];
    assert_eq!(cluster.resolvers, resolvers.into());
    let port = |name: &str, protocol, port| (name.to_owned(), protocol, port);
    let query = port("query", Protocol::Udp, 5353);
    let named = [
        (dns, [query, port("metrics", Protocol::Tcp, 9153)].into()),
        (pod("m", "dns"), [port("query", Protocol::Udp, 5354)].into()),
    ];
    assert_eq!(cluster.named_ports, named.into());
}

/// A workload at zero has the ports of its template, one with pods those of its pods.
#[test]
fn a_workload_without_pods_has_the_named_ports_of_its_template() {
    let deployment = |name: &str, port: u16| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{namespace: n, name: {name}}}, spec: {{selector: \
             {{matchLabels: {{app: dns}}}}, template: {{metadata: {{labels: {{app: dns, name: {name}}}}}, spec: {{containers: \
             [{{name: main, ports: [{{name: query, containerPort: {port}, protocol: UDP}}]}}]}}}}}}}}\n---\n"
        )
    };
    let pod = r#"
{apiVersion: apps/v1, kind: StatefulSet, metadata: {namespace: n, name: set}, spec: {selector: {matchLabels: {app: dns}}, template: {metadata: {labels: {app: dns}}, spec: {containers: [{name: main, ports: [{name: query, containerPort: 1}]}]}}}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: set-0, labels: {app: dns}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: set, uid: u}]}, spec: {nodeName: one, containers: [{name: main, ports: [{name: query, containerPort: 2, protocol: UDP}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: set-1, labels: {app: dns}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: set, uid: u}]}, spec: {nodeName: one, containers: [{name: main, ports: [{name: query, containerPort: 3, protocol: UDP}]}]}, status: {phase: Succeeded}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: n, name: dns}, spec: {clusterIP: 10.96.0.10, selector: {app: dns}, ports: [{name: dns, port: 53, protocol: UDP, targetPort: query}]}}
"#;
    let text = deployment("blue", 5353) + &deployment("green", 5354) + pod;
    let mut read = inventory::parse("inventory.yaml", &text).expect("an inventory");
    let cluster = Cluster::of(&read.take_index());
    let name = |kind: &str, name: &str| WorkloadName::new("n", kind, name);
    let all = [
        (name("Deployment", "blue"), 5353),
        (name("Deployment", "green"), 5354),
        (name("StatefulSet", "set"), 2),
    ];
    assert_eq!(cluster.resolvers, all.clone().into());
    let port = |port| ("query".to_owned(), Protocol::Udp, port);
    let named = all.map(|(name, number)| (name, [port(number)].into()));
    assert_eq!(cluster.named_ports, named.into());
}

#[test]
fn a_service_selects_what_has_all_of_its_labels() {
    let mut cluster = cluster();
    let names = |cluster: &Cluster, service: usize| -> Vec<WorkloadName> {
        cluster
            .behind(&cluster.services[service])
            .cloned()
            .collect()
    };
    let place = |name: &str| {
        let mut services = cluster.services.iter();
        services
            .position(|service| &*service.name.name == name)
            .expect("a service")
    };
    let (dns, open) = (place("dns"), place("open"));
    assert_eq!(names(&cluster, dns), [pod("n", "dns")]);
    assert_eq!(names(&cluster, open), Vec::<WorkloadName>::new());
    let of = |cluster: &Cluster, namespace: &str, name: &str| -> Vec<String> {
        let workload = pod(namespace, name);
        let services = cluster.services_of(&workload);
        services.map(|service| service.name.name.clone()).collect()
    };
    assert_eq!(of(&cluster, "n", "dns"), ["dns", "nowhere"]);
    assert_eq!(of(&cluster, "m", "dns"), [""; 0]);
    assert_eq!(of(&cluster, "n", "plain"), [""; 0]);
    let more = [("zone".to_owned(), "x".to_owned())];
    cluster.services[dns].selector.extend(more);
    assert_eq!(names(&cluster, dns), Vec::<WorkloadName>::new());
    assert_eq!(of(&cluster, "n", "dns"), ["nowhere"]);
}

#[test]
fn the_labels_of_pods_count_as_well_as_their_template_until_they_are_finished() {
    let text = r#"
{apiVersion: apps/v1, kind: StatefulSet, metadata: {namespace: n, name: set}, spec: {selector: {matchLabels: {app: set}}, template: {metadata: {labels: {app: set}}, spec: {containers: [{name: main}]}}}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: set-0, labels: {app: set, more: x}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: set, uid: u}]}, spec: {nodeName: one}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: n, name: set-1, labels: {app: set, more: y}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: set, uid: u}]}, spec: {nodeName: one}, status: {phase: Succeeded}}
"#;
    let mut read = inventory::parse("inventory.yaml", text).expect("an inventory");
    let cluster = Cluster::of(&read.take_index());
    let template: Labels = [("app".to_owned(), "set".to_owned())].into();
    let mut of_pod = template.clone();
    of_pod.insert("more".to_owned(), "x".to_owned());
    let sets = &cluster.workloads[&WorkloadName::new("n", "StatefulSet", "set")].label_sets;
    assert_eq!(*sets, [template, of_pod].into());
}
