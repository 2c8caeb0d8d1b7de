//! What NetworkPolicies allow: `networking.k8s.io/v1`, judged.
//!
//! This is the judge of what the synthesiser writes, so it shares no code with it and reads only Kubernetes objects.
//! There are two forms: [`Evaluator`] reads like the specification and looks at one connection at a time;
//! [`Compiled`] answers from tables, for many questions about one cluster. Both give the same verdicts.
//!
//! Policies are to be [validated](super::validate) first: what the API server would reject matches nothing here.

mod compiled;
mod matching;
mod plain;
mod port_set;
mod world;

use std::net::IpAddr;

use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;

use crate::identity::objects::Labels;

pub use compiled::{Block, Compiled, Place};
pub use matching::selector as selects;
pub use plain::Evaluator;
pub use port_set::{PortRange, PortSet};
pub use world::{Member, PodId, World};

/// A pod, as far as policies look at it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// Its labels.
    pub labels: Labels,
    /// The node it runs on, once it is on one.
    pub node: Option<String>,
    /// Whether it uses its node's network.
    pub host_network: bool,
    /// Its named container ports: name, protocol and number.
    pub named_ports: Vec<(String, Protocol, u16)>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End<'a> {
    /// A pod.
    Pod(&'a Pod),
    /// A node's own processes.
    Node(&'a str),
    /// Anybody else.
    Outside,
}

/// A connection behind DNAT: the server's own address and port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connection<'a> {
    /// Who opens it.
    pub client: End<'a>,
    /// The client's address; the unspecified one where it is not known.
    pub client_address: IpAddr,
    /// To whom.
    pub server: End<'a>,
    /// The server's address; the unspecified one where it is not known.
    pub server_address: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The server's port.
    pub port: u16,
}

/// How to read what the specification leaves to the network plugin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Whether pods on their node's network are treated as their node: no policy selects them and no selector of a
    /// peer matches them.
    pub host_network_is_node: bool,
    /// Whether `ipBlock` matches pods by their addresses.
    pub blocks_match_pods: bool,
    /// Whether a pod also reaches its own node whatever policies say, as the concept page of Kubernetes has it. The
    /// reference of the API exempts only what comes from the node.
    pub own_node_both_ways: bool,
}

/// What the policies say of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// At the client.
    pub egress: Side,
    /// At the server.
    pub ingress: Side,
}

/// What the policies say at one end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Side {
    /// Whether the connection may pass.
    pub allowed: bool,
    /// Whether any policy isolates the pod in this direction.
    pub isolated: bool,
    /// The rules that allow it.
    pub by: Vec<RuleId>,
}

/// A rule of a policy, numbered from 0 within its direction.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RuleId {
    /// The policy.
    pub policy: ObjectName,
    /// The number of the rule.
    pub rule: usize,
}

/// A direction, seen from the pod that policies select.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Way {
    /// Towards the pod: at the server.
    Ingress,
    /// From the pod: at the client.
    Egress,
}

impl Way {
    /// Both, as policies state them.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Its place in [`Way::ALL`].
    fn number(self) -> usize {
        match self {
            Self::Ingress => 0,
            Self::Egress => 1,
        }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            host_network_is_node: true,
            blocks_match_pods: true,
            own_node_both_ways: false,
        }
    }
}

impl Verdict {
    /// Whether the connection is allowed at both ends.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.egress.allowed && self.ingress.allowed
    }
}

#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod tests;
