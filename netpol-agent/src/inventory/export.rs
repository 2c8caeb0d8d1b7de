//! Objects of the index as Kubernetes objects again, with as much of them as reading them takes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::identity::objects::{
    EndpointSlice, Labels, NamedPort, Namespace, NamespacedName, Node, Object, Owner,
    OwnerReference, Pod, Service, SliceEndpoint, TargetPort,
};

/// The label that names the service of a slice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The Kubernetes object that reads back as `object`.
#[must_use]
pub fn export(object: &Object) -> Value {
    match object {
        Object::Namespace(namespace) => of_namespace(namespace),
        Object::Pod(pod) => of_pod(pod),
        Object::Owner(owner) => of_owner(owner),
        Object::Service(service) => of_service(service),
        Object::EndpointSlice(slice) => of_slice(slice),
        Object::Node(node) => of_node(node),
    }
}

fn of_namespace(namespace: &Namespace) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace.name, "labels": namespace.labels},
    })
}

fn of_node(node: &Node) -> Value {
    let addresses = node.addresses.iter();
    let addresses = addresses.map(|address| json!({"type": "InternalIP", "address": address}));
    let cidrs: Vec<String> = node.pod_cidrs.iter().map(ToString::to_string).collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name, "creationTimestamp": time(node.created)},
        "spec": {"podCIDRs": cidrs},
        "status": {"addresses": addresses.collect::<Value>()},
    })
}

fn of_pod(pod: &Pod) -> Value {
    let NamespacedName { namespace, name } = &pod.name;
    let ips = pod.ips.iter().map(|ip| json!({"ip": ip}));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": pruned(json!({
            "namespace": namespace,
            "name": name,
            "uid": some(&pod.uid),
            "labels": labels(&pod.labels),
            "generateName": pod.generate_name,
            "ownerReferences": references(pod.owner.as_deref()),
            "creationTimestamp": time(pod.created),
            // When it is to be gone matters to nobody, only that it is.
            "deletionTimestamp": pod.terminating.then_some("1970-01-01T00:00:00Z"),
        })),
        "spec": pruned(json!({
            "nodeName": pod.node,
            "hostNetwork": pod.host_network.then_some(true),
            "containers": containers(&pod.named_ports),
        })),
        "status": pruned(json!({
            "phase": pod.terminal.then_some("Succeeded"),
            "podIPs": ips.collect::<Value>(),
            "startTime": time(pod.started),
            "containerStatuses": statuses(pod),
        })),
    })
}

fn statuses(pod: &Pod) -> Value {
    let status = |name: &str, restarts: i32, state: Value| {
        json!({
            "name": name, "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
        })
    };
    let restarted = pod.restarted.map(|at| {
        let running = json!({"running": {"startedAt": time(Some(at))}});
        status("restarted", 1, running)
    });
    let finished = pod.finished.map(|at| {
        let ended = json!({"terminated": {"exitCode": 0, "finishedAt": time(Some(at))}});
        status("finished", 0, ended)
    });
    restarted.into_iter().chain(finished).collect()
}

fn of_owner(owner: &Owner) -> Value {
    let kind = owner.name.kind.as_str();
    let spec = match kind {
        "CronJob" => {
            json!({"schedule": "", "jobTemplate": {"spec": {"template": template(owner)}}})
        }
        "Job" => json!({"template": template(owner)}),
        "ReplicationController" => {
            json!({"selector": labels(&owner.selector), "template": template(owner)})
        }
        _ => json!({
            "selector": {"matchLabels": owner.selector},
            "serviceName": "",
            "template": template(owner),
        }),
    };
    json!({
        "apiVersion": api(kind), "kind": kind,
        "metadata": pruned(json!({
            "namespace": owner.name.namespace,
            "name": owner.name.name,
            "uid": some(&owner.uid),
            "generateName": owner.generate_name,
            "ownerReferences": references(owner.owner.as_ref()),
        })),
        "spec": spec,
    })
}

fn template(owner: &Owner) -> Value {
    json!({
        "metadata": {"labels": owner.template_labels},
        "spec": pruned(json!({
            "hostNetwork": owner.host_network.then_some(true),
            "containers": containers(&owner.named_ports),
        })),
    })
}

fn api(kind: &str) -> &'static str {
    match kind {
        "CronJob" | "Job" => "batch/v1",
        "ReplicationController" => "v1",
        _ => "apps/v1",
    }
}

fn of_service(service: &Service) -> Value {
    let ports = service.ports.iter().map(|port| {
        let target = match &port.target {
            TargetPort::Number(number) => json!(number),
            TargetPort::Name(name) => json!(name),
        };
        pruned(json!({
            "name": some(&port.name),
            "protocol": port.protocol,
            "port": port.port,
            "targetPort": target,
            "nodePort": port.node_port,
        }))
    });
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": pruned(json!({
            "namespace": service.name.namespace,
            "name": service.name.name,
            "creationTimestamp": time(service.created),
        })),
        "spec": pruned(json!({
            "clusterIPs": service.cluster_ips,
            "externalIPs": service.external_ips,
            "selector": labels(&service.selector),
            "ports": ports.collect::<Value>(),
            "externalTrafficPolicy": service.keeps_client.then_some("Local"),
        })),
    })
}

