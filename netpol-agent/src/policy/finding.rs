//! What a person should know about a proposal: gaps in what was seen, and what a policy allows beyond it.

use std::collections::BTreeSet;
use std::fmt;

use netpol_common::names::WorkloadName;

use super::model::{Direction, Entity, PortSpec};
use super::options::Cni;
use super::outside::Gap;
use super::rules::Excess;
use super::text::{self, list};
use super::widening::Widening;
use crate::identity::EdgeId;

/// One finding. The order of the variants is the order in which they are listed: the gravest first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Finding {
    /// No selector matches this workload and no other of its namespace.
    Unselectable {
        /// The workload.
        workload: WorkloadName,
        /// The workloads that every selector for it matches too.
        clashes: BTreeSet<WorkloadName>,
        /// A label that would tell it apart, for its pod template.
        add: (String, String),
    },
    /// A learned edge cannot be written as a rule. Its workload gets no policy, since one would deny that edge.
    Withheld {
        /// The workload without a policy.
        workload: WorkloadName,
        /// The direction of the edge.
        direction: Direction,
        /// The edge.
        edge: EdgeId,
        /// Why it cannot be written.
        reason: Inexpressible,
    },
    /// More external addresses than a person wants to read. The rule holds every address that the graph knows.
    NeedsWidening {
        /// The workload.
        workload: WorkloadName,
        /// The direction of the edges.
        direction: Direction,
        /// The port.
        port: PortSpec,
        /// How many addresses.
        addresses: usize,
    },
    /// Everything outside the cluster was to be allowed, but it is not known what that is: the addresses that were
    /// seen stay.
    OutsideUnknown {
        /// The workload.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
        /// What is not known.
        gap: Gap,
    },
    /// A part of a policy that its network plugin does not enforce as it is written.
    Unenforceable {
        /// The workload.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
        /// The network plugin.
        plugin: Cni,
        /// What it is.
        what: Unenforced,
    },
    /// A namespace that gets no policy denying all else, though it was asked for.
    DefaultDenyLeftOut {
        /// The namespace.
        namespace: String,
        /// The workload that would lose what it needs.
        workload: WorkloadName,
    },
    /// A workload without a policy of its own, in a namespace that denies all else.
    CutOff {
        /// The workload.
        workload: WorkloadName,
    },
    /// A rejected edge that was learned: no rule.
    Rejected {
        /// The edge.
        edge: EdgeId,
    },
    /// A rejected edge that other rules of a policy allow all the same.
    RejectedStillAllowed {
        /// The workload whose policy allows it.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
        /// The edge.
        edge: EdgeId,
    },
    /// A rejected edge that was not learned.
    RejectMatchesNothing {
        /// The edge.
        edge: EdgeId,
    },
    /// Traffic of which an end could not be told, so that both ends are incomplete.
    Unresolved {
        /// The ends as they were seen, and why they could not be told.
        what: String,
    },
    /// Records of traffic of which an end could not be told, and which were too many to be kept one by one.
    UnresolvedBeyondBound {
        /// How many records.
        records: u64,
    },
    /// An edge whose outcome could not be seen: no rule.
    UnknownOutcome {
        /// The edge.
        edge: EdgeId,
    },
    /// The two ends of an edge contradict each other: the workload's own view denies what the other end's view
    /// says. The edge is allowed.
    ViewsDisagree {
        /// The direction that rests on the other end's view.
        direction: Direction,
        /// The edge.
        edge: EdgeId,
    },
    /// Only the other end saw the edge, although this end's own interface was watched: no rule at this end.
    OtherEndOnly {
        /// The direction at the end that did not see it.
        direction: Direction,
        /// The edge.
        edge: EdgeId,
    },
    /// The other end is a node that is gone: no rule.
    NodeGone {
        /// The edge.
        edge: EdgeId,
    },
    /// UDP without replies, not often enough to make a rule.
    OneWayLeftOut {
        /// The edge.
        edge: EdgeId,
    },
    /// A policy allows more than was seen.
    Widening {
        /// The workload.
        workload: WorkloadName,
        /// The direction that is wider.
        direction: Direction,
        /// What it lets in.
        what: Widening,
    },
    /// The search for the fewest rules was cut off.
    NotLeast {
        /// The workload.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
        /// How many more there are than are needed, at most.
        excess: Excess,
    },
    /// The client is a node that stands for a client unseen.
    RealClientUnseen {
        /// The edge.
        edge: EdgeId,
    },
    /// The client addressed a port of a node, and its rule names what stands behind it.
    NodePort {
        /// The edge.
        edge: EdgeId,
    },
    /// Rules of this direction rest on the other ends' views alone.
    OtherView {
        /// The workload.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
        /// How many edges.
        edges: usize,
    },
    /// A workload has a policy, but nothing was seen in this direction: its policy denies all of it.
    NoTraffic {
        /// The workload.
        workload: WorkloadName,
        /// The direction.
        direction: Direction,
    },
    /// A workload without a learned edge gets no policy.
    NoPolicy {
        /// The workload.
        workload: WorkloadName,
    },
    /// A workload on its nodes' network gets no policy.
    HostNetwork {
        /// The workload.
        workload: WorkloadName,
    },
    /// Probes from the workload's own nodes, which no policy can deny, make no rule.
    OwnNode {
        /// The workload.
        workload: WorkloadName,
        /// How many edges.
        edges: usize,
    },
    /// Attempts that were refused or not answered make no rule.
    NotEstablished {
        /// How many edges.
        edges: usize,
    },
    /// Attempts that were refused or not answered, and of which an end could not be told.
    UnresolvedAttempts {
        /// How many flows.
        flows: usize,
    },
    /// DNS was asked for, but the inventory names no resolver of the cluster.
    NoResolver,
}

