//! Pods.

use jiff::Timestamp;
use k8s_openapi::api::core::v1;

use super::{FieldError, ToObject, address, addresses, created, labels, name, namespace, owner};
use super::{port, protocol, time};
use crate::identity::objects::{NamedPort, NamespacedName, Object, Pod};

impl ToObject for v1::Pod {
    fn to_object(&self) -> Result<Object, FieldError> {
        let metadata = &self.metadata;
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let terminal = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        Ok(Object::Pod(Pod {
            name: NamespacedName {
                namespace: namespace(metadata)?,
                name: name(metadata)?,
            },
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: labels(metadata).into(),
            host_network: spec.host_network.unwrap_or_default(),
            ips: pod_addresses(&status)?,
            owner: owner(metadata).map(Into::into),
            generate_name: metadata.generate_name.clone(),
            named_ports: named_ports(&spec)?.into(),
            created: created(metadata),
            started: time(status.start_time.as_ref()),
            restarted: last_restart(&status),
            finished: terminal.then(|| last_finish(&status)).flatten(),
            terminal,
            terminating: metadata.deletion_timestamp.is_some(),
            node: spec.node_name.filter(|node| !node.is_empty()),
        }))
    }
}

fn pod_addresses(status: &v1::PodStatus) -> Result<Vec<std::net::IpAddr>, FieldError> {
    let all = status.pod_ips.iter().flatten().map(|each| &each.ip);
    let all = addresses("status.podIPs", all)?;
    match &status.pod_ip {
        Some(one) if all.is_empty() && !one.is_empty() => Ok(vec![address("status.podIP", one)?]),
        _ => Ok(all),
    }
}

/// The container ports with a name, over all containers. One that states no number names none.
pub(super) fn named_ports(spec: &v1::PodSpec) -> Result<Vec<NamedPort>, FieldError> {
    let containers = spec.containers.iter();
    let containers = containers.chain(spec.init_containers.iter().flatten());
    let mut named = Vec::new();
    for each in containers.flat_map(|container| container.ports.iter().flatten()) {
        let Some(name) = each.name.as_ref().filter(|_| each.container_port != 0) else {
            continue;
        };
        named.push(NamedPort {
            name: name.clone(),
            protocol: protocol(
                "spec.containers[].ports[].protocol",
                each.protocol.as_deref(),
            )?,
            port: port(
                "spec.containers[].ports[].containerPort",
                each.container_port,
            )?,
        });
    }
    Ok(named)
}

/// When a container last started that had run before.
fn last_restart(status: &v1::PodStatus) -> Option<Timestamp> {
    let statuses = status.container_statuses.iter().flatten();
    let again = statuses.filter(|each| each.restart_count > 0);
    let running = again.filter_map(|each| each.state.as_ref()?.running.as_ref());
    running
        .filter_map(|running| time(running.started_at.as_ref()))
        .max()
}

/// When the last container finished.
fn last_finish(status: &v1::PodStatus) -> Option<Timestamp> {
    let statuses = status.container_statuses.iter().flatten();
    let statuses = statuses.chain(status.init_container_statuses.iter().flatten());
    let ended = statuses.filter_map(|each| each.state.as_ref()?.terminated.as_ref());
    ended.filter_map(|end| time(end.finished_at.as_ref())).max()
}
