//! The engine's options as people write them into a `spec` or a namespace's annotation: each may be left out.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{block_groups, block_list, limits};
use crate::policy::options::{Dns, External, Nodes, OneWay, Options, Peers, Ranges};

/// How a policy is written. What is left out is as it is one level up: workload, namespace, cluster.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OptionsSpec {
    /// DNS that is allowed beyond what was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// When UDP that was never replied to makes a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_way: Option<OneWay>,
    /// How many external addresses one port may have before a person is asked to widen them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub external_addresses: Option<u32>,
    /// How external addresses are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// With external aggregate, or nodes blocks: how many blocks there may be for each port and address family.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub blocks: Option<u32>,
    /// How many addresses those blocks may hold beyond those seen; of IPv6, networks of 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_296_i64))]
    pub beyond: Option<u64>,
    /// Blocks of addresses by name: an external address inside is written as all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "block_groups")]
    pub cidr_groups: Option<BTreeMap<String, Vec<String>>>,
    /// Ranges of the cluster's pods, services and nodes that the API server does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "block_list")]
    pub cluster_ranges: Option<Vec<String>>,
    /// How ports of a server that change from connection to connection are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// How workloads are written as peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Peers>,
    /// How nodes are written as peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<WrittenNodes>,
    /// The blocks that stand for nodes, with nodes given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "block_list")]
    pub node_blocks: Option<Vec<String>>,
    /// Which network plugin enforces the policy, as in cilium or cilium=1.15.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::ID))]
    pub cni: Option<String>,
}

/// How nodes are written as peers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenNodes {
    /// As their own addresses.
    Addresses,
    /// As the fewest blocks that hold the addresses of all nodes.
    Blocks,
    /// As the blocks in nodeBlocks.
    Given,
}

/// An option that means nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidOption {
    /// A text that is no block of addresses.
    #[error(
        "{field}: {text:?} is no block of addresses: write ADDRESS/LENGTH, as in 203.0.113.0/24"
    )]
    Block {
        /// The field.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// Nodes are to be written as blocks that are not given.
    #[error("nodes is given, but nodeBlocks is empty: name the blocks, or choose addresses")]
    NoBlocks,
    /// No network plugin.
    #[error("cni: {0}")]
    Cni(#[from] crate::policy::options::InvalidCni),
}

impl OptionsSpec {
    /// `base` with all that is given here in its place.
    ///
    /// # Errors
    ///
    /// An option that means nothing; none of them counts then.
    pub fn over(&self, base: &Options) -> Result<Options, InvalidOption> {
        let mut all = base.clone();
        put(&mut all.dns, self.dns);
        put(&mut all.one_way, self.one_way);
        put(&mut all.external, self.external);
        put(&mut all.ranges, self.ranges);
        put(&mut all.peers, self.peers);
        put(
            &mut all.external_addresses,
            self.external_addresses.map(size),
        );
        put(&mut all.budget.blocks, self.blocks.map(size));
        put(&mut all.budget.beyond, self.beyond);
        if let Some(groups) = &self.cidr_groups {
            let of = |(name, texts): (&String, &Vec<String>)| {
                Ok((name.clone(), blocks("cidrGroups", texts)?))
            };
            all.cidr_groups = groups
                .iter()
                .map(of)
                .collect::<Result<_, InvalidOption>>()?;
        }
        if let Some(ranges) = &self.cluster_ranges {
            all.cluster_ranges = blocks("clusterRanges", ranges)?;
        }
        if let Some(nodes) = self.nodes {
            all.nodes = self.nodes(nodes)?;
        }
        if let Some(cni) = &self.cni {
            all.cni = cni.parse()?;
        }
        Ok(all)
    }

    fn nodes(&self, written: WrittenNodes) -> Result<Nodes, InvalidOption> {
        Ok(match written {
            WrittenNodes::Addresses => Nodes::Addresses,
            WrittenNodes::Blocks => Nodes::Blocks,
            WrittenNodes::Given => {
                let given = blocks(
                    "nodeBlocks",
                    self.node_blocks.as_deref().unwrap_or_default(),
                )?;
                if given.is_empty() {
                    return Err(InvalidOption::NoBlocks);
                }
                Nodes::Given(given)
            }
        })
    }
}

fn put<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn blocks(field: &'static str, texts: &[String]) -> Result<BTreeSet<IpNet>, InvalidOption> {
    let block = |text: &String| {
        let block: Option<IpNet> = text.parse().ok();
        let exact = block.filter(|block| *block == block.trunc());
        exact.ok_or_else(|| InvalidOption::Block {
            field,
            text: text.clone(),
        })
    };
    texts.iter().map(block).collect()
}