/// What a network plugin does not enforce as it is written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unenforced {
    /// A range of ports: all but the first, and too long to be written port by port.
    PortRange(PortSpec),
    /// So many entries of ports for one peer.
    PortEntries(usize),
    /// Nodes or the API server, which blocks of addresses do not match, on these ports.
    Entities(BTreeSet<Entity>, Vec<PortSpec>),
}

/// Why an edge cannot be written as a rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Inexpressible {
    /// No selector matches the peer alone.
    Unselectable,
    /// The peer is not in the inventory.
    NotInInventory,
    /// The inventory names no address of the peer.
    NoAddress,
    /// Port 0 cannot be written.
    PortZero,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        match self {
            Self::Unselectable {
                workload,
                clashes,
                add,
            } => unselectable(f, workload, clashes, add),
            Self::Withheld {
                workload,
                direction,
                edge,
                reason,
            } => write!(
                f,
                "{workload} gets no policy, since one would deny its {direction} {}: {reason}",
                text::edge(edge)
            ),
            Self::NeedsWidening {
                workload,
                direction,
                port,
                addresses,
            } => write!(
                f,
                "{workload}: {direction} on {port} has {addresses} external addresses; those are allowed, but \
                 more are to be expected"
            ),
            Self::Widening {
                workload,
                direction,
                what,
            } => {
                write!(f, "{workload}: {direction} {what}")
            }
            Self::NotLeast {
                workload,
                direction,
                excess,
            } => write!(
                f,
                "{workload}: {direction} may have more than it needs, since the search was cut off: at most {excess}"
            ),
            Self::OutsideUnknown {
                workload,
                direction,
                gap,
            } => write!(
                f,
                "{workload}: {direction} is not widened to everything outside the cluster, since {gap}: name the ranges \
                 of pods, services and nodes with --cluster-cidr"
            ),
            Self::Unenforceable {
                workload,
                direction,
                plugin,
                what,
            } => write!(f, "{workload}: {direction} {what} (--cni {plugin})"),
            Self::DefaultDenyLeftOut {
                namespace,
                workload,
            } => write!(
                f,
                "the namespace {namespace} gets no policy that denies all else: {workload} has none of its own, and would \
                 lose what was learned or answer no DNS"
            ),
            Self::RejectedStillAllowed {
                workload,
                direction,
                edge,
            } => write!(
                f,
                "{}: rejected, but another rule of {workload}'s {direction} holds it too",
                text::edge(edge)
            ),
            Self::OtherView {
                workload,
                direction,
                edges,
            } => {
                write!(
                    f,
                    "{workload}: {} of its {direction} known from the other end's view alone",
                    text::edges(*edges)
                )
            }
            Self::NoTraffic {
                workload,
                direction,
            } => {
                write!(
                    f,
                    "{workload}: no {direction} was seen, so its policy denies it"
                )
            }
            Self::OwnNode { workload, edges } => {
                write!(
                    f,
                    "{workload}: {} from its pods' own nodes left out: always allowed",
                    text::edges(*edges)
                )
            }
            Self::OtherEndOnly { direction, edge } => {
                let (seen, watched) = match direction {
                    Direction::Ingress => ("client", "server"),
                    Direction::Egress => ("server", "client"),
                };
                write!(
                    f,
                    "{}: the {seen}'s interface saw it, the {watched}'s, which was watched, did not see it answered \
                     (a false source address, or half a handshake); no {direction} rule",
                    text::edge(edge)
                )
            }
            Self::Unresolved { what } => write!(f, "{what}; both ends are incomplete"),
            Self::UnresolvedBeyondBound { records } => {
                write!(
                    f,
                    "{records} more records of such flows, too many to be told apart"
                )
            }
            Self::UnresolvedAttempts { flows } => write!(
                f,
                "{flows} refused or unanswered flows of which an end cannot be told; no rule (`flows` lists them)"
            ),
            Self::NoPolicy { workload }
            | Self::HostNetwork { workload }
            | Self::CutOff { workload } => {
                write!(f, "{workload} {}", self.reason())
            }
            Self::UnknownOutcome { edge }
            | Self::NodeGone { edge }
            | Self::Rejected { edge }
            | Self::RejectMatchesNothing { edge }
            | Self::OneWayLeftOut { edge }
            | Self::RealClientUnseen { edge }
            | Self::NodePort { edge }
            | Self::ViewsDisagree { edge, .. } => {
                write!(f, "{}: {}", text::edge(edge), self.reason())
            }
            Self::NotEstablished { edges } => {
                write!(f, "{}: {}", text::edges(*edges), self.reason())
            }
            Self::NoResolver => f.write_str(self.reason()),
        }
    }
}

