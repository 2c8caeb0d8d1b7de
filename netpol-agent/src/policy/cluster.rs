//! What the engine needs to know of a cluster: labels, addresses and resolvers, and nothing that has a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;

use crate::identity::objects::Labels;

/// A cluster as the policy engine sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cluster {
    /// Every workload, also those without pods now.
    pub workloads: BTreeMap<WorkloadName, Workload>,
    /// The current addresses of every node.
    pub nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The current addresses of the endpoints of `default/kubernetes`.
    pub api_server: BTreeSet<IpAddr>,
    /// Workloads and target ports behind a service port that is named as DNS's.
    pub resolvers: BTreeSet<(WorkloadName, u16)>,
}

/// A workload's labels, as they matter for selecting it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Workload {
    /// The owner's own selector; empty if it has none.
    pub selector: Labels,
    /// The labels of each template and of each pod that is not finished, without repetition.
    pub label_sets: BTreeSet<Labels>,
    /// Whether its pods use their nodes' network: no policy applies to them, and no selector matches them.
    pub host_network: bool,
    /// The nodes that its present pods run on: as a peer, a workload on its nodes' network stands as their addresses.
    pub nodes: BTreeSet<String>,
}
