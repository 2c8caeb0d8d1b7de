//! The workloads that are known: those of the cluster, and those that only a graph names.

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use netpol_common::names::WorkloadName;
use rayon::prelude::*;

use super::atlas::{Atlas, Spot};
use super::cluster::Cluster;
use super::model::Selector;
use super::names::policy_names;
use super::selectors::{Selectors, Unselectable};

/// Every workload of the cluster, and those that only the graph names. Each keeps its place.
pub(super) type Known = IndexMap<WorkloadName, Workload, FixedState>;

/// A workload, as an end of edges.
#[derive(Clone, Debug, Default)]
pub(super) struct Workload {
    /// Whether the inventory holds it.
    pub(super) is_in_inventory: bool,
    /// Whether its pods use their nodes' network.
    pub(super) host_network: bool,
    /// What selects it; `None` if it is not in the inventory.
    pub(super) selector: Option<Result<Selector, Unselectable>>,
    /// Where it lies among those that can be selected.
    pub(super) spot: Option<Spot>,
    /// The name of its policy.
    pub(super) policy: Option<String>,
}

/// The workloads of a cluster, with what selects each and what its policy is called.
pub(super) fn known(cluster: &Cluster) -> (Known, Atlas) {
    let selectors = Selectors::new(cluster);
    let names = policy_names(cluster.workloads.keys());
    let known: Vec<(WorkloadName, Workload)> = cluster
        .workloads
        .par_iter()
        .map(|(name, workload)| {
            let known = Workload {
                is_in_inventory: true,
                host_network: workload.host_network,
                selector: Some(selectors.of(name)),
                spot: None,
                policy: names.get(name).cloned(),
            };
            (name.clone(), known)
        })
        .collect();
    let mut known: Known = known.into_iter().collect();
    let mut atlas =
        Atlas::of((known.iter()).filter_map(|(name, known)| Some((name, known.selected()?))));
    for (name, known) in &mut known {
        known.spot = (known.selected()).and_then(|selector| atlas.spot(name, selector));
    }
    (known, atlas)
}

impl Workload {
    /// What selects it, if anything does.
    fn selected(&self) -> Option<&Selector> {
        self.selector.as_ref()?.as_ref().ok()
    }
}
