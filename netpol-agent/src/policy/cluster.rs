//! What the engine needs to know of a cluster: labels, addresses and resolvers, and nothing that has a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netpol_common::names::WorkloadName;
use netpol_common::words::Protocol;

use super::validate::{is_label_key, is_label_value};
use crate::identity::objects::{Labels, NamedPort, Service, TargetPort};
use crate::identity::{Index, Peer, WorkloadView};

/// A cluster as the policy engine sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cluster {
    /// Every workload, also those without pods now.
    pub workloads: BTreeMap<WorkloadName, Workload>,
    /// The current addresses of every node.
    pub nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The current addresses of the endpoints of `default/kubernetes`.
    pub api_server: BTreeSet<IpAddr>,
    /// Workloads and target ports behind a service port that is named as DNS's.
    pub resolvers: BTreeSet<(WorkloadName, u16)>,
    /// Ranges that nodes give their pods addresses from, of those nodes that tell them.
    pub pod_ranges: BTreeMap<String, BTreeSet<IpNet>>,
    /// The current addresses of all pods that have one of their own, with the workload of each.
    pub pod_addresses: BTreeSet<(IpAddr, WorkloadName)>,
    /// Every service.
    pub services: Vec<Service>,
    /// The named container ports of each workload's pods; of a workload without pods, those of its template.
    pub named_ports: NamedPorts,
}

/// A workload's labels, as they matter for selecting it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Workload {
    /// The owner's own selector; empty if it has none.
    pub selector: Labels,
    /// The labels of each template and of each pod that is not finished, without repetition.
    pub label_sets: BTreeSet<Labels>,
    /// Whether its pods use their nodes' network: no policy applies to them, and no selector matches them.
    pub host_network: bool,
    /// The nodes that its present pods run on: as a peer, a workload on its nodes' network stands as their addresses.
    pub nodes: BTreeSet<String>,
}

/// Named container ports by workload.
pub type NamedPorts = BTreeMap<WorkloadName, BTreeSet<(String, Protocol, u16)>>;

/// Names of service ports behind which resolvers listen.
const DNS_PORT_NAMES: [&str; 2] = ["dns", "dns-tcp"];

impl Cluster {
    /// What an index knows at present.
    #[must_use]
    pub fn of(index: &Index) -> Self {
        let mut workloads: BTreeMap<WorkloadName, Workload> = BTreeMap::new();
        let mut templates = NamedPorts::new();
        for view in index.workloads() {
            if view.running == 0 && view.name.kind != "Pod" && !view.named_ports.is_empty() {
                templates.insert(view.name.clone(), numbers(&view.named_ports).collect());
            }
            workloads.insert(view.name.clone(), view.into());
        }
        let mut pod_addresses = BTreeSet::new();
        for pod in index.pods().filter(|pod| !pod.terminal) {
            let workload = workloads.entry(index.workload_of(pod));
            if !pod.host_network {
                let own = |address: &IpAddr| (address.to_canonical(), workload.key().clone());
                pod_addresses.extend(pod.ips.iter().map(own));
            }
            let workload = workload.or_default();
            let labels = selectable(Labels::clone(&pod.labels));
            if !labels.is_empty() {
                workload.label_sets.insert(labels);
            }
        }
        let used = workloads
            .values()
            .flat_map(|workload| &workload.nodes)
            .cloned();
        let names: BTreeSet<String> = index
            .nodes()
            .map(|node| node.name.clone())
            .chain(used)
            .collect();
        let addresses = index.api_server_addresses();
        Self {
            nodes: names
                .into_iter()
                .map(|name| (name.clone(), index.node_addresses(&name)))
                .collect(),
            api_server: addresses.into_iter().map(|(address, _)| address).collect(),
            resolvers: index
                .services()
                .flat_map(|service| resolvers(index, (&workloads, &templates), service))
                .collect(),
            pod_ranges: index
                .nodes()
                .filter(|node| !node.pod_cidrs.is_empty())
                .map(|node| {
                    let ranges = node.pod_cidrs.iter().map(IpNet::trunc);
                    (node.name.clone(), ranges.collect())
                })
                .collect(),
            pod_addresses,
            services: index.services().cloned().collect(),
            named_ports: named_ports(index, templates),
            workloads,
        }
    }
}

impl Cluster {
    /// The current addresses of a peer; those of its pods' nodes, of a workload.
    pub(super) fn addresses(&self, peer: &Peer) -> BTreeSet<IpAddr> {
        let node = |name: &String| self.nodes.get(name).into_iter().flatten();
        let addresses: Vec<&IpAddr> = match peer {
            Peer::Workload(name) => {
                let nodes = self.workloads.get(name).map(|workload| &workload.nodes);
                nodes.into_iter().flatten().flat_map(node).collect()
            }
            Peer::Node(name) => node(name).collect(),
            Peer::ApiServer => self.api_server.iter().collect(),
            Peer::External(address) => vec![address],
        };
        let addresses = addresses.into_iter();
        addresses.map(|address| address.to_canonical()).collect()
    }

