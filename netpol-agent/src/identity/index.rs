//! The index: verbs to feed it, and read access to what it holds now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};

use super::claims::{End, Record};
use super::ends::api_service;
use super::nodes::Nodes;
use super::objects::{
    Labels, Namespace, Node, Object, ObjectKey, ObjectKind, Owner, OwnerReference, Pod, Service,
};
use super::owners::Owners;
use super::pods::Pods;
use super::resolve::Peer;
use super::services::Services;

/// The label that every namespace of a cluster bears, with its name as the value.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Who had which address when, and which workload each pod belongs to.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) pods: Pods,
    pub(super) owners: Owners,
    pub(super) services: Services,
    pub(super) nodes: Nodes,
    pub(super) namespaces: BTreeMap<String, Namespace>,
    /// How often an object has changed.
    pub(super) changes: u64,
    /// What has changed since it was last kept; `None` if nobody keeps it.
    pub(super) changed: Option<BTreeSet<ObjectKey>>,
}

/// A list of all objects of some kind on its way into the index.
#[derive(Debug)]
pub struct Listing {
    kind: Option<ObjectKind>,
    /// What was there when it began and has not been in it so far.
    missing: BTreeSet<ObjectKey>,
}

impl Index {
    /// Takes in an object that was added or has changed, at the time that this is learned.
    pub fn apply(&mut self, object: Object, at: Timestamp) {
        self.note(&object);
        match object {
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            Object::Pod(pod) => self.pods.apply(pod, at),
            Object::Owner(owner) => self.owners.apply(owner),
            Object::Service(service) => self.services.apply(service, at),
            Object::EndpointSlice(slice) => self.services.apply_slice(slice, at),
            Object::Node(node) => self.nodes.apply(node, at),
        }
    }

    /// Ends an object that was deleted. What it owned until then stays known until it is pruned.
    pub fn delete(&mut self, key: &ObjectKey, at: Timestamp) {
        self.end_object(key, End::known(at));
    }

    /// Makes `objects` all that there is: whatever else was there is gone by `at`.
    pub fn reset(&mut self, objects: Vec<Object>, at: Timestamp) {
        self.replace(None, objects, at);
    }

    /// Makes `objects` all that there is of one kind.
    pub fn reset_kind(&mut self, kind: &ObjectKind, objects: Vec<Object>, at: Timestamp) {
        self.replace(Some(kind), objects, at);
    }

    /// Begins to take in a list of all that there is of one kind, or of all kinds. One that is given up changes nothing but
    /// what was in it.
    #[must_use]
    pub fn begin_list(&self, kind: Option<&ObjectKind>) -> Listing {
        Listing {
            kind: kind.cloned(),
            missing: self.present_keys(kind),
        }
    }

    /// Takes in an object that is in the list.
    pub fn list(&mut self, listing: &mut Listing, object: Object, at: Timestamp) {
        listing.missing.remove(&object.key());
        self.apply(object, at);
    }

    /// Ends what was not in the list: it is gone by `at`.
    pub fn end_list(&mut self, listing: Listing, at: Timestamp) {
        for key in listing.missing {
            self.end_object(&key, End { at, vague: true });
        }
        if listing.kind.is_none_or(|kind| kind == ObjectKind::Pod) {
            self.pods.settle();
        }
    }

    /// Takes in all addresses that a node has now, as its agent reports them: bridge, tunnel and overlay too.
    pub fn learn_node_addresses(&mut self, node: &str, addresses: &[IpAddr], at: Timestamp) {
        self.nodes.learn(node, addresses, at);
    }

    /// How often it was changed by any of the verbs: nothing was, while this is the same.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Forgets what ended by `before`. What is there now stays, however old.
    pub fn prune(&mut self, before: Timestamp) {
        let mut forgotten = self.pods.prune(before);
        let records = self.pods.in_namespace(None);
        let needed = records.map(Record::pod).filter_map(owner_name).collect();
        forgotten.extend(self.owners.prune(before, &needed));
        forgotten.extend(self.services.prune(before));
        forgotten.extend(self.nodes.prune(before));
        if let Some(changed) = &mut self.changed {
            changed.extend(forgotten);
        }
    }

