//! What the graph asks of whoever knows the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::names::WorkloadName;
use netpol_common::record::FlowRecord;

use crate::identity::{Index, Resolution, Sighting};

/// Tells whose a flow was.
pub trait Resolve {
    /// The edges that a sighting stands for.
    fn resolve(&self, sighting: &Sighting) -> Resolution;

    /// The nodes that pods of a workload run on, as far as known.
    fn nodes_of(&self, workload: &WorkloadName) -> BTreeSet<String>;
}

impl Resolve for Index {
    fn resolve(&self, sighting: &Sighting) -> Resolution {
        Self::resolve(self, sighting)
    }

    fn nodes_of(&self, workload: &WorkloadName) -> BTreeSet<String> {
        self.workload(workload)
            .map(|view| view.nodes)
            .unwrap_or_default()
    }
}

/// Node addresses as flow records tell them: bridge, tunnel and overlay addresses, which no inventory holds.
#[derive(Clone, Debug, Default)]
pub struct ReportedNodes {
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
}

impl ReportedNodes {
    /// Lets the index know the node address that a record tells, valid at all times. To be called before the record
    /// is resolved.
    pub fn note(&mut self, record: &FlowRecord, index: &mut Index) {
        let (Some(node), Some(address)) = (&record.remote_node, record.remote_address()) else {
            return;
        };
        let known = self.addresses.entry(node.clone()).or_default();
        if known.insert(address) {
            let all: Vec<IpAddr> = known.iter().copied().collect();
            index.learn_node_addresses(node, &all, Timestamp::UNIX_EPOCH);
        }
    }
}