    /// The workload of each pod that has an address in a block, once for each address.
    pub(super) fn pods_in<'a>(
        &'a self,
        block: &IpNet,
    ) -> impl Iterator<Item = &'a WorkloadName> + use<'a> {
        let (first, last) = (block.network(), block.broadcast());
        let from = self
            .pod_addresses
            .range((first, WorkloadName::new("", "", ""))..);
        let inside = from.take_while(move |(address, _)| *address <= last);
        inside.map(|(_, workload)| workload)
    }

    /// Whether a peer is pods that selectors match, and not addresses only.
    pub(super) fn is_pods(&self, peer: &Peer) -> bool {
        let on_host = |name| (self.workloads.get(name)).is_some_and(|known| known.host_network);
        matches!(peer, Peer::Workload(name) if !on_host(name))
    }

    /// The services that select the pods of a workload.
    pub(super) fn services_of<'a>(
        &'a self,
        name: &'a WorkloadName,
    ) -> impl Iterator<Item = &'a Service> {
        let workload = self.workloads.get(name);
        let selected = move |service: &&Service| {
            service.name.namespace == name.namespace
                && workload.is_some_and(|workload| is_selected(workload, service))
        };
        self.services.iter().filter(selected)
    }

    /// The workloads that a service selects.
    pub(super) fn behind<'a>(
        &'a self,
        service: &'a Service,
    ) -> impl Iterator<Item = &'a WorkloadName> {
        let selected = self.workloads.iter().filter(|(name, workload)| {
            name.namespace == service.name.namespace && is_selected(workload, service)
        });
        selected.map(|(name, _)| name)
    }
}

/// Whether a service selects pods of a workload.
fn is_selected(workload: &Workload, service: &Service) -> bool {
    let selects = |labels: &Labels| {
        let mut selector = service.selector.iter();
        selector.all(|(key, value)| labels.get(key) == Some(value))
    };
    !service.selector.is_empty() && workload.label_sets.iter().any(selects)
}

/// The named ports of pods, beside those of the templates of workloads without pods.
fn named_ports(index: &Index, mut named: NamedPorts) -> NamedPorts {
    let pods = index.pods().filter(|pod| !pod.terminal);
    for pod in pods.filter(|pod| !pod.named_ports.is_empty()) {
        let known = named.entry(index.workload_of(pod)).or_default();
        known.extend(numbers(&pod.named_ports));
    }
    named
}

fn numbers(named: &[NamedPort]) -> impl Iterator<Item = (String, Protocol, u16)> {
    let named = named.iter();
    named.map(|port| (port.name.clone(), port.protocol, port.port))
}

impl From<WorkloadView> for Workload {
    fn from(view: WorkloadView) -> Self {
        let labels = selectable(view.template_labels);
        Self {
            selector: selectable(view.selector),
            label_sets: (!labels.is_empty()).then_some(labels).into_iter().collect(),
            host_network: view.host_network,
            nodes: view.nodes,
        }
    }
}

/// The labels that a selector can hold. The API takes no others, but files may hold any.
fn selectable(mut labels: Labels) -> Labels {
    labels.retain(|key, value| is_label_key(key) && is_label_value(value));
    labels
}

/// The workloads that a service selects, with the target ports of those of its ports that are named as DNS's. Port 0,
/// which a file may hold, is nobody's.
fn resolvers(
    index: &Index,
    (workloads, templates): (&BTreeMap<WorkloadName, Workload>, &NamedPorts),
    service: &Service,
) -> Vec<(WorkloadName, u16)> {
    let selects = |labels: &Labels| {
        let selector = service.selector.iter();
        !service.selector.is_empty()
            && selector
                .clone()
                .all(|(key, value)| labels.get(key) == Some(value))
    };
    let selected = || {
        let beside = workloads
            .iter()
            .filter(|(name, _)| name.namespace == service.name.namespace);
        let selected = beside.filter(|(_, workload)| workload.label_sets.iter().any(selects));
        selected.map(|(name, _)| name)
    };
    let mut found = Vec::new();
    for port in service
        .ports
        .iter()
        .filter(|port| DNS_PORT_NAMES.contains(&&*port.name))
    {
        match &port.target {
            TargetPort::Number(number) => {
                found.extend(selected().map(|name| (name.clone(), *number)));
            }
            TargetPort::Name(wanted) => {
                let pods = index
                    .pods()
                    .filter(|pod| !pod.terminal && pod.name.namespace == service.name.namespace);
                for pod in pods.filter(|pod| selects(&pod.labels)) {
                    let ports = pod.named_ports.iter().filter(|named| named.name == *wanted);
                    found.extend(ports.map(|named| (index.workload_of(pod), named.port)));
                }
                for name in selected() {
                    let named = templates.get(name).into_iter().flatten();
                    let ports = named.filter(|(named, _, _)| named == wanted);
                    found.extend(ports.map(|(_, _, port)| (name.clone(), *port)));
                }
            }
        }
    }
    found.retain(|(_, port)| *port > 0);
    found
}
