//! Flows of which an end cannot be told, kept aggregated and bounded.

use std::collections::BTreeMap;

use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, Protocol};

use super::ViewEvidence;
use crate::identity::Unresolved;

/// How many distinct flows are kept.
const BOUND: usize = 10_000;

/// What identifies an unresolved flow.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnresolvedFlow {
    /// The client as seen.
    pub client: Endpoint,
    /// The server as seen.
    pub server: Endpoint,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port as seen.
    pub port: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// Why an end cannot be told.
    pub reason: Unresolved,
}

/// Unresolved flows, up to a bound.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UnresolvedFlows {
    /// By flow; both views of it together.
    pub flows: BTreeMap<UnresolvedFlow, ViewEvidence>,
    /// Records that were one too many to be kept.
    pub beyond_bound: u64,
}

impl UnresolvedFlows {
    /// Leaves only what is known to have an end in one namespace.
    pub(super) fn keep_namespace(&mut self, namespace: &str) {
        let is_in = |end: &Endpoint| match end {
            Endpoint::Pod(name) => name.namespace == namespace,
            Endpoint::Workload(name) => name.namespace == namespace,
            Endpoint::Ip(_) => false,
        };
        self.flows
            .retain(|flow, _| is_in(&flow.client) || is_in(&flow.server));
    }

    /// Whether every flow was resolved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    pub(super) fn add(&mut self, record: &FlowRecord, outcome: Outcome, reason: Unresolved) {
        let flow = UnresolvedFlow {
            client: record.client.clone(),
            server: record.server.clone(),
            protocol: record.protocol,
            port: record.port,
            outcome,
            reason,
        };
        if self.flows.len() >= BOUND && !self.flows.contains_key(&flow) {
            self.beyond_bound += 1;
            return;
        }
        let evidence = self.flows.entry(flow).or_default();
        evidence.add(outcome, record.count, record.span());
    }
}
