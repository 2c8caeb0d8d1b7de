//! The present objects part by part, so that whoever reads all of them holds the index for a moment at a time.

use std::ops::Bound;

use netpol_common::names::ObjectName;

use super::index::Index;
use super::objects::{Object, Pod};

impl Index {
    /// Every node and namespace.
    #[must_use]
    pub fn cluster_objects(&self) -> Vec<Object> {
        let nodes = self.nodes.present().cloned().map(Object::Node);
        let namespaces = self.namespaces.values().cloned().map(Object::Namespace);
        nodes.chain(namespaces).collect()
    }

    /// Every object in a namespace but its pods.
    #[must_use]
    pub fn objects_in(&self, namespace: &str) -> Vec<Object> {
        let owners = self.owners.present(Some(namespace)).cloned();
        let services = self.services.present();
        let services = services.filter(|service| service.name.namespace == namespace);
        let slices = self.services.present_slices();
        let slices = slices.filter(|slice| slice.name.namespace == namespace);
        let owners = owners.map(Object::Owner);
        let services = services.cloned().map(Object::Service);
        let slices = slices.cloned().map(Object::EndpointSlice);
        owners.chain(services).chain(slices).collect()
    }

    /// The next `count` pods of a namespace in the order of their names, after that of name `after`.
    #[must_use]
    pub fn pods_after(&self, namespace: &str, after: &str, count: usize) -> Vec<Pod> {
        let after = Bound::Excluded(ObjectName::new(namespace, after));
        let pods = self.pods.present_from((after, Bound::Unbounded));
        let inside = pods.take_while(|pod| pod.name.namespace == namespace);
        inside.take(count).cloned().collect()
    }
}