fn of_slice(slice: &EndpointSlice) -> Value {
    let endpoints = slice.endpoints.iter().map(|each| endpoint(each));
    let mut first = slice.endpoints.iter().flat_map(|each| &each.addresses);
    let six = first.next().is_some_and(|address| address.is_ipv6());
    let mut marks = Map::new();
    if let Some(service) = &slice.service {
        marks.insert(SERVICE_LABEL.to_owned(), service.as_str().into());
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": slice.name.namespace, "name": slice.name.name, "labels": marks},
        "addressType": if six { "IPv6" } else { "IPv4" },
        "endpoints": endpoints.collect::<Value>(),
        "ports": slice.ports.iter().map(|port| named("port", port)).collect::<Value>(),
    })
}

fn endpoint(endpoint: &SliceEndpoint) -> Value {
    let target = endpoint
        .pod
        .as_ref()
        .map(|pod| json!({"kind": "Pod", "namespace": pod.namespace, "name": pod.name}));
    pruned(json!({
        "addresses": endpoint.addresses,
        "conditions": {"ready": endpoint.usable},
        "targetRef": target,
    }))
}

/// One container with all the named ports that any has.
fn containers(ports: &[NamedPort]) -> Value {
    let ports: Value = ports
        .iter()
        .map(|port| named("containerPort", port))
        .collect();
    json!([{"name": "all", "ports": ports}])
}

fn named(number: &str, port: &NamedPort) -> Value {
    json!({"name": port.name, "protocol": port.protocol, number: port.port})
}

fn references(owner: Option<&OwnerReference>) -> Value {
    let Some(owner) = owner else {
        return Value::Null;
    };
    json!([{
        "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid,
        "controller": true,
    }])
}

fn labels(labels: &Labels) -> Option<&Labels> {
    (!labels.is_empty()).then_some(labels)
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// The fields that are stated.
fn pruned(mut fields: Value) -> Value {
    if let Value::Object(fields) = &mut fields {
        fields.retain(|_, field| !field.is_null());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::parse;

    /// One of each kind, with all that is read of it.
    const CLUSTER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a, kubernetes.io/metadata.name: shop}}
---
apiVersion: v1
kind: Node
metadata: {name: n1, creationTimestamp: 2026-01-01T00:00:00Z}
spec: {podCIDRs: [10.1.0.0/24, 'fd00:1::/64']}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: 'fd00::1'}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  uid: u1
  labels: {app: web}
  generateName: web-
  creationTimestamp: 2026-01-01T00:00:00Z
  deletionTimestamp: 2026-01-02T00:00:00Z
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: r1, controller: true}]
spec:
  nodeName: n1
  containers: [{name: a, ports: [{name: http, containerPort: 80}]}, {name: b, ports: [{name: dns, containerPort: 53, protocol: UDP}]}]
status:
  podIPs: [{ip: 10.1.0.4}, {ip: 'fd00:1::4'}]
  startTime: 2026-01-01T00:00:01Z
  containerStatuses: [{name: a, image: i, imageID: i, ready: true, restartCount: 2, state: {running: {startedAt: 2026-01-01T01:00:00Z}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: job, namespace: shop}
spec: {hostNetwork: true, containers: []}
status: {phase: Failed, containerStatuses: [{name: a, image: i, imageID: i, ready: false, restartCount: 0, state: {terminated: {exitCode: 1, finishedAt: 2026-01-01T01:00:00Z}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.7, 'fd00:96::7']
  externalIPs: [192.0.2.1]
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}, {name: dns, protocol: UDP, port: 53, targetPort: 5353}]
status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints:
- {addresses: ['fd00:1::4'], conditions: {ready: false}, targetRef: {kind: Pod, name: web-1, namespace: shop}}
- {addresses: ['fd00:1::5']}
ports: [{name: http, protocol: TCP, port: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web, v: '1'}}, spec: {hostNetwork: true, containers: [{name: a, ports: [{name: http, containerPort: 80}]}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {serviceName: db, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log, namespace: shop}
spec: {selector: {matchLabels: {app: log}}, template: {metadata: {labels: {app: log}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-5, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d1, controller: true}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec: {schedule: '@daily', jobTemplate: {spec: {template: {metadata: {labels: {app: nightly}}, spec: {containers: []}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: nightly-1, namespace: shop, generateName: nightly-}
spec: {template: {metadata: {labels: {app: nightly, job-name: nightly-1}}, spec: {containers: []}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old, namespace: shop}
spec: {selector: {app: old}, template: {metadata: {labels: {app: old}}, spec: {containers: []}}}
";

    #[test]
    fn what_is_exported_reads_back_the_same() {
        let before = parse("before", CLUSTER).unwrap();
        assert_eq!(before.objects.len(), 14);
        let items: Vec<Value> = before.objects.iter().map(export).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let after = parse("after", &list.to_string()).unwrap();
        for (before, after) in before.objects.iter().zip(&after.objects) {
            assert_eq!(before, after);
        }
        assert_eq!(before.objects.len(), after.objects.len());
        assert!(after.warnings.is_empty(), "{:?}", after.warnings);
    }
}
