//! Workloads as policies see them: selectors, template labels, and where their pods run.

use std::collections::BTreeSet;

use netpol_common::names::WorkloadName;

use super::objects::Labels;

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
    /// How many pods it has at present, finished ones not counted.
    pub running: usize,
}