impl Finding {
    /// Its name, as it is printed and as scripts may look for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unselectable { .. } => "Unselectable",
            Self::Withheld { .. } => "Withheld",
            Self::NeedsWidening { .. } => "NeedsWidening",
            Self::OutsideUnknown { .. } => "OutsideUnknown",
            Self::Unenforceable { .. } => "Unenforceable",
            Self::DefaultDenyLeftOut { .. } => "DefaultDenyLeftOut",
            Self::CutOff { .. } => "CutOff",
            Self::Rejected { .. } => "Rejected",
            Self::RejectedStillAllowed { .. } => "RejectedStillAllowed",
            Self::RejectMatchesNothing { .. } => "RejectMatchesNothing",
            Self::Unresolved { .. } => "Unresolved",
            Self::UnresolvedBeyondBound { .. } => "UnresolvedBeyondBound",
            Self::UnresolvedAttempts { .. } => "UnresolvedAttempts",
            Self::UnknownOutcome { .. } => "UnknownOutcome",
            Self::ViewsDisagree { .. } => "ViewsDisagree",
            Self::OtherEndOnly { .. } => "OtherEndOnly",
            Self::NodeGone { .. } => "NodeGone",
            Self::OneWayLeftOut { .. } => "OneWayLeftOut",
            Self::Widening { .. } => "Widening",
            Self::NotLeast { .. } => "NotLeast",
            Self::RealClientUnseen { .. } => "RealClientUnseen",
            Self::NodePort { .. } => "NodePort",
            Self::OtherView { .. } => "OtherView",
            Self::NoTraffic { .. } => "NoTraffic",
            Self::NoPolicy { .. } => "NoPolicy",
            Self::HostNetwork { .. } => "HostNetwork",
            Self::OwnNode { .. } => "OwnNode",
            Self::NotEstablished { .. } => "NotEstablished",
            Self::NoResolver => "NoResolver",
        }
    }

    /// What is to be said of a finding that names one thing only.
    fn reason(&self) -> &'static str {
        match self {
            Self::UnknownOutcome { .. } => "no answer could be seen, so it makes no rule",
            Self::CutOff { .. } => {
                "has no policy of its own, and its namespace's denies it everything but DNS"
            }
            Self::Rejected { .. } => "rejected, so it makes no rule",
            Self::RejectMatchesNothing { .. } => "rejected, but nothing like it was learned",
            Self::NodeGone { .. } => "the node has no address any more, so it makes no rule",
            Self::OneWayLeftOut { .. } => {
                "not replied to, and not seen as often as --one-way asks for, so it makes no rule"
            }
            Self::RealClientUnseen { .. } => {
                "the node stands for a client that was not seen (NodePort or masquerade)"
            }
            Self::NodePort { .. } => {
                "addressed at a node's port; the rule names the pods behind it, and a network plugin that judges \
                 egress before the address is translated sees a node and denies it"
            }
            Self::ViewsDisagree { .. } => {
                "only one end saw it established, the other did not; it is allowed at both"
            }
            Self::NotEstablished { .. } => "refused or not answered, so no rule",
            Self::NoPolicy { .. } => "has no traffic that makes a rule and gets no policy",
            Self::HostNetwork { .. } => {
                "uses its nodes' network, where policies do not apply, and gets none"
            }
            Self::NoResolver => {
                "DNS is to be allowed always, but no service of the inventory has a port named dns or dns-tcp"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Unenforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortRange(range) => write!(
                f,
                "on {range}: of a range only the first port counts there, and this one is too long to be written port by \
                 port"
            ),
            Self::PortEntries(entries) => write!(
                f,
                "has {entries} entries of ports for one peer, of which only 24 count there"
            ),
            Self::Entities(entities, ports) => write!(
                f,
                "of {} on {} stands as addresses, which there match neither nodes nor the API server: -o cilium names \
                 them by what they are",
                list(entities),
                list(ports)
            ),
        }
    }
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unselectable => "no selector matches its peer alone",
            Self::NotInInventory => "its peer is not in the inventory",
            Self::NoAddress => "the inventory holds no address of its peer",
            Self::PortZero => "port 0 cannot be written",
        })
    }
}

/// Why there is no selector, and the label that would make one.
fn unselectable(
    f: &mut fmt::Formatter<'_>,
    workload: &WorkloadName,
    clashes: &BTreeSet<WorkloadName>,
    (key, value): &(String, String),
) -> fmt::Result {
    write!(f, "{workload} gets no policy: ")?;
    match clashes.is_empty() {
        true => f.write_str("its pods have no lasting label")?,
        false => write!(f, "its lasting labels also match {}", list(clashes))?,
    }
    write!(f, "; add the label {key}={value} to its pod template")
}
