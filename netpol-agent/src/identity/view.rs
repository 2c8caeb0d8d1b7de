//! Workloads as policies see them: selectors, template labels, and where their pods run.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;

use super::claims::Record;
use super::index::Index;
use super::objects::{Labels, NamedPort, Owner, Pod};

/// Where the labels of a [`WorkloadView`] come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LabelSource {
    /// The owner's pod template.
    Template,
    /// What all known pods of the workload have in common: its owner has no template that is read.
    Pods,
}

/// A workload, with what is needed to select it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkloadView {
    /// Namespace, kind and name.
    pub name: WorkloadName,
    /// `spec.selector.matchLabels` of the owner; empty where it has none of its own.
    pub selector: Labels,
    /// Labels that every pod of the workload bears.
    pub template_labels: Labels,
    /// Where `template_labels` come from.
    pub labels_from: LabelSource,
    /// Whether its pods use their nodes' network, so that no policy selects them.
    pub host_network: bool,
    /// The nodes that its present pods run on.
    pub nodes: BTreeSet<String>,
    /// The named container ports of its template; empty where it has none that is read.
    pub named_ports: Vec<NamedPort>,
    /// How many pods it has at present, finished ones not counted.
    pub running: usize,
}

/// What is known of a workload: its owners, and all its pods that are remembered.
#[derive(Default)]
struct Parts<'a> {
    owners: Vec<&'a Owner>,
    records: Vec<&'a Record>,
}

impl Index {
    /// A workload that is there now, also one that has no pods at present.
    #[must_use]
    pub fn workload(&self, name: &WorkloadName) -> Option<WorkloadView> {
        let parts = self.parts(Some(&name.namespace)).remove(name)?;
        parts.is_present().then(|| parts.view(name.clone()))
    }

    /// Every workload that is there now, in the order of their names: those with pods, CronJobs between runs, and
    /// workloads at zero.
    #[must_use]
    pub fn workloads(&self) -> Vec<WorkloadView> {
        let parts = self.parts(None).into_iter();
        let present = parts.filter(|(_, parts)| parts.is_present());
        present.map(|(name, parts)| parts.view(name)).collect()
    }

    /// Whether a pod of a workload may be sent traffic: an endpoint slice says so, or, where none names a pod of it, one
    /// is running.
    #[must_use]
    pub fn has_ready_endpoints(&self, name: &WorkloadName) -> bool {
        let slices = self.services.present_slices();
        let slices = slices.filter(|slice| slice.name.namespace == name.namespace);
        let named = slices
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| {
                let pod = endpoint.pod.as_ref().and_then(|pod| self.pod(pod));
                pod.is_some_and(|pod| self.workload_of(pod) == *name)
            });
        let usable: Vec<bool> = named.map(|endpoint| endpoint.usable).collect();
        match usable.is_empty() {
            true => self.workload(name).is_some_and(|view| view.running > 0),
            false => usable.contains(&true),
        }
    }

    /// A workload that is there, or was.
    pub(super) fn known_workload(&self, name: &WorkloadName) -> Option<WorkloadView> {
        let parts = self.parts(Some(&name.namespace)).remove(name)?;
        Some(parts.view(name.clone()))
    }

    fn parts<'a>(&'a self, namespace: Option<&'a str>) -> BTreeMap<WorkloadName, Parts<'a>> {
        let mut all: BTreeMap<WorkloadName, Parts<'_>> = BTreeMap::new();
        for owner in self.owners.present(namespace) {
            let name = self.owners.workload_of_owner(owner);
            all.entry(name).or_default().owners.push(owner);
        }
        for record in self.pods.in_namespace(namespace) {
            let name = self.owners.workload_of(record.pod());
            all.entry(name).or_default().records.push(record);
        }
        all
    }
}

impl Parts<'_> {
    fn is_present(&self) -> bool {
        !self.owners.is_empty() || self.present().next().is_some()
    }

    fn present(&self) -> impl Iterator<Item = &Pod> {
        let records = self.records.iter().filter(|record| record.gone().is_none());
        records.map(|record| record.pod())
    }

    fn view(&self, name: WorkloadName) -> WorkloadView {
        let own = self.owners.iter().find(|owner| owner.name == name);
        let (labels_from, template_labels) = self.labels(&name);
        let running = || self.present().filter(|pod| !pod.terminal);
        WorkloadView {
            selector: own.map_or_else(Labels::new, |owner| owner.selector.clone()),
            template_labels,
            labels_from,
            host_network: self.host_network(),
            named_ports: self.named_ports(&name),
            nodes: running().filter_map(|pod| pod.node.clone()).collect(),
            running: running().count(),
            name,
        }
    }

    /// The labels of the template of that name; of a group of runs, those that all their templates share; else those
    /// that all its pods share.
    fn labels(&self, name: &WorkloadName) -> (LabelSource, Labels) {
        let template = |owner: &&&Owner| !owner.template_labels.is_empty();
        let own = self.owners.iter().filter(|owner| owner.name == *name);
        if let Some(owner) = own.clone().find(template) {
            return (LabelSource::Template, owner.template_labels.clone());
        }
        let runs = self
            .owners
            .iter()
            .filter(|owner| owner.name.kind == name.kind);
        let templates = runs.filter(template);
        let shared = common(templates.map(|owner| {
            stable(
                &owner.template_labels,
                name,
                &[&owner.name.name, &owner.uid],
            )
        }));
        if let Some(labels) = shared {
            return (LabelSource::Template, labels);
        }
        let pods = self.records.iter().map(|record| record.pod());
        let labels = common(pods.map(|pod| stable_of_pod(pod, name)));
        (LabelSource::Pods, labels.unwrap_or_default())
    }

    /// The named ports of the template of that name; of a group of runs, those of its latest template.
    fn named_ports(&self, name: &WorkloadName) -> Vec<NamedPort> {
        let own = self.owners.iter().find(|owner| owner.name == *name);
        let runs = self.owners.iter().rev();
        let mut runs = runs.filter(|owner| owner.name.kind == name.kind);
        let owner = own.or_else(|| runs.next());
        owner.map_or_else(Vec::new, |owner| owner.named_ports.clone())
    }

    fn host_network(&self) -> bool {
        let mut pods = self.records.iter().map(|record| record.pod().host_network);
        let any = self.owners.iter().any(|owner| owner.host_network);
        any || (!self.records.is_empty() && pods.all(|host| host))
    }
}

/// The labels of a pod less those that name its run, its owner of this run, or itself.
fn stable_of_pod(pod: &Pod, workload: &WorkloadName) -> Labels {
    let mut own = vec![pod.name.name.as_str(), pod.uid.as_str()];
    if let Some(owner) = &pod.owner {
        own.extend([owner.name.as_str(), owner.uid.as_str()]);
    }
    stable(&pod.labels, workload, &own)
}

fn stable(labels: &Labels, workload: &WorkloadName, of_run: &[&str]) -> Labels {
    let passing =
        |value: &str| value != workload.name && of_run.contains(&value) && !value.is_empty();
    let kept = labels.iter().filter(|(_, value)| !passing(value));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What all of them have in common; `None` if there are none.
fn common(all: impl Iterator<Item = Labels>) -> Option<Labels> {
    all.reduce(|mut shared, labels| {
        shared.retain(|key, value| labels.get(key) == Some(value));
        shared
    })
}
