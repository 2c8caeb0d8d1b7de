//! The flow graph: who talks to whom, with the evidence for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use netpol_common::names::ObjectName;
use netpol_common::words::View;

use crate::identity::EdgeId;

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

/// What one view says of an edge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ViewEvidence {
    /// How often, by outcome.
    pub counts: Counts,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// Whether it was seen in two separate minutes.
    pub repeated: bool,
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
}

/// The flow graph.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FlowGraph {
    /// Edges in canonical order.
    pub edges: BTreeMap<EdgeId, Evidence>,
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