    /// The pods that run on a node now: scheduled there and not finished.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        let here = move |pod: &&Pod| pod.node.as_deref() == Some(node) && !pod.terminal;
        self.pods.present().filter(here)
    }

    /// The present pod of that name.
    #[must_use]
    pub fn pod(&self, name: &ObjectName) -> Option<&Pod> {
        self.pods.present_named(name)
    }

    /// Every pod that is there now, finished ones included.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.present()
    }

    /// The present pods that have, or had, an address.
    pub fn pods_at(&self, address: IpAddr) -> impl Iterator<Item = &Pod> {
        self.pods.present_at(address)
    }

    /// Whom a pod's traffic is counted for: its workload, or its node if it uses the node's network; nobody if it
    /// does but is not on any node yet.
    #[must_use]
    pub fn peer_of(&self, pod: &Pod) -> Option<Peer> {
        if pod.host_network {
            return pod.node.clone().map(Peer::Node);
        }
        Some(Peer::Workload(self.workload_of(pod)))
    }

    /// The workload of a pod, whichever network it uses.
    #[must_use]
    pub fn workload_of(&self, pod: &Pod) -> WorkloadName {
        self.owners.workload_of(pod)
    }

    /// The labels of every present namespace by its name, also of those known only from what is in them.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<String, Labels> {
        let pods = self.pods.present().map(|pod| &pod.name.namespace);
        let owners = self.owners.present(None).map(|owner| &owner.name.namespace);
        let services = self.services.present().map(|each| &each.name.namespace);
        let used = pods.chain(owners).chain(services);
        let names: BTreeSet<&String> = self.namespaces.keys().chain(used).collect();
        let labels = |name: &String| (name.clone(), self.namespace_labels(name));
        names.into_iter().map(labels).collect()
    }

    /// The labels of a namespace. One that is not in the inventory has at least that of its name.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Labels {
        let known = self.namespaces.get(name);
        let mut labels = known.map_or_else(Labels::new, |namespace| namespace.labels.clone());
        labels
            .entry(NAMESPACE_LABEL.to_owned())
            .or_insert_with(|| name.to_owned());
        labels
    }

    /// The present nodes, in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.present()
    }

    /// Every address that a node has now, those learned from its agent included.
    #[must_use]
    pub fn node_addresses(&self, name: &str) -> BTreeSet<IpAddr> {
        self.nodes.addresses(name)
    }

    /// The addresses and ports behind `default/kubernetes` now.
    #[must_use]
    pub fn api_server_addresses(&self) -> BTreeSet<(IpAddr, u16)> {
        self.services.present_endpoints(&api_service())
    }

    /// The present service of that name.
    #[must_use]
    pub fn service(&self, name: &ObjectName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The present services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.present()
    }

    /// The new objects go in first, so that one that takes another's place tells when the other was gone.
    fn replace(&mut self, kind: Option<&ObjectKind>, objects: Vec<Object>, at: Timestamp) {
        let mut listing = self.begin_list(kind);
        for object in objects {
            self.list(&mut listing, object, at);
        }
        self.end_list(listing, at);
    }

    fn end_object(&mut self, key: &ObjectKey, end: End) {
        self.note_key(key);
        match key {
            ObjectKey::Namespace(name) => {
                self.namespaces.remove(name);
            }
            ObjectKey::Pod(name, uid) => self.pods.delete(name, uid, end),
            ObjectKey::Owner(name) => self.owners.delete(name, end.at),
            ObjectKey::Service(name) => self.services.delete(name, end.at),
            ObjectKey::EndpointSlice(name) => self.services.delete_slice(name, end.at),
            ObjectKey::Node(name) => self.nodes.delete(name, end.at),
        }
    }

    /// The keys of what is there of one kind, or of all.
    fn present_keys(&self, kind: Option<&ObjectKind>) -> BTreeSet<ObjectKey> {
        let of = |this: ObjectKind| kind.is_none_or(|kind| *kind == this);
        let mut keys = BTreeSet::new();
        if of(ObjectKind::Namespace) {
            keys.extend(self.namespaces.keys().cloned().map(ObjectKey::Namespace));
        }
        if of(ObjectKind::Pod) {
            keys.extend(self.pods.present().map(Pod::key));
        }
        if of(ObjectKind::Service) {
            let services = self.services.present();
            keys.extend(services.map(|service| ObjectKey::Service(service.name.clone())));
        }
        if of(ObjectKind::EndpointSlice) {
            let slices = self.services.present_slices();
            keys.extend(slices.map(|slice| ObjectKey::EndpointSlice(slice.name.clone())));
        }
        if of(ObjectKind::Node) {
            keys.extend(
                self.nodes
                    .present()
                    .map(|node| ObjectKey::Node(node.name.clone())),
            );
        }
        let is_listed = |owner: &&Owner| match kind {
            Some(ObjectKind::Owner(kind)) => owner.name.kind == *kind,
            Some(_) => false,
            None => true,
        };
        let owners = self.owners.present(None).filter(is_listed);
        keys.extend(owners.map(|owner| ObjectKey::Owner(owner.name.clone())));
        keys
    }
}

/// The owner that a pod refers to.
fn owner_name(pod: &Pod) -> Option<WorkloadName> {
    let OwnerReference { kind, name, .. } = pod.owner.as_deref()?;
    Some(WorkloadName::new(&pod.name.namespace, kind, name))
}
