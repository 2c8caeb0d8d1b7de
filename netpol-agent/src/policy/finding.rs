//! What a person should know about a proposal: gaps in what was seen, and what a policy allows beyond it.

mod words;

use std::collections::BTreeSet;

use netpol_common::names::WorkloadName;

use super::model::{Direction, Entity, PortSpec};
use super::options::Cni;
use super::outside::Gap;
use super::rules::Excess;
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
    /// External addresses were to be widened, but it is not known what is outside the cluster: the addresses that were
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
    /// A label that a policy selects by and that Cilium leaves out of what it knows of pods: it matches none.
    IgnoredLabel {
        /// The workload.
        workload: WorkloadName,
        /// The label's key.
        label: String,
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
    /// A workload has a policy, but nothing that makes a rule was seen in this direction: its policy denies all of it.
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
