//! What the graph asks of whoever knows the cluster.

use netpol_common::names::WorkloadName;

use crate::identity::{Resolution, Sighting};

/// Tells whose a flow was.
pub trait Resolve {
    /// The edges that a sighting stands for.
    fn resolve(&self, sighting: &Sighting) -> Resolution;

    /// The nodes that pods of a workload ran on, as far as known.
    fn nodes_of(&self, workload: &WorkloadName) -> Vec<String>;
}
