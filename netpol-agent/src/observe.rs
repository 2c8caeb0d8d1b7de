//! What a node agent tells the graph side: batches of cumulative counts, and what it could not see.

use std::net::IpAddr;

use jiff::Timestamp;
use netpol_common::abi::Direction;
use netpol_common::names::ObjectName;
use netpol_common::words::Protocol;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Addresses of a node's own interfaces, at most: there is an end to what is kept of one node.
pub const NODE_ADDRESSES: usize = 4_096;

/// The span within which the counts of an observer never fall: one life of one set of kernel maps.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
pub struct Epoch {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Drawn when the maps were made, and kept in them.
    pub instance: u64,
    /// [`netpol_common::abi::ABI_VERSION`] of the program that filled the maps.
    pub abi_version: u32,
}

/// How an observer came to know of an edge. Counts of different sources add up.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The kernel program counted its packets.
    Kernel,
    /// A connection older than the observer, found in conntrack.
    Conntrack,
    /// A connection older than the observer, found in the pod's socket tables.
    Sockets,
}

/// A pod as an observer bound it to an interface.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(from = "flat::Pod")]
pub struct PodIdentity {
    /// Namespace and name.
    #[serde(flatten)]
    pub name: ObjectIdentity,
    /// `metadata.uid`.
    pub uid: String,
}

/// Namespace and name as two fields.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
pub struct ObjectIdentity {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What identifies an observed edge within (observer, epoch).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
pub struct ObservedKey {
    /// The handle of the interface; see [`netpol_common::abi::EdgeKey::interface`].
    pub interface: u32,
    /// Kernel, conntrack or socket tables.
    pub source: Source,
    /// [`Direction::Egress`]: the pod is the client.
    #[serde(with = "direction")]
    #[schema(value_type = String, pattern = "^(egress|ingress)$")]
    pub direction: Direction,
    /// The transport protocol.
    #[schema(value_type = String, pattern = "^(TCP|UDP|SCTP)$")]
    pub protocol: Protocol,
    /// The server's port, as seen on the pod's interface: before DNAT on a client's, behind it on a server's.
    pub port: u16,
    /// The pod's address.
    #[schema(value_type = String)]
    pub local: IpAddr,
    /// The address of the other end.
    #[schema(value_type = String)]
    pub remote: IpAddr,
}

/// Cumulative counts of an edge, with kernel time already turned into wall time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(from = "flat::Edge")]
pub struct ObservedEdge {
    /// What the counts are of.
    #[serde(flatten)]
    pub key: ObservedKey,
    /// The pod that the interface belonged to.
    pub pod: PodIdentity,
    /// See [`netpol_common::abi::EdgeValue::attempts`].
    pub attempts: u64,
    /// See [`netpol_common::abi::EdgeValue::answered`].
    pub answered: u64,
    /// See [`netpol_common::abi::EdgeValue::refused`].
    pub refused: u64,
    /// When the edge was first seen in this epoch.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// When it was last seen, or last found to be still open.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// Whether the interface shows one side only, so that a missing answer proves nothing.
    pub one_sided: bool,
}

/// What an observer could not see or keep for one pod, cumulative within the epoch.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Losses {
    /// Edges that found no room in the kernel's map, or whose pod was not found in time.
    pub edges_lost: u64,
    /// Of those, edges that are known all the same: the map of attempts had room to remember that they were answered.
    #[serde(default)]
    pub edges_recovered: u64,
    /// Attempts that found no room, or were too many to be told one by one.
    pub attempts_lost: u64,
    /// Of those, attempts that became an edge all the same, since they were answered.
    #[serde(default)]
    pub attempts_recovered: u64,
    /// Attempts from addresses that are not the pod's: spoofed or routed.
    pub foreign: u64,
    /// Attempts towards addresses that are not the pod's: flooded by a bridge.
    pub not_for_pod: u64,
    /// Whether the pod ran for some time while no observer watched it.
    pub observation_gap: bool,
}

