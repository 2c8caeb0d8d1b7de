//! Whom an end of a sighting stands for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::record::Endpoint;
use netpol_common::words::Protocol;

use super::history::Span;
use super::index::Index;
use super::nodes::is_local;
use super::objects::{Pod, Service, ServicePort, TargetPort};
use super::resolve::{Peer, Unresolved};
use super::services::{Lookup, Target};

/// An end that is told, and the nodes that it may have been on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct End {
    /// Who it is.
    pub(super) peer: Peer,
    /// Where it was; empty if that is not known.
    pub(super) nodes: BTreeSet<String>,
}

/// What stands behind an address and port of a service: peers with their target ports.
pub(super) struct Backing<'a> {
    /// The service.
    pub(super) service: &'a Service,
    /// Who may have answered, and where.
    pub(super) ends: Vec<(End, u16)>,
    /// Whether the port is a node's.
    pub(super) by_node_port: bool,
}

impl End {
    fn of(peer: Peer) -> Self {
        let nodes = match &peer {
            Peer::Node(name) => BTreeSet::from([name.clone()]),
            _ => BTreeSet::new(),
        };
        Self { peer, nodes }
    }

    /// The one node that it was on.
    pub(super) fn node(&self) -> Option<&str> {
        let mut nodes = self.nodes.iter();
        let first = nodes.next()?;
        nodes.next().is_none().then_some(first)
    }
}

impl Index {
    /// An end that is not behind a service. `near` is the node of the other end: of an address that several nodes
    /// have, a pod there meets its own node's.
    pub(super) fn end(
        &self,
        endpoint: &Endpoint,
        span: Option<Span>,
        near: Option<&str>,
    ) -> Result<End, Unresolved> {
        match endpoint {
            Endpoint::Ip(address) => self.end_at(address.to_canonical(), span, near),
            Endpoint::Pod(name) => self.end_of_pod(name, span),
            Endpoint::Workload(name) => self.end_of_workload(name),
        }
    }

