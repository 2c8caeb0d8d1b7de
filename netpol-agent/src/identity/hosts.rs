//! Both ends of a sighting down to the pod and its address, for whoever judges them by policies.

use std::net::{IpAddr, Ipv4Addr};

use netpol_common::names::WorkloadName;
use netpol_common::record::Endpoint;
use netpol_common::words::View;

use super::ends::api_service;
use super::history::Span;
use super::index::Index;
use super::objects::Pod;
use super::resolve::{Peer, Sighting, Unresolved};

/// Whoever may have been at an end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host<'a> {
    /// A pod at one of its addresses; at which is not known of one that was told by its name.
    Pod(&'a Pod, Option<IpAddr>),
    /// Any pod of a workload.
    Workload(WorkloadName),
    /// A node, or whatever it masquerades.
    Node(String, IpAddr),
    /// An address at which the cluster has nobody; the unspecified one where it is not known.
    Outside(IpAddr),
}

/// Everybody that a sighting may have been between.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosts<'a> {
    /// Who opened the connection.
    pub clients: Vec<Host<'a>>,
    /// To whom, each with the port behind DNAT.
    pub servers: Vec<(Host<'a>, u16)>,
}

impl Index {
    /// Everybody that a sighting may have been between, at the time it was seen. A service stands for all its
    /// endpoints.
    ///
    /// # Errors
    ///
    /// An end that cannot be told, as [`Index::resolve`] has it.
    pub fn hosts(&self, sighting: &Sighting) -> Result<Hosts<'_>, Unresolved> {
        let span = sighting.span.map(Span::new);
        let (client, server) = (&sighting.client, &sighting.server);
        if let (Endpoint::Ip(address), false) = (server, sighting.view == Some(View::Server))
            && let Some(servers) = self.backends(*address, sighting, span)
        {
            return Ok(Hosts {
                clients: self.at(client, span, None)?,
                servers: servers?,
            });
        }
        let to = self.end(server, span, None)?;
        let from = self.end(client, span, to.node())?;
        let servers = self.at(server, span, from.node())?;
        Ok(Hosts {
            clients: self.at(client, span, to.node())?,
            servers: servers
                .into_iter()
                .map(|host| (host, sighting.port))
                .collect(),
        })
    }

    /// Whoever is at an end that is not behind a service.
    fn at(
        &self,
        endpoint: &Endpoint,
        span: Option<Span>,
        near: Option<&str>,
    ) -> Result<Vec<Host<'_>>, Unresolved> {
        let end = self.end(endpoint, span, near)?;
        Ok(match endpoint {
            Endpoint::Workload(_) => match end.peer {
                Peer::Workload(name) => vec![Host::Workload(name)],
                _ => Vec::new(),
            },
            Endpoint::Pod(name) => {
                let pods = self.pods.named(name, span).into_iter();
                pods.map(|pod| Host::Pod(pod, None)).collect()
            }
            Endpoint::Ip(address) => self.at_address(address.to_canonical(), end.peer, span),
        })
    }

    fn at_address(&self, address: IpAddr, peer: Peer, span: Option<Span>) -> Vec<Host<'_>> {
        match peer {
            Peer::Node(name) => vec![Host::Node(name, address)],
            Peer::Workload(_) => {
                let pods = self.pods.owners(address, span).into_iter();
                pods.map(|pod| Host::Pod(pod, Some(address))).collect()
            }
            Peer::ApiServer | Peer::External(_) => vec![Host::Outside(address)],
        }
    }

    /// The endpoints behind an address and port, if they are a service's.
    fn backends(
        &self,
        address: IpAddr,
        sighting: &Sighting,
        span: Option<Span>,
    ) -> Option<Result<Vec<(Host<'_>, u16)>, Unresolved>> {
        let address = address.to_canonical();
        if self.is_api_server(address, sighting.port, span) {
            return None;
        }
        let found = self.service_port(address, (sighting.protocol, sighting.port), span)?;
        Some(found.and_then(|(service, port, _)| {
            let targets = self.targets(service, port, address, span);
            if targets.is_empty() && service.name == api_service() {
                return Ok(vec![(
                    Host::Outside(Ipv4Addr::UNSPECIFIED.into()),
                    port.port,
                )]);
            }
            if targets.is_empty() {
                return Err(Unresolved::NoEndpoints(service.name.clone(), port.port));
            }
            let mut hosts = Vec::new();
            for target in targets {
                let pods = target
                    .pod
                    .iter()
                    .flat_map(|name| self.pods.named(name, span));
                let own = pods.filter(|pod| !pod.host_network && pod.ips.contains(&target.address));
                let own: Vec<_> = own
                    .map(|pod| Host::Pod(pod, Some(target.address)))
                    .collect();
                let at = match own.is_empty() {
                    true if service.name == api_service() => vec![Host::Outside(target.address)],
                    true => self.at(&Endpoint::Ip(target.address), span, None)?,
                    false => own,
                };
                hosts.extend(at.into_iter().map(|host| (host, target.port)));
            }
            Ok(hosts)
        }))
    }
}
