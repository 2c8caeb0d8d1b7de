//! The model of a policy set: what every emitter renders, and nothing that belongs to one format only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::{Protocol, View};

use super::finding::Finding;
pub use super::selector::{Selector, Texts};
use crate::identity::EdgeId;

/// The kind of a policy's workload that is a whole namespace.
pub const NAMESPACE: &str = "Namespace";

/// What the engine proposes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Proposal {
    /// One policy for each workload that gets one, ordered by namespace and name.
    pub policies: Vec<Policy>,
    /// What a person should know, in canonical order.
    pub findings: Vec<Finding>,
}

/// The policy of one workload, or of a whole namespace. It isolates in both directions, also where it has no rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The workload whose traffic it allows. A namespace that all is denied to but DNS stands as a workload of the
    /// kind [`NAMESPACE`], named like itself.
    pub workload: WorkloadName,
    /// The name of the object, in the workload's namespace.
    pub name: String,
    /// Selects the workload's pods and no others of the namespace. Empty, and so every pod of it, for a namespace
    /// only.
    pub subject: Selector,
    /// What may come in.
    pub ingress: Vec<Rule>,
    /// What may go out.
    pub egress: Vec<Rule>,
    /// Those parts of both that are about nodes and the API server. Formats that have words for these use them instead
    /// of addresses; others leave them out.
    pub entities: Vec<EntityRule>,
    /// What policies that are there already allow of what was learned, in a sentence; only where this policy is to
    /// complete them.
    pub already: BTreeMap<Direction, String>,
    /// How much of the workload's traffic its edges cover, in a sentence, where somebody asked for that.
    pub coverage: Option<String>,
}

/// Every one of some peers on every one of some ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Never empty: an empty list would mean everybody.
    pub peers: Vec<PolicyPeer>,
    /// Never empty: an empty list would mean every port.
    pub ports: Vec<PortSpec>,
    /// The edges that the rule rests on.
    pub evidence: Vec<Support>,
}

/// Traffic with peers that a network plugin may know by what they are, though rules name their current addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntityRule {
    /// The direction.
    pub direction: Direction,
    /// The other ends. Never empty.
    pub entities: BTreeSet<Entity>,
    /// The addresses that rules name for them.
    pub addresses: BTreeSet<IpAddr>,
    /// Never empty.
    pub ports: Vec<PortSpec>,
    /// The edges that the rule rests on.
    pub evidence: Vec<Support>,
}

/// What a network plugin may know an end as.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Entity {
    /// The pod's own node.
    Host,
    /// Every other node.
    RemoteNode,
    /// The endpoints of `default/kubernetes`.
    KubeApiServer,
}

/// One entry of a rule's list of peers.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PolicyPeer {
    /// Pods by namespace and labels.
    Pods {
        /// The namespaces by name; `None` is the policy's own.
        namespaces: Option<Texts>,
        /// The pods.
        pods: Selector,
    },
    /// Every pod of these namespaces, by name. Never empty.
    Namespaces(Texts),
    /// Addresses.
    Block(IpNet),
    /// Addresses less some of them.
    BlockExcept {
        /// The addresses.
        block: IpNet,
        /// Those left out: inside the block, and never empty.
        except: BTreeSet<IpNet>,
    },
}

/// One port, or an unbroken range of ports.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PortSpec {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port, or the first of a range.
    pub port: u16,
    /// The last port of a range, greater than `port`.
    pub end_port: Option<u16>,
}

/// An edge that a rule rests on.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Support {
    /// The edge. For a widening, the one that was allowed although it was not seen.
    pub edge: Arc<EdgeId>,
    /// Why it makes a rule.
    pub basis: Basis,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// Services that were addressed and that back more than this peer, where nothing tells that it was this one.
    pub by_service: BTreeSet<ObjectName>,
    /// What the peer is written as, if it is not itself.
    pub written_as: Option<Arc<WrittenAs>>,
    /// The range of ports that is written instead of the edge's port.
    pub range: Option<(u16, u16)>,
}

/// What a peer is written as instead of itself.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum WrittenAs {
    /// Its whole namespace.
    Namespace,
    /// The named group of blocks that it lies in.
    Group(String),
    /// Blocks that hold other addresses too.
    Blocks,
    /// Everything outside the cluster.
    Outside,
    /// Every node.
    Nodes,
    /// The service that it was addressed by, where policies match that.
    Service(ObjectName),
}

/// Why an edge makes a rule.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Basis {
    /// The interface of the policy's own workload saw it established.
    Established,
    /// The interface of the policy's own workload saw it one-way, as often as `--one-way` asks for.
    OneWay,
    /// Only the interface of the other end saw it.
    OtherView {
        /// Whether that end saw it one-way.
        one_way: bool,
    },
    /// DNS over the other transport protocol, to a resolver that was seen in use.
    DnsPair,
    /// DNS to a resolver of the cluster, whether or not it was seen in use.
    DnsAlways,
}

/// A direction of traffic, as a policy sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    /// Towards the workload.
    Ingress,
    /// From the workload.
    Egress,
}

impl Policy {
    /// Whether it is a namespace's own, which selects every pod of it.
    #[must_use]
    pub fn is_of_namespace(&self) -> bool {
        self.workload.kind == NAMESPACE && self.subject.is_empty()
    }

    /// Forgets the edges that it rests on, and leaves no room to spare: for those who keep very many policies.
    pub(super) fn forget_evidence(&mut self) {
        for rules in [&mut self.ingress, &mut self.egress] {
            rules.shrink_to_fit();
            for rule in rules {
                rule.evidence = Vec::new();
                rule.peers.shrink_to_fit();
                rule.ports.shrink_to_fit();
            }
        }
        for rule in &mut self.entities {
            rule.evidence = Vec::new();
        }
    }

    /// The rules of one direction.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl PortSpec {
    /// The last port that it allows.
    #[must_use]
    pub fn last(self) -> u16 {
        self.end_port.unwrap_or(self.port)
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the pod's own node",
            Self::RemoteNode => "other nodes",
            Self::KubeApiServer => "kube-apiserver",
        })
    }
}

impl Direction {
    /// Both, in the order in which policies state them.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The one that is not this one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }

    /// The view that rules of this direction rest on: the one of the policy's own workload.
    #[must_use]
    pub fn own_view(self) -> View {
        match self {
            Self::Ingress => View::Server,
            Self::Egress => View::Client,
        }
    }

    /// The word used in sentences.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.port)?;
        self.end_port.map_or(Ok(()), |last| write!(f, "-{last}"))
    }
}