    /// The peers behind an address and port, if they are a service's, at an address of its own or of a node.
    pub(super) fn backing(
        &self,
        address: IpAddr,
        to: (Protocol, u16),
        span: Option<Span>,
    ) -> Option<Result<Backing<'_>, Unresolved>> {
        let address = address.to_canonical();
        let found = self.service_port(address, to, span)?;
        Some(found.and_then(|(service, port, by_node_port)| {
            let backing = self.behind(service, port, address, span)?;
            Ok(Backing {
                by_node_port,
                ..backing
            })
        }))
    }

    /// The service and port that an address and port are, at an address of the service's own or of a node, and
    /// whether the port is a node's.
    pub(super) fn service_port(
        &self,
        address: IpAddr,
        to: (Protocol, u16),
        span: Option<Span>,
    ) -> Option<Result<(&Service, &ServicePort, bool), Unresolved>> {
        let mut lookup = self.services.at(address, to, span);
        let by_node_port = lookup == Lookup::None && self.nodes.have(address, span);
        if by_node_port {
            lookup = self.services.at_node_port(to, span);
        }
        match lookup {
            Lookup::None => None,
            Lookup::Port(service, port) => Some(Ok((service, port, by_node_port))),
            Lookup::NoSuchPort(service) => {
                Some(Err(Unresolved::NoEndpoints(service.name.clone(), to.1)))
            }
            Lookup::Several(names) => Some(Err(ambiguous(
                address,
                names.iter().map(ToString::to_string),
            ))),
        }
    }

    /// Whether an address and port were the API server's within the span.
    pub(super) fn is_api_server(&self, address: IpAddr, port: u16, span: Option<Span>) -> bool {
        let endpoints = self.services.endpoints(&api_service(), span);
        endpoints.contains(&(address.to_canonical(), port))
    }

    /// Whether a port of a workload is the target of a node port behind which clients' addresses are not seen.
    pub(super) fn is_masqueraded(
        &self,
        server: &WorkloadName,
        to: (Protocol, u16),
        span: Option<Span>,
    ) -> bool {
        let services = self.services.masquerading(&server.namespace, span);
        let mut ports = services
            .into_iter()
            .filter(|(_, port)| port.protocol == to.0);
        ports.any(|(service, port)| {
            let families = service.cluster_ips.iter();
            let mut ends = families
                .filter_map(|family| self.behind(service, port, *family, span).ok())
                .flat_map(|backing| backing.ends);
            ends.any(|(end, port)| port == to.1 && end.peer == Peer::Workload(server.clone()))
        })
    }

    fn end_at(
        &self,
        address: IpAddr,
        span: Option<Span>,
        near: Option<&str>,
    ) -> Result<End, Unresolved> {
        if !is_one_host(address) {
            return Err(Unresolved::NotOneHost(address));
        }
        if is_local(address) {
            return Ok(End::of(Peer::External(address)));
        }
        let pods = self.pods.owners(address, span);
        if !pods.is_empty() {
            return self.one_of(&address.to_string(), &pods);
        }
        let nodes = self.nodes.listed(address, span);
        if !nodes.is_empty() {
            return one_node(address, &nodes, near);
        }
        if self.is_api_address(address, span) {
            return Ok(End::of(Peer::ApiServer));
        }
        let nodes = self.nodes.reported(address, span);
        if !nodes.is_empty() && !self.services.knows(address) {
            return one_node(address, &nodes, near);
        }
        let hosts = self.pods.hosts_of(address);
        if !hosts.is_empty() {
            return one_node(address, &hosts, near);
        }
        if self.services.knows(address) || self.is_pod_range(address) {
            return Err(Unresolved::UnknownPod(address));
        }
        Ok(End::of(Peer::External(address)))
    }

    fn end_of_pod(&self, name: &ObjectName, span: Option<Span>) -> Result<End, Unresolved> {
        let pods = self.pods.named(name, span);
        if pods.is_empty() {
            return Err(Unresolved::NotInInventory(format!("pod {name}")));
        }
        self.one_of(&name.to_string(), &pods)
    }

    fn end_of_workload(&self, name: &WorkloadName) -> Result<End, Unresolved> {
        let view = self.known_workload(name);
        let view = view.ok_or_else(|| Unresolved::NotInInventory(format!("workload {name}")))?;
        Ok(End {
            peer: Peer::Workload(view.name),
            nodes: view.nodes,
        })
    }

    /// The one peer that all these pods belong to.
    fn one_of(&self, what: &str, pods: &[&Pod]) -> Result<End, Unresolved> {
        let peers: BTreeSet<Peer> = pods.iter().filter_map(|pod| self.peer_of(pod)).collect();
        let mut each = peers.iter();
        match (each.next(), each.next()) {
            (Some(peer), None) => Ok(End {
                peer: peer.clone(),
                nodes: pods.iter().filter_map(|pod| pod.node.clone()).collect(),
            }),
            (None, _) => Err(Unresolved::NotInInventory(format!(
                "the node of pod {what}"
            ))),
            _ => Err(ambiguous(what, peers.iter().map(ToString::to_string))),
        }
    }

    /// The peers behind a service's port. One that cannot be told leaves the whole unresolved: whether it was the
    /// one that answered is not known.
    fn behind<'a>(
        &'a self,
        service: &'a Service,
        port: &ServicePort,
        family: IpAddr,
        span: Option<Span>,
    ) -> Result<Backing<'a>, Unresolved> {
        let targets = self.targets(service, port, family, span);
        if service.name == api_service() {
            return Ok(api_server(service, port, &targets));
        }
        if targets.is_empty() {
            return Err(Unresolved::NoEndpoints(service.name.clone(), port.port));
        }
        let mut ends: Vec<(End, u16)> = Vec::new();
        for target in &targets {
            let end = self.end_of_target(target, span)?;
            let same =
                |(other, port): &&mut (End, u16)| other.peer == end.peer && *port == target.port;
            match ends.iter_mut().find(same) {
                Some((other, _)) => other.nodes.extend(end.nodes),
                None => ends.push((end, target.port)),
            }
        }
        Ok(Backing {
            service,
            ends,
            by_node_port: false,
        })
    }

    fn end_of_target(&self, target: &Target, span: Option<Span>) -> Result<End, Unresolved> {
        if let Some(name) = &target.pod
            && let Ok(end) = self.end_of_pod(name, span)
        {
            return Ok(end);
        }
        if self.is_api_server(target.address, target.port, span) {
            return Ok(End::of(Peer::ApiServer));
        }
        self.end_at(target.address, span, None)
    }

    /// The endpoints of a service's port: those that its slices say, else those that its selector gives.
    pub(super) fn targets(
        &self,
        service: &Service,
        port: &ServicePort,
        family: IpAddr,
        span: Option<Span>,
    ) -> BTreeSet<Target> {
        let targets = self.services.targets(&service.name, port, family, span);
        targets.unwrap_or_else(|| self.selected(service, port, family, span))
    }

    /// The endpoints that a service's selector gives, for inventories that hold no endpoint slices of it.
    fn selected(
        &self,
        service: &Service,
        to: &ServicePort,
        family: IpAddr,
        span: Option<Span>,
    ) -> BTreeSet<Target> {
        let namespace = Some(service.name.namespace.as_str());
        let records = self.pods.in_namespace(namespace);
        let living = records.filter(|record| record.life().meets(span));
        let pods = living
            .map(super::claims::Record::pod)
            .filter(|pod| selects(service, pod));
        let mut targets = BTreeSet::new();
        for pod in pods {
            let addresses = pod
                .ips
                .iter()
                .filter(|address| address.is_ipv4() == family.is_ipv4());
            for (address, port) in addresses.zip(std::iter::repeat(target_port(to, pod))) {
                targets.extend(port.map(|port| Target {
                    address: *address,
                    pod: Some((&pod.name).into()),
                    port,
                }));
            }
        }
        targets
    }

    fn is_api_address(&self, address: IpAddr, span: Option<Span>) -> bool {
        let endpoints = self.services.endpoints(&api_service(), span);
        endpoints.iter().any(|(own, _)| *own == address)
    }

    /// Whether an address is one that pods get: within a node's `podCIDRs`; or, where a network plugin gives pods
    /// addresses outside these, next to a pod's that is known (in the same /24, or /64).
    ///
    /// An address that nobody is known by and that is in no such range is outside the cluster.
    fn is_pod_range(&self, address: IpAddr) -> bool {
        if self.nodes.gives_pods(address) {
            return true;
        }
        let length = if address.is_ipv4() { 24 } else { 64 };
        let Ok(around) = IpNet::new(address, length) else {
            return false;
        };
        let mut known = self.pods.addresses_in(around.trunc());
        known.any(|known| !self.nodes.gives_pods(known))
    }
}