impl Losses {
    /// Edges that nobody knows of.
    ///
    /// Never too few: an edge that found no room twice counts twice where nothing was left to remember it by, and one
    /// that got room later stays counted, since the kernel cannot tell that it is the same.
    #[must_use]
    pub fn missing_edges(&self) -> u64 {
        self.edges_lost.saturating_sub(self.edges_recovered)
    }

    /// Attempts that nobody knows of.
    #[must_use]
    pub fn missing_attempts(&self) -> u64 {
        self.attempts_lost.saturating_sub(self.attempts_recovered)
    }
}

/// Losses of one pod on one interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ObservedLosses {
    /// The handle of the interface.
    pub interface: u32,
    /// The pod that it belongs to.
    pub pod: PodIdentity,
    /// What was lost.
    #[serde(flatten)]
    pub losses: Losses,
}

/// One delivery of an observer. A batch may arrive twice or late; merging it again changes nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Batch {
    /// The observer: its node's name.
    pub observer: String,
    /// The span that the counts are cumulative in.
    pub epoch: Epoch,
    /// Numbered from 1 within (observer, epoch).
    pub sequence: u64,
    /// When the batch was made: outcomes are judged against it.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Edges whose counts have changed since the last acknowledged batch.
    pub edges: Vec<ObservedEdge>,
    /// Losses that have changed likewise.
    pub losses: Vec<ObservedLosses>,
    /// Every address of the node's own interfaces: bridge, tunnel and overlay too.
    #[schema(value_type = Vec<String>)]
    pub node_addresses: Vec<IpAddr>,
}

impl From<&ObjectName> for ObjectIdentity {
    fn from(name: &ObjectName) -> Self {
        Self {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
        }
    }
}

impl From<&ObjectIdentity> for ObjectName {
    fn from(name: &ObjectIdentity) -> Self {
        Self::new(&name.namespace, &name.name)
    }
}

/// What is read in great numbers, field by field: `flatten` would collect the fields first, which takes several times as long.
mod flat {
    use super::{
        Deserialize, Direction, IpAddr, ObjectIdentity, ObservedEdge, ObservedKey, PodIdentity,
        Protocol, Source, Timestamp, direction,
    };

    #[derive(Deserialize)]
    pub(super) struct Pod {
        namespace: String,
        name: String,
        uid: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Edge {
        interface: u32,
        source: Source,
        #[serde(with = "direction")]
        direction: Direction,
        protocol: Protocol,
        port: u16,
        local: IpAddr,
        remote: IpAddr,
        pod: PodIdentity,
        attempts: u64,
        answered: u64,
        refused: u64,
        first_seen: Timestamp,
        last_seen: Timestamp,
        one_sided: bool,
    }

    impl From<Pod> for PodIdentity {
        fn from(pod: Pod) -> Self {
            Self {
                name: ObjectIdentity {
                    namespace: pod.namespace,
                    name: pod.name,
                },
                uid: pod.uid,
            }
        }
    }

    impl From<Edge> for ObservedEdge {
        fn from(edge: Edge) -> Self {
            Self {
                key: ObservedKey {
                    interface: edge.interface,
                    source: edge.source,
                    direction: edge.direction,
                    protocol: edge.protocol,
                    port: edge.port,
                    local: edge.local,
                    remote: edge.remote,
                },
                pod: edge.pod,
                attempts: edge.attempts,
                answered: edge.answered,
                refused: edge.refused,
                first_seen: edge.first_seen,
                last_seen: edge.last_seen,
                one_sided: edge.one_sided,
            }
        }
    }
}

/// [`Direction`] as `egress` or `ingress`.
mod direction {
    use netpol_common::abi::Direction;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(super) fn serialize<S: Serializer>(value: &Direction, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match value {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Direction, D::Error> {
        match String::deserialize(from)?.as_str() {
            "egress" => Ok(Direction::Egress),
            "ingress" => Ok(Direction::Ingress),
            other => Err(D::Error::unknown_variant(other, &["egress", "ingress"])),
        }
    }
}
