//! What the API server of a lab would hold: objects as `kubectl get … -o yaml` prints them, kept up to date in a file
//! while pods start and stop.

pub(crate) mod pod;
pub mod service;
pub mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use self::pod::Pod;
use self::service::Service;
use self::workload::Workload;
use super::state;
use super::topology::Node;

/// The cluster of a lab.
#[derive(Debug)]
pub(crate) struct Cluster {
    tag: String,
    inventory: PathBuf,
    created: Timestamp,
    namespaces: &'static [&'static str],
    services: &'static [Service],
    workloads: Vec<(Workload, u32)>,
    runs: BTreeMap<(usize, u32), Timestamp>,
    pods: BTreeMap<u32, Pod>,
}

impl Cluster {
    /// A cluster without pods, written to `inventory`.
    pub(crate) fn new(
        tag: &str,
        inventory: PathBuf,
        namespaces: &'static [&'static str],
        services: &'static [Service],
        workloads: &[Workload],
    ) -> Result<Self> {
        let cluster = Self {
            tag: tag.to_owned(),
            inventory,
            created: Timestamp::now(),
            namespaces,
            services,
            workloads: workloads.iter().map(|workload| (*workload, 0)).collect(),
            runs: BTreeMap::new(),
            pods: BTreeMap::new(),
        };
        cluster.publish()?;
        Ok(cluster)
    }

    /// Its services.
    pub(crate) fn services(&self) -> &'static [Service] {
        self.services
    }

    /// Every pod in the API.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The pod with that number.
    pub(crate) fn pod(&self, number: u32) -> Option<&Pod> {
        self.pods.get(&number)
    }

    /// Adds a pod, and the object of its run where there is one.
    pub(crate) fn add(&mut self, number: u32, pod: Pod) -> Result<()> {
        let now = Timestamp::now();
        if let Some(index) = self.index(&pod.workload) {
            self.runs.entry((index, pod.run)).or_insert(now);
            self.workloads[index].1 += 1;
        }
        self.pods.insert(number, pod);
        self.publish()
    }

    /// Changes a pod.
    pub(crate) fn change(&mut self, number: u32, change: impl FnOnce(&mut Pod)) -> Result<()> {
        if let Some(pod) = self.pods.get_mut(&number) {
            change(pod);
        }
        self.publish()
    }

    /// Removes a pod; its workload has one replica less.
    pub(crate) fn remove(&mut self, number: u32) -> Result<()> {
        if let Some(pod) = self.pods.remove(&number)
            && let Some(index) = self.index(&pod.workload)
        {
            self.workloads[index].1 = self.workloads[index].1.saturating_sub(1);
        }
        self.publish()
    }

    fn index(&self, workload: &Workload) -> Option<usize> {
        self.workloads.iter().position(|(other, _)| {
            (other.namespace, other.name) == (workload.namespace, workload.name)
        })
    }

    fn publish(&self) -> Result<()> {
        let list = json!({
            "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
            "items": self.objects(),
        });
        let text = serde_saphyr::to_string(&list).context("write the inventory as YAML")?;
        state::replace(&self.inventory, &text)
    }

    fn objects(&self) -> Vec<Value> {
        let (created, tag) = (self.created, self.tag.as_str());
        let mut objects: Vec<Value> = self
            .namespaces
            .iter()
            .map(|name| namespace_object(name, created, tag))
            .collect();
        objects.extend(Node::ALL.map(|node| node_object(node, created, tag)));
        for (workload, replicas) in &self.workloads {
            objects.extend(workload.objects(*replicas, created, tag));
        }
        objects.extend(self.runs.iter().filter_map(|((index, run), created)| {
            self.workloads[*index].0.run_object(*run, *created, tag)
        }));
        objects.extend(self.pods.values().map(Pod::object));
        let pods: Vec<&Pod> = self.pods.values().collect();
        for service in self.services {
            objects.push(service.object(created, tag));
            objects.extend(service.slices(&pods, created, tag));
        }
        objects
    }
}

fn namespace_object(name: &str, created: Timestamp, tag: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": uid(tag, &format!("Namespace/{name}")),
            "creationTimestamp": time(created), "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    })
}

fn node_object(node: Node, created: Timestamp, tag: &str) -> Value {
    let [v4, v6] = node.addresses();
    let cidrs = node.pod_cidrs();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": node.name(), "uid": uid(tag, &format!("Node/{}", node.name())),
            "creationTimestamp": time(created), "labels": {"kubernetes.io/hostname": node.name()},
        },
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
        "status": {"addresses": [
            {"type": "InternalIP", "address": v4}, {"type": "InternalIP", "address": v6},
            {"type": "Hostname", "address": node.name()},
        ]},
    })
}

fn metadata(kind: &str, namespace: &str, name: &str, created: Timestamp, tag: &str) -> Value {
    json!({
        "name": name, "namespace": namespace,
        "uid": uid(tag, &format!("{kind}/{namespace}/{name}")),
        "creationTimestamp": time(created), "resourceVersion": "1",
    })
}

/// A time as the API server writes it: whole seconds.
fn time(time: Timestamp) -> Value {
    let whole = time.to_zoned(TimeZone::UTC).timestamp().as_second();
    Timestamp::from_second(whole).map_or(Value::Null, |whole| whole.to_string().into())
}

/// A UID in the form of RFC 9562 that is always the same for the same object of the same lab.
fn uid(tag: &str, identity: &str) -> String {
    let high = hash(&format!("{tag}/{identity}"));
    let low = hash(&format!("{identity}/{tag}"));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// The random-looking end of a generated name, from the alphabet that Kubernetes uses for it.
fn suffix(seed: &str, length: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut state = hash(seed);
    (0..length)
        .map(|_| {
            let letter = ALPHABET[usize::try_from(state % 27).unwrap_or_default()];
            state = state / 27 + hash(&format!("{seed}{state}")) / 27;
            char::from(letter)
        })
        .collect()
}

/// FNV-1a: the same on every machine and in every build.
fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}