/// `default/kubernetes`: the service of the API server.
pub(super) fn api_service() -> ObjectName {
    ObjectName::new("default", "kubernetes")
}

/// The API server behind its service. Without known endpoints its port is the one that the service names.
fn api_server<'a>(
    service: &'a Service,
    port: &ServicePort,
    targets: &BTreeSet<Target>,
) -> Backing<'a> {
    let mut ports: BTreeSet<u16> = targets.iter().map(|target| target.port).collect();
    if ports.is_empty() {
        ports.insert(match port.target {
            TargetPort::Number(number) => number,
            TargetPort::Name(_) => port.port,
        });
    }
    let ends = ports
        .into_iter()
        .map(|port| (End::of(Peer::ApiServer), port));
    Backing {
        service,
        ends: ends.collect(),
        by_node_port: false,
    }
}

/// Whether an address is one host's: not multicast, not the limited broadcast, not unspecified.
fn is_one_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_multicast() || address.is_unspecified() || broadcast)
}

fn one_node(
    address: IpAddr,
    nodes: &BTreeSet<&str>,
    near: Option<&str>,
) -> Result<End, Unresolved> {
    let near = near.and_then(|near| nodes.get(near));
    match (near, nodes.len(), nodes.first()) {
        (Some(node), ..) | (None, 1, Some(node)) => Ok(End::of(Peer::Node((*node).to_owned()))),
        _ => Err(ambiguous(
            address,
            nodes.iter().map(|node| format!("node {node}")),
        )),
    }
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let mut wanted = service.selector.iter();
    let matching = wanted.all(|(key, value)| pod.labels.get(key) == Some(value));
    matching && !service.selector.is_empty() && !pod.terminal
}

/// The number of a service's target port on a pod.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let mut ports = pod.named_ports.iter();
            let named = ports.find(|own| own.name == *name && own.protocol == port.protocol);
            named.map(|own| own.port)
        }
    }
}

fn ambiguous(what: impl ToString, owners: impl Iterator<Item = String>) -> Unresolved {
    let owners: Vec<String> = owners.collect();
    Unresolved::Ambiguous(what.to_string(), owners.join(", "))
}
