//! Services as ends of a question: the pods behind them, and the ports there. Policies see neither a service's address
//! nor its port, but those of the pod behind it.

use std::collections::BTreeSet;

use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use super::ends::{Ends, UnknownEnd};
use crate::identity::objects::{Service, TargetPort};
use crate::policy::Cluster;
use crate::policy::evaluate::{PodId, World};

/// The kind that says that a service is meant.
pub(super) const KIND: &str = "Service";

/// The pods behind a service.
///
/// # Errors
/// There is no such service, it selects no pods, or none is there.
pub(super) fn find(
    name: &ObjectName,
    world: &World,
    cluster: &Cluster,
) -> Result<Ends, UnknownEnd> {
    let unusable = |hint: &str| UnknownEnd::Absent {
        name: format!("{}/{KIND}/{}", name.namespace, name.name),
        hint: hint.to_owned(),
    };
    let known = named(name, cluster);
    let service = known.ok_or_else(|| unusable("no service is called so"))?;
    if service.selector.is_empty() {
        let hint = "the service selects no pods: ask for the address of one of its endpoints";
        return Err(UnknownEnd::NoPods {
            service: name.clone(),
            hint,
        });
    }
    let pods = world.pods();
    let pods: Vec<PodId> = pods
        .filter(|(_, member)| member.pod.name.namespace == name.namespace)
        .filter(|(_, member)| {
            let mut wanted = service.selector.iter();
            wanted.all(|(key, value)| member.pod.labels.get(key) == Some(value))
        })
        .map(|(id, _)| id)
        .collect();
    match pods.is_empty() {
        true => Err(UnknownEnd::NoPods {
            service: name.clone(),
            hint: "its selector matches no pod of the inventory",
        }),
        false => Ok(Ends::Service(name.clone(), pods)),
    }
}

fn named<'a>(name: &ObjectName, cluster: &'a Cluster) -> Option<&'a Service> {
    let mut services = cluster.services.iter();
    services.find(|service| service.name == *name)
}

/// The port that policies see where a port of these ends is addressed: behind a service that of its pods, else the same.
///
/// # Errors
/// The service has no such port, or it is another one from pod to pod.
pub fn target_port(
    ends: &Ends,
    (protocol, port): (Protocol, u16),
    world: &World,
    cluster: &Cluster,
) -> Result<u16, UnknownEnd> {
    let Ends::Service(name, pods) = ends else {
        return Ok(port);
    };
    let ports = named(name, cluster).map_or(&[][..], |service| &service.ports);
    let asked = ports
        .iter()
        .find(|known| known.protocol == protocol && known.port == port);
    let Some(asked) = asked else {
        let ports = ports.iter();
        return Err(UnknownEnd::NoPort {
            service: name.clone(),
            asked: format!("{port}/{protocol}"),
            ports: ports
                .map(|known| format!("{}/{}", known.port, known.protocol))
                .collect(),
        });
    };
    let target = match &asked.target {
        TargetPort::Number(number) => return Ok(*number),
        TargetPort::Name(target) => target,
    };
    let named = pods.iter().flat_map(|id| &world.pod(*id).pod.named_ports);
    let numbers: BTreeSet<u16> = named
        .filter(|(name, of, _)| name == target && *of == protocol)
        .map(|(_, _, number)| *number)
        .collect();
    match numbers.iter().collect::<Vec<_>>()[..] {
        [number] => Ok(*number),
        _ => Err(UnknownEnd::Targets {
            service: name.clone(),
            target: target.clone(),
            numbers: numbers.into_iter().collect(),
        }),
    }
}
