//! Namespaces, nodes, services and endpoint slices.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::{core::v1, discovery::v1 as discovery};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol_common::names::ObjectName;

use super::{FieldError, ToObject, addresses, created, labels, name, namespace, port, protocol};
use crate::identity::objects::{
    EndpointSlice, NamedPort, Namespace, Node, Object, Service, ServicePort, SliceEndpoint,
    TargetPort,
};

/// The label that names the service of a slice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Annotations in which network plugins note addresses of a node's tunnels and bridges, with or without a prefix
/// length.
const NODE_ADDRESS_NOTES: [&str; 10] = [
    "flannel.alpha.coreos.com/public-ip",
    "network.cilium.io/ipv4-cilium-host",
    "network.cilium.io/ipv6-cilium-host",
    "projectcalico.org/IPv4Address",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6Address",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
];

impl ToObject for v1::Namespace {
    fn to_object(&self) -> Result<Object, FieldError> {
        Ok(Object::Namespace(Namespace {
            name: name(&self.metadata)?,
            labels: labels(&self.metadata),
        }))
    }
}

impl ToObject for v1::Node {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let listed = status.addresses.into_iter().flatten();
        let listed = listed.filter_map(|each| each.address.parse::<IpAddr>().ok());
        let notes = self.metadata.annotations.iter().flatten();
        let notes = notes.filter(|(key, _)| NODE_ADDRESS_NOTES.contains(&key.as_str()));
        let noted = notes.filter_map(|(_, value)| value.split('/').next()?.parse().ok());
        let mut addresses: Vec<IpAddr> = listed
            .chain(noted)
            .map(|each| each.to_canonical())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let cidrs = spec.pod_cidrs.filter(|cidrs| !cidrs.is_empty());
        let cidrs = cidrs.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
        Ok(Object::Node(Node {
            name: name(&self.metadata)?,
            addresses,
            pod_cidrs: ranges(&cidrs)?,
            created: created(&self.metadata),
        }))
    }
}

impl ToObject for v1::Service {
    fn to_object(&self) -> Result<Object, FieldError> {
        let spec = self.spec.clone().unwrap_or_default();
        Ok(Object::Service(Service {
            name: ObjectName::new(namespace(&self.metadata)?, name(&self.metadata)?),
            cluster_ips: cluster_ips(&spec)?,
            external_ips: external_ips(&spec, self.status.as_ref())?,
            ports: service_ports(&spec)?,
            keeps_client: spec.external_traffic_policy.as_deref() == Some("Local"),
            selector: spec.selector.unwrap_or_default(),
            created: created(&self.metadata),
        }))
    }
}

impl ToObject for discovery::EndpointSlice {
    fn to_object(&self) -> Result<Object, FieldError> {
        let namespace = namespace(&self.metadata)?;
        let mut endpoints = Vec::new();
        let named = self.address_type == "FQDN";
        for endpoint in self.endpoints.iter().filter(|_| !named) {
            endpoints.push(slice_endpoint(endpoint, &namespace)?.into());
        }
        // Most are kept for long, and there are many.
        endpoints.shrink_to_fit();
        let ports = self.ports.iter().flatten().enumerate();
        let ports = ports.filter_map(|(at, port)| slice_port(at, port).transpose());
        Ok(Object::EndpointSlice(EndpointSlice {
            service: labels(&self.metadata).remove(SERVICE_LABEL),
            name: ObjectName::new(namespace, name(&self.metadata)?),
            endpoints,
            ports: ports.collect::<Result<_, _>>()?,
        }))
    }
}

fn ranges(cidrs: &[String]) -> Result<Vec<IpNet>, FieldError> {
    let cidrs = cidrs.iter().filter(|cidr| !cidr.is_empty());
    let parsed = cidrs.map(|cidr| {
        let wrong = |error| FieldError::new("spec.podCIDRs", format!("{cidr:?}: {error}"));
        cidr.parse::<IpNet>().map(|net| net.trunc()).map_err(wrong)
    });
    parsed.collect()
}

fn cluster_ips(spec: &v1::ServiceSpec) -> Result<Vec<IpAddr>, FieldError> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return Ok(Vec::new());
    }
    let several = spec.cluster_ips.clone().filter(|ips| !ips.is_empty());
    let ips = several.unwrap_or_else(|| spec.cluster_ip.clone().into_iter().collect());
    addresses("spec.clusterIPs", ips.iter().filter(|ip| *ip != "None"))
}

fn external_ips(
    spec: &v1::ServiceSpec,
    status: Option<&v1::ServiceStatus>,
) -> Result<Vec<IpAddr>, FieldError> {
    let mut all = addresses("spec.externalIPs", spec.external_ips.iter().flatten())?;
    let balancer = status.and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    let given = ingress
        .into_iter()
        .flatten()
        .filter_map(|each| each.ip.as_ref());
    all.extend(addresses("status.loadBalancer.ingress", given)?);
    Ok(all)
}

fn service_ports(spec: &v1::ServiceSpec) -> Result<Vec<ServicePort>, FieldError> {
    let ports = spec.ports.iter().flatten().enumerate();
    ports.map(|(at, each)| service_port(at, each)).collect()
}

fn service_port(at: usize, each: &v1::ServicePort) -> Result<ServicePort, FieldError> {
    let field = |name: &str| format!("spec.ports[{at}].{name}");
    let number = port(&field("port"), each.port)?;
    let target = match &each.target_port {
        Some(IntOrString::Int(target)) if *target != 0 => {
            TargetPort::Number(port(&field("targetPort"), *target)?)
        }
        Some(IntOrString::String(target)) if !target.is_empty() => named_target(target),
        _ => TargetPort::Number(number),
    };
    let node_port = each.node_port.filter(|node_port| *node_port != 0);
    Ok(ServicePort {
        name: each.name.clone().unwrap_or_default(),
        protocol: protocol(&field("protocol"), each.protocol.as_deref())?,
        port: number,
        target,
        node_port: node_port
            .map(|each| port(&field("nodePort"), each))
            .transpose()?,
    })
}

/// A number in quotes is still a number.
fn named_target(target: &str) -> TargetPort {
    let number = target.parse().map(TargetPort::Number);
    number.unwrap_or_else(|_| TargetPort::Name(target.to_owned()))
}

fn slice_endpoint(
    endpoint: &discovery::Endpoint,
    namespace: &str,
) -> Result<SliceEndpoint, FieldError> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ending = conditions.serving == Some(true) && conditions.terminating == Some(true);
    let target = endpoint.target_ref.as_ref();
    let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = pod.and_then(|target| {
        let namespace = target.namespace.as_deref().unwrap_or(namespace);
        Some(ObjectName::new(namespace, target.name.as_deref()?))
    });
    Ok(SliceEndpoint {
        addresses: addresses("endpoints[].addresses", &endpoint.addresses)?,
        pod,
        usable: conditions.ready != Some(false) || ending,
    })
}

/// A port of a slice; one without a number stands for none that could be told.
fn slice_port(at: usize, each: &discovery::EndpointPort) -> Result<Option<NamedPort>, FieldError> {
    let Some(number) = each.port else {
        return Ok(None);
    };
    Ok(Some(NamedPort {
        name: each.name.clone().unwrap_or_default(),
        protocol: protocol(&format!("ports[{at}].protocol"), each.protocol.as_deref())?,
        port: port(&format!("ports[{at}].port"), number)?,
    }))
}
