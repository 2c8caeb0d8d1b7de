//! What was found out about interfaces, before anything is concluded from it.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything that [`super::decide`] judges. Numbers of network namespaces are those of the node's namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Pods' network namespaces, as told by their processes.
    pub sandboxes: Vec<Sandbox>,
    /// Results of CNI plugins.
    pub cni: Vec<CniResult>,
    /// The host's routes to single addresses.
    pub routes: Vec<HostRoute>,
    /// What bridges learned on their ports.
    pub fdb: Vec<FdbEntry>,
    /// The host's neighbours.
    pub neighbours: Vec<Neighbour>,
    /// The first source address seen on an interface that is not bound yet, by ifindex.
    pub sources: BTreeMap<u32, IpAddr>,
    /// Addresses configured within a network namespace, by its number.
    pub inner: BTreeMap<i32, Vec<IpAddr>>,
}

/// The network namespace of the oldest process in a pod's cgroup.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Sandbox {
    /// The pod's uid, from the cgroup's name.
    pub pod_uid: String,
    /// The namespace's number.
    pub netnsid: i32,
}

/// What a CNI plugin reported when it attached a pod.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CniResult {
    /// The pod, from the arguments that the container runtime gave. Old caches do not keep them.
    pub pod: Option<CniPod>,
    /// Names of the interfaces it made on the host.
    pub host_interfaces: Vec<String>,
    /// The number of the pod's network namespace, if it still exists.
    pub netnsid: Option<i32>,
    /// The addresses it gave to the pod.
    pub addresses: Vec<IpAddr>,
}

/// `K8S_POD_NAMESPACE`, `K8S_POD_NAME` and `K8S_POD_UID`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CniPod {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid; not given by every runtime.
    pub uid: Option<String>,
}

/// A route of the host to one address.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostRoute {
    /// The address.
    pub address: IpAddr,
    /// The interface it leads to.
    pub ifindex: u32,
}

/// A hardware address that a bridge learned on a port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FdbEntry {
    /// The port.
    pub ifindex: u32,
    /// The hardware address.
    pub mac: [u8; 6],
}

/// The hardware address of a neighbour.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Neighbour {
    /// The interface it is reached by; the bridge, for what is behind a bridge's port.
    pub ifindex: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: [u8; 6],
}
