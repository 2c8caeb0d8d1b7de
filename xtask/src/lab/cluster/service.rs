//! Services, and the endpoint slices that follow from them and the running pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::words::Protocol;
use serde_json::{Value, json};

use super::metadata;
use super::pod::Pod;
use crate::lab::topology::Family;

/// The port of the pods that a service's port leads to.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// By number.
    Number(u16),
    /// By the name of a container port, which may differ from pod to pod.
    Name(&'static str),
}

/// A port of a service.
#[derive(Clone, Copy, Debug)]
pub struct ServicePort {
    /// Its name.
    pub name: &'static str,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port that clients use.
    pub port: u16,
    /// Where it leads.
    pub target: Target,
    /// The port on every node.
    pub node_port: Option<u16>,
}

/// A service of the lab's cast.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The cluster addresses, one per family; none if headless.
    pub cluster_ips: Option<[&'static str; 2]>,
    /// A load balancer's address, IPv4 only, which keeps the client's address.
    pub load_balancer: Option<&'static str>,
    /// The labels of its pods; empty if its endpoints are kept by others.
    pub selector: &'static [(&'static str, &'static str)],
    /// Its ports.
    pub ports: &'static [ServicePort],
    /// Endpoints of a service without a selector: IPv4 addresses.
    pub endpoints: &'static [&'static str],
}

/// Where connections to a port of a service go: ready endpoints of one family.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pod: Option<Reference>,
}

/// The pod behind a backend.
#[derive(Clone, Debug)]
struct Reference {
    namespace: &'static str,
    name: String,
    uid: String,
    node: &'static str,
}

impl Service {
    /// The ready endpoints of a port in a family, in the order of their addresses.
    pub(crate) fn backends<'a>(
        &self,
        port: &ServicePort,
        family: Family,
        pods: impl Iterator<Item = &'a Pod>,
    ) -> Vec<Backend> {
        let mut backends = self.fixed(port, family);
        if !self.selector.is_empty() {
            let ours = pods.filter(|pod| {
                pod.workload.namespace == self.namespace
                    && pod.ready()
                    && pod.matches(self.selector)
            });
            backends.extend(ours.filter_map(|pod| backend(port, family, pod)));
        }
        backends.sort_by_key(|backend| backend.address);
        backends
    }

    pub(super) fn object(&self, created: Timestamp, tag: &str) -> Value {
        let ports: Vec<Value> = self.ports.iter().map(port_object).collect();
        let cluster_ips = self.cluster_ips.map_or(json!(["None"]), |ips| json!(ips));
        let kind = match (
            self.load_balancer,
            self.ports.iter().any(|p| p.node_port.is_some()),
        ) {
            (Some(_), _) => "LoadBalancer",
            (None, true) => "NodePort",
            (None, false) => "ClusterIP",
        };
        let mut spec = json!({
            "type": kind, "clusterIP": cluster_ips[0], "clusterIPs": cluster_ips, "ports": ports,
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
        });
        if !self.selector.is_empty() {
            spec["selector"] = self
                .selector
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        let mut status = json!({"loadBalancer": {}});
        if let Some(address) = self.load_balancer {
            spec["externalTrafficPolicy"] = "Local".into();
            status = json!({"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}});
        }
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": metadata("Service", self.namespace, self.name, created, tag),
            "spec": spec, "status": status,
        })
    }

    /// One slice per family and set of port numbers: pods whose named ports differ are in different slices.
    pub(super) fn slices(&self, pods: &[&Pod], created: Timestamp, tag: &str) -> Vec<Value> {
        [(Family::V4, "IPv4"), (Family::V6, "IPv6")]
            .into_iter()
            .flat_map(|(family, word)| {
                let groups = self.groups(family, pods);
                groups
                    .into_iter()
                    .map(move |(ports, backends)| (word, ports, backends))
            })
            .enumerate()
            .map(|(number, (word, ports, backends))| {
                self.slice(number, word, &ports, &backends, created, tag)
            })
            .collect()
    }

    fn groups(&self, family: Family, pods: &[&Pod]) -> BTreeMap<Vec<u16>, Vec<Backend>> {
        let per_port: Vec<Vec<Backend>> = self
            .ports
            .iter()
            .map(|port| self.backends(port, family, pods.iter().copied()))
            .collect();
        let mut groups: BTreeMap<Vec<u16>, Vec<Backend>> = BTreeMap::new();
        for backend in per_port.first().into_iter().flatten() {
            let numbers = per_port
                .iter()
                .filter_map(|backends| {
                    let same = backends
                        .iter()
                        .find(|other| other.address == backend.address)?;
                    Some(same.port)
                })
                .collect();
            groups.entry(numbers).or_default().push(backend.clone());
        }
        groups
    }

    fn slice(
        &self,
        number: usize,
        family: &str,
        ports: &[u16],
        backends: &[Backend],
        created: Timestamp,
        tag: &str,
    ) -> Value {
        let name = match self.name {
            // The API server names its own endpoint slice after its service.
            "kubernetes" => "kubernetes".to_owned(),
            name => format!("{name}-{}", super::suffix(&format!("{name}/{number}"), 5)),
        };
        let mut metadata = metadata("EndpointSlice", self.namespace, &name, created, tag);
        metadata["labels"] = json!({"kubernetes.io/service-name": self.name});
        let ports: Vec<Value> = self
            .ports
            .iter()
            .zip(ports)
            .map(|(port, number)| {
                json!({"name": port.name, "protocol": port.protocol.name(), "port": number})
            })
            .collect();
        let endpoints: Vec<Value> = backends.iter().map(Backend::object).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": family, "endpoints": endpoints, "ports": ports,
        })
    }

    fn fixed(&self, port: &ServicePort, family: Family) -> Vec<Backend> {
        let Target::Number(number) = port.target else {
            return Vec::new();
        };
        self.endpoints
            .iter()
            .filter_map(|address| address.parse().ok())
            .filter(|address: &IpAddr| address.is_ipv4() == (family == Family::V4))
            .map(|address| Backend {
                address,
                port: number,
                pod: None,
            })
            .collect()
    }
}

impl Backend {
    fn object(&self) -> Value {
        let mut endpoint = json!({
            "addresses": [self.address],
            "conditions": {"ready": true, "serving": true, "terminating": false},
        });
        if let Some(pod) = &self.pod {
            endpoint["nodeName"] = pod.node.into();
            endpoint["targetRef"] = json!({
                "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
            });
        }
        endpoint
    }
}

fn backend(port: &ServicePort, family: Family, pod: &Pod) -> Option<Backend> {
    let number = match port.target {
        Target::Number(number) => number,
        Target::Name(name) => {
            let named = pod.workload.ports.iter();
            named
                .filter(|(_, protocol, _)| *protocol == port.protocol)
                .find(|(other, _, _)| *other == name)?
                .2
        }
    };
    Some(Backend {
        address: family.of(pod.addresses),
        port: number,
        pod: Some(Reference {
            namespace: pod.workload.namespace,
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            node: pod.node.name(),
        }),
    })
}

fn port_object(port: &ServicePort) -> Value {
    let target = match port.target {
        Target::Number(number) => Value::from(number),
        Target::Name(name) => Value::from(name),
    };
    let mut object = json!({
        "name": port.name, "protocol": port.protocol.name(), "port": port.port, "targetPort": target,
    });
    if let Some(node_port) = port.node_port {
        object["nodePort"] = node_port.into();
    }
    object
}
