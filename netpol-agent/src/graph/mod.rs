//! The flow graph: who talks to whom, with the evidence for it.
//!
//! A [`Builder`] takes flow records, resolves both ends of each and adds them up; [`Builder::finish`] then settles
//! what only the whole can tell: which workload behind a service it was, and what a pod says to itself.

mod build;
mod narrow;
pub mod render;
mod resolve;
mod rows;
#[cfg(test)]
mod tests;
mod unresolved;
mod view;
mod watch;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use netpol_common::names::ObjectName;
use netpol_common::words::{Outcome, View};

use crate::identity::{EdgeId, Peer};

pub use build::Builder;
pub use resolve::{ReportedNodes, Resolve};
pub use rows::Row;
pub use unresolved::{UnresolvedFlow, UnresolvedFlows};
pub use view::ViewEvidence;
pub use windows::Windows;

/// Counts by outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Answered attempts; for UDP, datagrams of an edge that was replied to.
    pub established: u64,
    /// Refused attempts.
    pub refused: u64,
    /// Attempts that were not answered within 30 s.
    pub unanswered: u64,
    /// Datagrams that were never replied to.
    pub one_way: u64,
    /// Attempts whose answer could not be seen.
    pub unknown: u64,
}

/// Everything known about an edge. Views are never added up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Evidence {
    /// What the client's interface saw.
    pub client: Option<ViewEvidence>,
    /// What the server's interface saw.
    pub server: Option<ViewEvidence>,
    /// Services through which it was addressed and that back more than this workload, where no view of the
    /// server's says that this workload answered.
    pub by_service: BTreeSet<ObjectName>,
    /// The client is the server's own node.
    pub own_node: bool,
    /// The client is a node that stands for a client unseen.
    pub real_client_unseen: bool,
    /// The client addressed a port of a node, behind which the server stands.
    pub by_node_port: bool,
    /// The client's own interface was watched whenever the server's saw the edge answered or repeated, so that what
    /// it did not see did not leave it.
    pub client_watched: bool,
    /// The server's own interface was watched likewise.
    pub server_watched: bool,
}

/// The flow graph.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FlowGraph {
    /// Edges in canonical order. What rests on an edge shares its name.
    pub edges: BTreeMap<Arc<EdgeId>, Evidence>,
    /// Flows of which an end cannot be told.
    pub unresolved: UnresolvedFlows,
    /// From the first to the last time that any record tells, whatever became of it.
    pub recorded: Option<(Timestamp, Timestamp)>,
}

impl Counts {
    /// The count of one outcome.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Established => self.established,
            Outcome::Refused => self.refused,
            Outcome::Unanswered => self.unanswered,
            Outcome::OneWay => self.one_way,
            Outcome::Unknown => self.unknown,
        }
    }

    /// The count of one outcome, to be changed.
    pub fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Established => &mut self.established,
            Outcome::Refused => &mut self.refused,
            Outcome::Unanswered => &mut self.unanswered,
            Outcome::OneWay => &mut self.one_way,
            Outcome::Unknown => &mut self.unknown,
        }
    }
}

impl FlowGraph {
    /// Leaves only what has an end in one namespace.
    pub fn keep_namespace(&mut self, namespace: &str) {
        let is_in =
            |peer: &Peer| matches!(peer, Peer::Workload(name) if name.namespace == namespace);
        self.edges
            .retain(|id, _| is_in(&id.client) || is_in(&id.server));
        self.unresolved.keep_namespace(namespace);
    }
}

impl Evidence {
    /// What the interface of that end saw.
    #[must_use]
    pub fn view(&self, view: View) -> Option<&ViewEvidence> {
        match view {
            View::Client => self.client.as_ref(),
            View::Server => self.server.as_ref(),
        }
    }
}
