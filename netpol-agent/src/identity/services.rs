//! Services and their endpoint slices over time: where an address and port of a service lead.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use super::history::{self, History, Span};
use super::objects::{EndpointSlice, ObjectKey, Service, ServicePort};
use super::slices::{share_endpoints, share_over_time};

/// How long a change of endpoints may take to reach the nodes, or us: a sighting that finds no endpoints at its own
/// time is resolved with those of so much earlier or later.
const PROPAGATION: SignedDuration = SignedDuration::from_secs(2);

/// One endpoint of a service: an address, the pod that is said to have it, and the target port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Target {
    /// The address.
    pub(super) address: IpAddr,
    /// The pod that the slice names.
    pub(super) pod: Option<ObjectName>,
    /// The port behind DNAT.
    pub(super) port: u16,
}

/// What an address and port mean to the services.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lookup<'a> {
    /// They are of no service.
    None,
    /// A port of a service.
    Port(&'a Service, &'a ServicePort),
    /// The cluster address of a service that has no such port.
    NoSuchPort(&'a Service),
    /// Different services', within the span.
    Several(BTreeSet<&'a ObjectName>),
}

/// Every service and endpoint slice known, present or gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    services: BTreeMap<ObjectName, History<Service>>,
    by_address: BTreeMap<IpAddr, BTreeSet<ObjectName>>,
    by_node_port: BTreeMap<(Protocol, u16), BTreeSet<ObjectName>>,
    slices: BTreeMap<ObjectName, History<EndpointSlice>>,
    slices_of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

impl Services {
    /// Takes in a service.
    pub(super) fn apply(&mut self, service: Service, at: Timestamp) {
        self.find_by(&service);
        let name = &service.name;
        match self.services.get_mut(name) {
            Some(history) => history.replace(service, at),
            None => {
                let from = service.created;
                self.services
                    .insert(name.clone(), History::new(service, from));
            }
        }
    }

    /// Takes in an endpoint slice. The first version of one is valid from ever: who knows since when it was so.
    pub(super) fn apply_slice(&mut self, mut slice: EndpointSlice, at: Timestamp) {
        self.find_slice_by(&slice);
        match self.slices.get_mut(&slice.name) {
            Some(history) => {
                if let Some(before) = history.all().last() {
                    share_endpoints(&mut slice, before);
                }
                history.replace(slice, at);
            }
            None => {
                self.slices
                    .insert(slice.name.clone(), History::new(slice, None));
            }
        }
    }

    /// Ends a service.
    pub(super) fn delete(&mut self, name: &ObjectName, at: Timestamp) {
        if let Some(history) = self.services.get_mut(name) {
            history.end(at);
        }
    }

    /// Ends an endpoint slice.
    pub(super) fn delete_slice(&mut self, name: &ObjectName, at: Timestamp) {
        if let Some(history) = self.slices.get_mut(name) {
            history.end(at);
        }
    }

    /// The present services.
    pub(super) fn present(&self) -> impl Iterator<Item = &Service> {
        self.services.values().filter_map(History::current)
    }

    /// The present endpoint slices.
    pub(super) fn present_slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.values().filter_map(History::current)
    }

    /// The present service of that name.
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name).and_then(History::current)
    }

    /// Whether an address is, or ever was, a service's.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The service that has an address of its own, a cluster, external or load balancer's one, and its port.
    pub(super) fn at(
        &self,
        address: IpAddr,
        to: (Protocol, u16),
        span: Option<Span>,
    ) -> Lookup<'_> {
        let names = self.by_address.get(&address).into_iter().flatten();
        let versions: Vec<&Service> = names
            .flat_map(|name| self.versions(name, span))
            .filter(|service| service.addresses().any(|own| own == address))
            .collect();
        let found = ports(&versions, |port| (port.protocol, port.port) == to);
        let cluster = |service: &&&Service| service.cluster_ips.contains(&address);
        match (found, versions.iter().find(cluster)) {
            (Lookup::None, Some(service)) => Lookup::NoSuchPort(service),
            (found, _) => found,
        }
    }

    /// The service whose node port that is.
    pub(super) fn at_node_port(&self, to: (Protocol, u16), span: Option<Span>) -> Lookup<'_> {
        let names = self.by_node_port.get(&to).into_iter().flatten();
        let versions: Vec<&Service> = names.flat_map(|name| self.versions(name, span)).collect();
        ports(&versions, |port| {
            (port.protocol, port.node_port) == (to.0, Some(to.1))
        })
    }

    /// The services of a namespace that had node ports and hide their clients' addresses behind a node's.
    pub(super) fn masquerading(
        &self,
        namespace: &str,
        span: Option<Span>,
    ) -> Vec<(&Service, &ServicePort)> {
        let first = ObjectName::new(namespace, "");
        let range = self.services.range(first..);
        let inside = range.take_while(|(name, _)| name.namespace == namespace);
        let services = inside.flat_map(|(_, history)| history.during(span));
        services
            .filter(|service| !service.keeps_client)
            .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
            .filter(|(_, port)| port.node_port.is_some())
            .collect()
    }

    /// The endpoints of a service's port that had addresses of the family asked for; `None` if no slice of the
    /// service is known at all.
    pub(super) fn targets(
        &self,
        service: &ObjectName,
        port: &ServicePort,
        family: IpAddr,
        span: Option<Span>,
    ) -> Option<BTreeSet<Target>> {
        let slices = self.slices_of.get(service)?;
        let within = |span: Option<Span>| -> BTreeSet<Target> {
            let slices = slices.iter().filter_map(|name| self.slices.get(name));
            let versions = slices.flat_map(|history| history.during(span));
            versions
                .filter(|slice| slice.service.as_deref() == Some(service.name.as_str()))
                .flat_map(|slice| slice_targets(slice, port, family))
                .collect()
        };
        let targets = within(span);
        if targets.is_empty() {
            return Some(within(span.map(|span| span.widened(PROPAGATION))));
        }
        Some(targets)
    }

    /// Every address and port of a service's endpoints within the span.
    pub(super) fn endpoints(
        &self,
        service: &ObjectName,
        span: Option<Span>,
    ) -> BTreeSet<(IpAddr, u16)> {
        let slices = self.slices_of.get(service).into_iter().flatten();
        let histories = slices.filter_map(|name| self.slices.get(name));
        let versions = histories.flat_map(|history| history.during(span));
        versions.flat_map(slice_addresses).collect()
    }

    /// The present endpoints of a service.
    pub(super) fn present_endpoints(&self, service: &ObjectName) -> BTreeSet<(IpAddr, u16)> {
        let slices = self.slices_of.get(service).into_iter().flatten();
        let present = slices.filter_map(|name| self.slices.get(name)?.current());
        present.flat_map(slice_addresses).collect()
    }

    /// Forgets what ended by `before`, and tells of what nothing is left.
    pub(super) fn prune(&mut self, before: Timestamp) -> Vec<ObjectKey> {
        let services = history::forget(&mut self.services, before).map(ObjectKey::Service);
        let slices = history::forget(&mut self.slices, before).map(ObjectKey::EndpointSlice);
        let forgotten = services.chain(slices).collect();
        let (services, slices) = (&self.services, &self.slices);
        keep(&mut self.by_address, |name| services.contains_key(name));
        keep(&mut self.by_node_port, |name| services.contains_key(name));
        keep(&mut self.slices_of, |name| slices.contains_key(name));
        forgotten
    }

    /// The key of every service and slice.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        let services = self.services.keys().cloned().map(ObjectKey::Service);
        let slices = self.slices.keys().cloned();
        services.chain(slices.map(ObjectKey::EndpointSlice))
    }

    /// The present endpoint slice of that name.
    pub(super) fn slice(&self, name: &ObjectName) -> Option<&EndpointSlice> {
        self.slices.get(name).and_then(History::current)
    }

    /// All that is known of a service.
    pub(super) fn history(&self, name: &ObjectName) -> Option<&History<Service>> {
        self.services.get(name)
    }

    /// All that is known of an endpoint slice.
    pub(super) fn slice_history(&self, name: &ObjectName) -> Option<&History<EndpointSlice>> {
        self.slices.get(name)
    }

    /// Takes back what an earlier process knew of a service.
    pub(super) fn restore(&mut self, known: History<Service>, gone: Option<Timestamp>) {
        known.all().for_each(|service| self.find_by(service));
        let name = known.all().last().map(|service| service.name.clone());
        history::restore(&mut self.services, name, known, gone);
    }

    /// Takes back what an earlier process knew of an endpoint slice.
    pub(super) fn restore_slice(
        &mut self,
        mut known: History<EndpointSlice>,
        gone: Option<Timestamp>,
    ) {
        known.all().for_each(|slice| self.find_slice_by(slice));
        share_over_time(&mut known);
        let name = known.all().last().map(|slice| slice.name.clone());
        history::restore(&mut self.slices, name, known, gone);
    }

    /// Makes a service be found by its addresses and node ports.
    fn find_by(&mut self, service: &Service) {
        for address in service.addresses() {
            let names = self.by_address.entry(address).or_default();
            names.insert(service.name.clone());
        }
        for port in &service.ports {
            if let Some(number) = port.node_port {
                let names = self.by_node_port.entry((port.protocol, number));
                names.or_default().insert(service.name.clone());
            }
        }
    }

    /// Makes a slice be found by its service.
    fn find_slice_by(&mut self, slice: &EndpointSlice) {
        if let Some(service) = &slice.service {
            let service = ObjectName::new(&slice.name.namespace, service);
            let slices = self.slices_of.entry(service).or_default();
            slices.insert(slice.name.clone());
        }
    }

    fn versions(&self, name: &ObjectName, span: Option<Span>) -> impl Iterator<Item = &Service> {
        let history = self.services.get(name).into_iter();
        history.flat_map(move |history| history.during(span))
    }
}

