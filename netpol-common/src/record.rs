//! Flow records: one line of JSON for an edge, one view of it, one outcome and one window of time.
//!
//! Reading is lenient about fields that are not known here and strict about those that are.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::names::{ObjectName, WorkloadName};
use crate::words::{Outcome, Protocol, View};

/// One end of a flow, as far as the writer knew it. In JSON an object with exactly one of `ip`, `pod`, `workload`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
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
    /// The server's port, from 1 on.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// How many attempts (TCP, SCTP) or client datagrams (UDP) with this outcome the line stands for. None at all
    /// means that a connection of an earlier window was still open in this one.
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
    /// The node whose agent saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer: Option<String>,
    /// The node that the address at the other end belongs to, as that node's agent reported: bridge, tunnel and
    /// overlay addresses, which the API server does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_node: Option<String>,
}

impl FlowRecord {
    /// From when to when the flow was seen, if the record tells.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.time?;
        Some((first, self.last_seen.unwrap_or(first)))
    }

    /// The end that the observer's pod was not: the one that is an address where the other is not.
    #[must_use]
    pub fn remote_address(&self) -> Option<IpAddr> {
        match (&self.client, &self.server, self.view) {
            (_, Endpoint::Ip(server), Some(View::Client)) => Some(*server),
            (Endpoint::Ip(client), _, Some(View::Server)) => Some(*client),
            _ => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Pod(name) => name.fmt(f),
            Self::Workload(name) => name.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EndpointVisitor)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = Endpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one of ip, pod, workload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Endpoint, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let Some(end) = end(&key, &mut map)? else {
                continue;
            };
            if found.replace(end).is_some() {
                return Err(A::Error::custom("more than one of ip, pod, workload"));
            }
        }
        found.ok_or_else(|| A::Error::custom("none of ip, pod, workload"))
    }
}

/// The end that field `key` tells; nothing where the field is unknown or null. IPv4 that is mapped into IPv6 is IPv4.
fn end<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Option<Endpoint>, A::Error> {
    Ok(match key {
        "ip" => map
            .next_value::<Option<IpAddr>>()?
            .map(|address| Endpoint::Ip(address.to_canonical())),
        "pod" => map.next_value::<Option<_>>()?.map(Endpoint::Pod),
        "workload" => map.next_value::<Option<_>>()?.map(Endpoint::Workload),
        _ => {
            map.next_value::<IgnoredAny>()?;
            None
        }
    })
}

fn port<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let number = u64::deserialize(from)?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| D::Error::custom(format!("port {number} is not between 1 and 65535")))
}

fn one() -> u64 {
    1
}
