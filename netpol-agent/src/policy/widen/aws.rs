//! Amazon's network policy agent judges what a pod sends at the pod's own interface, before a service's address is
//! translated. So an egress rule must hold the service's address and port too.
//!
//! Its controller adds them by itself where the service's own selector, read as labels, is matched by the peer's
//! selector, for the first port of an entry (amazon-network-policy-controller-k8s, `pkg/resolvers/endpoints.go`,
//! `getMatchingServiceClusterIPs` and `getMatchingServicePort`), unless the service's target port is a name that is
//! different numbers at the pods behind it (pull requests 210 and 223 of it). Elsewhere, as for a service without a
//! selector, they are written here: where only the peer stands behind the service, or where it was seen that the service
//! was used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::{ObjectName, WorkloadName};

use super::{Wide, specs};
use crate::identity::Peer;
use crate::identity::objects::{Service, ServicePort, TargetPort};
use crate::policy::learn::Learned;
use crate::policy::model::{Direction, Selector, WrittenAs};
use crate::policy::options::{Options, Plugin};
use crate::policy::widening::Widening;
use crate::policy::writer::Writer;

/// Adds the addresses of services to what a workload may reach.
pub(super) fn widen(
    writer: &Writer<'_>,
    options: &Options,
    direction: Direction,
    learned: &mut Vec<Learned>,
) -> Vec<Widening> {
    if options.cni.plugin != Plugin::Aws || direction == Direction::Ingress {
        return Vec::new();
    }
    let mut by_service: BTreeMap<ObjectName, (Service, Vec<Learned>)> = BTreeMap::new();
    for one in &*learned {
        for (service, port) in services(writer, one) {
            let mut added = one.clone();
            let address = |address: &IpAddr| Wide::from(address.to_canonical());
            let wide: Vec<Wide> = service.cluster_ips.iter().map(address).collect();
            added.support.range = Some((port.port, port.port));
            added.stand_in(wide, Some(WrittenAs::Service(service.name.clone())));
            let (_, all) = by_service
                .entry(service.name.clone())
                .or_insert_with(|| (service.clone(), Vec::new()));
            all.push(added);
        }
    }
    let mut said = Vec::new();
    for (name, (service, added)) in by_service {
        said.extend(service.cluster_ips.iter().map(|address| Widening::Service {
            service: name.clone(),
            address: address.to_canonical(),
            ports: specs(&added),
        }));
        learned.extend(added);
    }
    learned.sort_by(|a, b| a.support.edge.cmp(&b.support.edge));
    said
}

/// The services by which an edge may go, with the port of each, that the controller does not add.
fn services<'a>(
    writer: &'a Writer<'_>,
    learned: &'a Learned,
) -> Vec<(&'a Service, &'a ServicePort)> {
    let cluster = writer.cluster;
    let edge = &learned.support.edge;
    match learned.peer() {
        Peer::ApiServer => {
            let api = ObjectName::new("default", "kubernetes");
            let service = cluster.services.iter().find(|service| service.name == api);
            let ports = service.into_iter().flat_map(|service| {
                let ports = service
                    .ports
                    .iter()
                    .filter(|port| port.protocol == edge.protocol);
                ports.map(move |port| (service, port))
            });
            ports.collect()
        }
        Peer::Workload(name) => {
            let selector = writer
                .selector(name)
                .and_then(|selector| selector.as_ref().ok());
            let added = |service: &Service, port: &ServicePort| {
                selector.is_some_and(|selector| is_matched(selector, service))
                    && !is_ambiguous(writer, service, port)
            };
            let used = |service: &&Service| {
                learned.support.by_service.contains(&service.name)
                    || cluster.behind(service).all(|behind| behind == name)
            };
            let services = cluster.services_of(name).filter(used);
            let ports = services.flat_map(|service| {
                let to = service.ports.iter().filter(|port| {
                    port.protocol == edge.protocol
                        && leads_to(writer, name, port, edge.port)
                        && !added(service, port)
                });
                to.map(move |port| (service, port)).collect::<Vec<_>>()
            });
            ports
                .filter(|(service, _)| !service.cluster_ips.is_empty())
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a service's selector, read as labels, is matched by a peer's.
fn is_matched(selector: &Selector, service: &Service) -> bool {
    let mut labels = selector.iter();
    labels.all(|(key, values)| {
        service
            .selector
            .get(key)
            .is_some_and(|own| values.contains(own))
    })
}

/// Whether a port of a service leads to a named port that is several numbers at the pods behind it. The controller then
/// leaves the service out, since what it sends on the wrong number would pass too.
fn is_ambiguous(writer: &Writer<'_>, service: &Service, port: &ServicePort) -> bool {
    let TargetPort::Name(wanted) = &port.target else {
        return false;
    };
    let behind = writer.cluster.behind(service);
    let named = behind.filter_map(|name| writer.cluster.named_ports.get(name));
    let numbers: BTreeSet<u16> = named
        .flatten()
        .filter(|(name, protocol, _)| (name, *protocol) == (wanted, port.protocol))
        .map(|(_, _, number)| *number)
        .collect();
    numbers.len() > 1
}

/// Whether a service's port leads to a port of a workload.
fn leads_to(writer: &Writer<'_>, name: &WorkloadName, port: &ServicePort, target: u16) -> bool {
    match &port.target {
        TargetPort::Number(number) => *number == target,
        TargetPort::Name(wanted) => {
            let named = writer.cluster.named_ports.get(name).into_iter().flatten();
            let is_it = |(name, protocol, number): &(String, _, u16)| {
                (name, *protocol, *number) == (wanted, port.protocol, target)
            };
            named.into_iter().any(is_it)
        }
    }
}