impl Service {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.cluster_ips.iter().chain(&self.external_ips).copied()
    }
}

/// The one service among the versions that has such a port.
fn ports<'a>(versions: &[&'a Service], is: impl Fn(&ServicePort) -> bool) -> Lookup<'a> {
    let found = versions.iter().filter_map(|service| {
        let port = service.ports.iter().find(|port| is(port))?;
        Some((*service, port))
    });
    let found: Vec<(&Service, &ServicePort)> = found.collect();
    let names: BTreeSet<&ObjectName> = found.iter().map(|(service, _)| &service.name).collect();
    match found.last() {
        None => Lookup::None,
        Some((service, port)) if names.len() == 1 => Lookup::Port(service, port),
        Some(_) => Lookup::Several(names),
    }
}

fn slice_targets(slice: &EndpointSlice, to: &ServicePort, family: IpAddr) -> Vec<Target> {
    let mut targets = Vec::new();
    let same =
        |port: &&super::objects::NamedPort| port.name == to.name && port.protocol == to.protocol;
    for port in slice.ports.iter().filter(same) {
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.usable) {
            let fitting = |address: &&IpAddr| address.is_ipv4() == family.is_ipv4();
            for address in endpoint.addresses.iter().filter(fitting) {
                targets.push(Target {
                    address: *address,
                    pod: endpoint.pod.clone(),
                    port: port.port,
                });
            }
        }
    }
    targets
}

fn slice_addresses(slice: &EndpointSlice) -> Vec<(IpAddr, u16)> {
    let addresses = slice
        .endpoints
        .iter()
        .flat_map(|each| each.addresses.iter());
    addresses
        .flat_map(|address| slice.ports.iter().map(move |port| (*address, port.port)))
        .collect()
}

fn keep<K: Ord>(
    map: &mut BTreeMap<K, BTreeSet<ObjectName>>,
    is_kept: impl Fn(&ObjectName) -> bool,
) {
    map.retain(|_, names| {
        names.retain(&is_kept);
        !names.is_empty()
    });
}
