//! Flow records: one line of JSON for an edge, one view of it and one window of time.
//!
//! Reading is lenient about fields that are not known here and strict about those that are.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{ObjectName, WorkloadName};
use crate::words::{Outcome, Protocol, View};

/// One end of a flow, as far as the writer knew it. In JSON an object with exactly one of `ip`, `pod`, `workload`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// An address; whose it was is for the reader to find out.
    Ip(IpAddr),
    /// A pod, `namespace/name`.
    Pod(ObjectName),
    /// A workload, `namespace/Kind/name`.
    Workload(WorkloadName),
}

/// A flow record. Lines of one input add up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FlowRecord {
    /// When the flow was first seen in this window; without it the record is valid whenever its addresses are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Who opened the connection.
    pub client: Endpoint,
    /// Who was addressed.
    pub server: Endpoint,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The server's port.
    pub port: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// How many attempts (TCP, SCTP) or client datagrams (UDP) with this outcome the line stands for.
    #[serde(default = "one")]
    pub count: u64,
    /// When the flow was last seen in this window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Whose interface saw it; both if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
    /// The service (`namespace/name`) through which the server was addressed, where no view of the server's own
    /// says that this workload was the one that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_service: Option<ObjectName>,
}

fn one() -> u64 {
    1
}
