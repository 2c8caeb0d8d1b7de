//! The Kubernetes objects that netpol reads, trimmed to what it needs and free of `kube` types.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use serde::{Deserialize, Serialize};

use super::Shared;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// One object of a kind that the index holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A pod.
    Pod(Pod),
    /// An owner of pods, or an owner of such an owner.
    Owner(Owner),
    /// A service.
    Service(Service),
    /// A slice of a service's endpoints.
    EndpointSlice(EndpointSlice),
    /// A node.
    Node(Node),
}

/// What identifies an [`Object`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKey {
    /// A namespace by name.
    Namespace(String),
    /// A pod by namespace, name and uid: a later pod of the same name is another object.
    Pod(ObjectName, String),
    /// An owner by namespace, kind and name.
    Owner(WorkloadName),
    /// A service.
    Service(ObjectName),
    /// An endpoint slice.
    EndpointSlice(ObjectName),
    /// A node by name.
    Node(String),
}

/// A kind of [`Object`], as far as whole lists go: each kind is listed on its own.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// Namespaces.
    Namespace,
    /// Pods.
    Pod,
    /// Owners of the kind named: `Deployment`, `Job` …
    Owner(String),
    /// Services.
    Service,
    /// Endpoint slices.
    EndpointSlice,
    /// Nodes.
    Node,
}

/// A namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels; `kubernetes.io/metadata.name` is added where it is missing.
    pub labels: Labels,
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pod {
    /// Namespace and name.
    pub name: PodName,
    /// `metadata.uid`; empty in hand-written inventories.
    pub uid: String,
    /// Its labels.
    pub labels: Shared<Labels>,
    /// The node it runs on, once scheduled.
    pub node: Option<String>,
    /// Whether it uses its node's network namespace, so that its addresses are the node's.
    pub host_network: bool,
    /// `status.podIPs`, or `status.podIP` alone.
    pub ips: Vec<IpAddr>,
    /// The controlling owner reference.
    pub owner: Option<Shared<OwnerReference>>,
    /// `metadata.generateName`.
    pub generate_name: Option<String>,
    /// Container ports with a name, over all containers.
    pub named_ports: Shared<Vec<NamedPort>>,
    /// `metadata.creationTimestamp`: before it, its addresses were not its own.
    pub created: Option<Timestamp>,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// When one of its containers last started again after it had ended.
    pub restarted: Option<Timestamp>,
    /// When a pod of phase `Succeeded` or `Failed` gave up its addresses: the last container's `finishedAt`.
    pub finished: Option<Timestamp>,
    /// Whether the phase is `Succeeded` or `Failed`.
    pub terminal: bool,
    /// Whether `metadata.deletionTimestamp` is set: its addresses are free before its object is gone.
    pub terminating: bool,
}

/// Namespace and name of a pod, with a default for tests.
pub type PodName = NamespacedName;

/// Namespace and name, empty by default.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// `metadata.ownerReferences[…]` of the controller.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OwnerReference {
    /// API group and version, e.g. `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name; the namespace is that of the object which bears the reference.
    pub name: String,
    /// `metadata.uid` of the owner.
    pub uid: String,
}

/// A container port with a name.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

/// A workload controller: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, ReplicationController.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Owner {
    /// Namespace, kind and name.
    pub name: WorkloadName,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generateName`.
    pub generate_name: Option<String>,
    /// Its own controlling owner.
    pub owner: Option<OwnerReference>,
    /// `spec.selector.matchLabels`; empty where the kind has none of its own (CronJob).
    pub selector: Labels,
    /// The labels of its pod template; empty where only metadata is read (ReplicaSet, Job under an owner).
    pub template_labels: Labels,
    /// Whether the pod template asks for the host's network.
    pub host_network: bool,
    /// The pod template's container ports with a name, over all containers.
    pub named_ports: Vec<NamedPort>,
}

/// Where a service's port leads.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServicePort {
    /// The port's name; empty if it has none.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `targetPort`, used where no endpoint slice of the service is known.
    pub target: TargetPort,
    /// `nodePort`.
    pub node_port: Option<u16>,
}

/// A service's `targetPort`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TargetPort {
    /// A number; that of the service port itself where none is given.
    Number(u16),
    /// The name of a container port, which may differ in number from pod to pod.
    Name(String),
}

/// A service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `clusterIPs`, without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `externalIPs` and the load balancer's addresses.
    pub external_ips: Vec<IpAddr>,
    /// `spec.selector`; empty if it has none.
    pub selector: Labels,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `externalTrafficPolicy: Local`: clients of its node ports keep their addresses.
    pub keeps_client: bool,
    /// `metadata.creationTimestamp`: before it, its addresses were not its own.
    pub created: Option<Timestamp>,
}

/// Endpoints of a service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// The service, from the label `kubernetes.io/service-name`.
    pub service: Option<String>,
    /// The endpoints.
    pub endpoints: Vec<Shared<SliceEndpoint>>,
    /// The ports, as (name, protocol, target port).
    pub ports: Vec<NamedPort>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SliceEndpoint {
    /// Its addresses, all alike.
    pub addresses: Vec<IpAddr>,
    /// The pod behind it, if `targetRef` names one.
    pub pod: Option<ObjectName>,
    /// Whether it may be sent traffic: ready, or still serving while it terminates.
    pub usable: bool,
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `status.addresses` of the types that hold addresses.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// `metadata.creationTimestamp`: before it, its addresses were not its own.
    pub created: Option<Timestamp>,
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Namespace(_) => ObjectKind::Namespace,
            Self::Pod(_) => ObjectKind::Pod,
            Self::Owner(owner) => ObjectKind::Owner(owner.name.kind.clone()),
            Self::Service(_) => ObjectKind::Service,
            Self::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Self::Node(_) => ObjectKind::Node,
        }
    }

    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Namespace(namespace) => ObjectKey::Namespace(namespace.name.clone()),
            Self::Pod(pod) => pod.key(),
            Self::Owner(owner) => ObjectKey::Owner(owner.name.clone()),
            Self::Service(service) => ObjectKey::Service(service.name.clone()),
            Self::EndpointSlice(slice) => ObjectKey::EndpointSlice(slice.name.clone()),
            Self::Node(node) => ObjectKey::Node(node.name.clone()),
        }
    }
}

impl Pod {
    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::Pod((&self.name).into(), self.uid.clone())
    }
}

impl ObjectKey {
    /// The kind of the object that it identifies.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Namespace(_) => ObjectKind::Namespace,
            Self::Pod(..) => ObjectKind::Pod,
            Self::Owner(name) => ObjectKind::Owner(name.kind.clone()),
            Self::Service(_) => ObjectKind::Service,
            Self::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Self::Node(_) => ObjectKind::Node,
        }
    }
}

impl From<&NamespacedName> for ObjectName {
    fn from(name: &NamespacedName) -> Self {
        Self::new(&name.namespace, &name.name)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Owner(kind) => kind,
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "Namespace {name}"),
            Self::Pod(name, _) => write!(f, "Pod {name}"),
            Self::Owner(owner) => write!(f, "{} {}/{}", owner.kind, owner.namespace, owner.name),
            Self::Service(name) => write!(f, "Service {name}"),
            Self::EndpointSlice(name) => write!(f, "EndpointSlice {name}"),
            Self::Node(name) => write!(f, "Node {name}"),
        }
    }
}
