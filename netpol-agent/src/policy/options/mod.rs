//! What a person may choose about the synthesis.
//!
//! Everything here can be set per namespace and per workload ([`OptionsFor`]), and be written as a part of a custom
//! resource (serde, camel case). What widens is off unless DESIGN.md gives a default, and is listed as a finding.

mod cni;
mod edge;

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use ipnet::IpNet;
use netpol_common::names::WorkloadName;
use serde::{Deserialize, Serialize};

use crate::identity::EdgeId;

pub use cni::{Cni, InvalidCni, Plugin, Version};
pub use edge::{InvalidEdge, RejectedEdge};

/// Options of the synthesis.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Options {
    /// What DNS traffic is allowed beyond what was seen.
    pub dns: Dns,
    /// When UDP that was never replied to makes a rule.
    pub one_way: OneWay,
    /// How many external addresses one (workload, direction, protocol, port) may have before a person is asked to
    /// widen them to ranges.
    pub external_addresses: usize,
    /// How external addresses are written.
    pub external: External,
    /// How far blocks of addresses may be wider than the addresses seen.
    pub budget: Budget,
    /// Blocks of addresses by the name that people give them: an external address inside is written as all of them.
    pub cidr_groups: BTreeMap<String, BTreeSet<IpNet>>,
    /// Ranges of the cluster's pods, services and nodes, besides those that the inventory tells.
    pub cluster_ranges: BTreeSet<IpNet>,
    /// How ports of a server that change from connection to connection are written.
    pub ranges: Ranges,
    /// How workloads are written as peers.
    pub peers: Peers,
    /// How nodes are written as peers.
    pub nodes: Nodes,
    /// Whether a namespace in which a workload has a policy gets one that denies all else, but for DNS.
    pub default_deny: bool,
    /// Learned edges that a person does not want.
    pub reject: BTreeSet<RejectedEdge>,
    /// Which network plugin is to enforce the policies.
    pub cni: Cni,
}

/// Which options apply to whom: those of a cluster, some of which a namespace or a workload replaces as a whole.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OptionsFor {
    /// Where nothing else is said.
    pub cluster: Options,
    /// By namespace.
    pub namespaces: BTreeMap<String, Options>,
    /// By workload.
    pub workloads: BTreeMap<WorkloadName, Options>,
}

/// What DNS traffic is allowed beyond what was seen. The client's word counts at both ends.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    PartialEq,
    Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Dns {
    /// Nothing.
    Seen,
    /// TCP to every resolver that was seen in use over UDP, on the same port.
    #[default]
    Pair,
    /// Besides, UDP and TCP to every resolver of the cluster, for every workload that has a policy.
    Always,
}

/// When UDP that was never replied to makes a rule. What was refused never does.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    PartialEq,
    Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OneWay {
    /// Whenever it was seen.
    Always,
    /// When it was seen in two separate minutes.
    #[default]
    Repeated,
    /// Not at all.
    Never,
}

/// How external addresses are written.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    PartialEq,
    Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum External {
    /// One by one, joined where the addresses fill a block.
    #[default]
    Seen,
    /// As few blocks that hold them, within a budget.
    Aggregate,
    /// As everything outside the cluster.
    Any,
}

/// How far blocks of addresses may be wider than the addresses seen, for each protocol, port and address family.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Budget {
    /// How many blocks there may be.
    pub blocks: usize,
    /// How many addresses they may hold beyond those seen; of IPv6, how many networks of 64 bits.
    pub beyond: u64,
}

/// How ports of a server that change from connection to connection are written.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    PartialEq,
    Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Ranges {
    /// One by one, joined where they follow each other.
    #[default]
    Seen,
    /// As the range from which they seem to be taken.
    Infer,
}

/// How workloads are written as peers.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    PartialEq,
    Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// By labels that no other workload has.
    #[default]
    Workload,
    /// As their whole namespace.
    Namespace,
}

/// How nodes are written as peers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nodes {
    /// As their own addresses.
    #[default]
    Addresses,
    /// As the fewest blocks, within the budget, that hold the addresses of all nodes.
    Blocks,
    /// As these blocks.
    Given(BTreeSet<IpNet>),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dns: Dns::default(),
            one_way: OneWay::default(),
            external_addresses: 64,
            external: External::default(),
            budget: Budget::default(),
            cidr_groups: BTreeMap::new(),
            cluster_ranges: BTreeSet::new(),
            ranges: Ranges::default(),
            peers: Peers::default(),
            nodes: Nodes::default(),
            default_deny: false,
            reject: BTreeSet::new(),
            cni: Cni::default(),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            blocks: 16,
            beyond: 65_536,
        }
    }
}

impl From<Options> for OptionsFor {
    fn from(cluster: Options) -> Self {
        Self {
            cluster,
            ..Self::default()
        }
    }
}

impl Options {
    /// Whether they reject an edge, for the workload whose options they are: each end decides on its own policy.
    #[must_use]
    pub fn rejects(&self, edge: &EdgeId) -> bool {
        !self.reject.is_empty() && self.reject.contains(&RejectedEdge(edge.clone()))
    }
}

impl OptionsFor {
    /// The options of a workload's policy.
    #[must_use]
    pub fn workload(&self, name: &WorkloadName) -> &Options {
        let own = self.workloads.get(name);
        own.unwrap_or_else(|| self.namespace(&name.namespace))
    }

    /// The options of what concerns a whole namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> &Options {
        self.namespaces.get(name).unwrap_or(&self.cluster)
    }

    /// All that were set.
    pub fn all(&self) -> impl Iterator<Item = &Options> {
        let some = self.namespaces.values().chain(self.workloads.values());
        iter::once(&self.cluster).chain(some)
    }

    /// Whether something is asked for anywhere.
    #[must_use]
    pub fn any(&self, asked: impl Fn(&Options) -> bool) -> bool {
        self.all().any(asked)
    }

    /// Whether ranges of ports are to be inferred anywhere.
    #[must_use]
    pub fn infers_ranges(&self) -> bool {
        self.any(|options| options.ranges == Ranges::Infer)
    }
}

#[cfg(test)]
mod tests;
