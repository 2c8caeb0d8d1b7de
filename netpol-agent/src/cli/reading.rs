//! How to read what Kubernetes leaves to the network plugin: flags that every command takes which gives verdicts.

use clap::{Args, ValueEnum};

use crate::policy::evaluate::Reading;

/// The flags.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct ReadingFlags {
    /// What pods on their node's network are to policies
    #[arg(
        long,
        env = "NETPOL_HOST_NETWORK",
        value_enum,
        default_value = "node",
        value_name = "WHAT"
    )]
    host_network: HostNetwork,
    /// Whether ipBlock matches pods by their addresses
    #[arg(
        long,
        env = "NETPOL_IP_BLOCK",
        value_enum,
        default_value = "pods",
        value_name = "WHICH"
    )]
    ip_block: IpBlock,
    /// Between a pod and its own node, what policies cannot deny
    #[arg(
        long,
        env = "NETPOL_OWN_NODE",
        value_enum,
        default_value = "ingress",
        value_name = "WAY"
    )]
    own_node: OwnNode,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum HostNetwork {
    /// Their node: no policy applies to them, and no selector matches them
    Node,
    /// Pods like any other
    Pod,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum IpBlock {
    /// It matches pods, too
    Pods,
    /// It matches addresses outside the cluster, and nodes, only
    NoPods,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum OwnNode {
    /// What comes from the node, as the reference of the API says
    Ingress,
    /// What goes there, too, as Kubernetes' page on the concept says
    Both,
}

impl ReadingFlags {
    /// The reading that they ask for.
    #[must_use]
    pub(super) fn reading(self) -> Reading {
        Reading {
            host_network_is_node: self.host_network == HostNetwork::Node,
            blocks_match_pods: self.ip_block == IpBlock::Pods,
            own_node_both_ways: self.own_node == OwnNode::Both,
        }
    }
}
