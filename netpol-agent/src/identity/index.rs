//! The index: three verbs to feed it, one query, and read access to what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};

use super::objects::{Labels, Namespace, Node, Object, ObjectKey, ObjectKind, Pod, Service};
use super::resolve::{Peer, Resolution, Sighting, Unresolved};
use super::view::WorkloadView;

/// Who had which address when, and which workload each pod belongs to.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pods: BTreeMap<ObjectKey, Pod>,
    namespaces: BTreeMap<String, Namespace>,
}

impl Index {
    /// Takes in an object that was added or has changed, at the time that is learned.
    pub fn apply(&mut self, object: Object, _at: Timestamp) {
        let key = object.key();
        match object {
            Object::Pod(pod) => drop(self.pods.insert(key, pod)),
            Object::Namespace(namespace) => {
                drop(self.namespaces.insert(namespace.name.clone(), namespace));
            }
            _ => {}
        }
    }

    /// Ends an object that was deleted. What it owned until then stays known until it is pruned.
    pub fn delete(&mut self, key: &ObjectKey, _at: Timestamp) {
        self.pods.remove(key);
    }

    /// Makes `objects` all that there is: the rest is gone by `at`.
    pub fn reset(&mut self, objects: Vec<Object>, at: Timestamp) {
        objects
            .into_iter()
            .for_each(|object| self.apply(object, at));
    }

    /// Makes `objects` all that there is of one kind.
    pub fn reset_kind(&mut self, _kind: &ObjectKind, objects: Vec<Object>, at: Timestamp) {
        self.reset(objects, at);
    }

    /// Takes in all addresses that a node has now, as its agent reports them: bridge, tunnel and overlay too.
    pub fn learn_node_addresses(&mut self, _node: &str, _addresses: &[IpAddr], _at: Timestamp) {}

    /// Forgets what ended before `before`.
    pub fn prune(&mut self, _before: Timestamp) {}

    /// Both ends of a sighting, at the time it was seen.
    #[must_use]
    pub fn resolve(&self, sighting: &Sighting) -> Resolution {
        Resolution::Unresolved(Unresolved::NotInInventory(format!("{sighting:?}")))
    }

    /// The pods that run on a node now: scheduled there and not finished.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        let here = move |pod: &&Pod| pod.node.as_deref() == Some(node) && !pod.terminal;
        self.pods.values().filter(here)
    }

    /// The present pod of that name.
    #[must_use]
    pub fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.pods
            .values()
            .find(|pod| ObjectName::from(&pod.name) == *name)
    }

    /// Whom a pod's traffic is counted for: its workload, or its node if it uses the node's network.
    #[must_use]
    pub fn peer_of(&self, pod: &Pod) -> Option<Peer> {
        let _ = pod;
        None
    }

    /// A workload that is there now, also one that has no pods at present.
    #[must_use]
    pub fn workload(&self, name: &WorkloadName) -> Option<WorkloadView> {
        self.workloads().into_iter().find(|view| view.name == *name)
    }

    /// Every workload that is there now, in the order of their names.
    #[must_use]
    pub fn workloads(&self) -> Vec<WorkloadView> {
        Vec::new()
    }

    /// The present namespaces, in the order of their names; also those known only from what is in them.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<String, Labels> {
        BTreeMap::new()
    }

    /// The present nodes, in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::empty()
    }

    /// Every address that a node has now, those learned from its agent included.
    #[must_use]
    pub fn node_addresses(&self, name: &str) -> BTreeSet<IpAddr> {
        let _ = name;
        BTreeSet::new()
    }

    /// The addresses and ports behind `default/kubernetes` now.
    #[must_use]
    pub fn api_server_addresses(&self) -> BTreeSet<(IpAddr, u16)> {
        BTreeSet::new()
    }

    /// The present service of that name.
    #[must_use]
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        let _ = name;
        None
    }
}
