//! What goes over the wire between node agents and the aggregator: JSON over HTTP, compressed with zstd.
//!
//! An agent posts a [`Delivery`] to [`BATCHES`] and is answered by an [`Acknowledgement`] once every batch of it is
//! durable, or by a [`Problem`]. The same acknowledgement, of everything that is durable, is what
//! `GET` [`BATCHES`]`/{observer}` answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::observe::{Batch, Epoch};

/// The version of this protocol.
pub const VERSION: u32 = 1;
/// The header in which both sides state the version that they speak.
pub const VERSION_HEADER: &str = "netpol-wire";
/// Where batches go.
pub const BATCHES: &str = "/v1/batches";
/// Bytes of a body at most, as it is sent.
pub const COMPRESSED_LIMIT: usize = 8 << 20;
/// Bytes of a body at most, decompressed.
pub const DECOMPRESSED_LIMIT: usize = 64 << 20;
/// The window of the compression at most, as a power of two of bytes.
pub const WINDOW_LOG_LIMIT: u32 = 23;
/// Batches in one delivery at most.
pub const BATCHES_LIMIT: usize = 1_000;
/// The media type of a [`Delivery`].
pub const MEDIA_TYPE: &str = "application/json";
/// The media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Who delivers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Agent {
    /// Its node, which is also the observer of every batch.
    pub node: String,
    /// `metadata.uid` of its pod.
    pub pod_uid: String,
    /// The version of netpol.
    pub version: String,
}

/// Batches of one observer, in the order of their numbers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Delivery {
    /// Who delivers.
    pub agent: Agent,
    /// At most [`BATCHES_LIMIT`].
    pub batches: Vec<Arc<Batch>>,
}

/// The highest number of a batch that is durable, of one epoch.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Acknowledged {
    /// The epoch.
    pub epoch: Epoch,
    /// The number.
    pub sequence: u64,
}

/// What is durable of an observer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Acknowledgement {
    /// By epoch, each once.
    pub acknowledged: Vec<Acknowledged>,
}

/// Why a request was refused: problem details as RFC 9457 has them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// What kind of problem it is: `urn:netpol:problem:` and the reason by which metrics count it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status of the response, in words.
    pub title: String,
    /// The status of the response.
    pub status: u16,
    /// What is wrong with this request, and what to do about it.
    pub detail: String,
}
