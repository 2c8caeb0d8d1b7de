//! What a node agent and the aggregator say to each other over HTTP.
//!
//! An agent posts a [`Delivery`] to [`BATCHES`], as JSON in zstd ([RFC 8878]), with its projected token and the header
//! [`VERSION_HEADER`]. The aggregator answers with an [`Acknowledgement`] once all of it is durable, or with a
//! [`Problem`] ([RFC 9457]). Nothing here trusts what it reads: sizes are bounded by what arrives, never by what a
//! header declares.
//!
//! [RFC 8878]: https://www.rfc-editor.org/rfc/rfc8878
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

mod frames;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::observe::{Batch, Epoch, PodIdentity};

pub use frames::{
    DecodeError, EncodeError, Encoding, Packed, assemble, decode, encode, length, unpack,
};

/// The version of this contract, as [`VERSION_HEADER`] tells it.
pub const VERSION: u32 = 1;
/// The request header that tells which version an agent speaks.
pub const VERSION_HEADER: &str = "netpol-wire";
/// Where deliveries are posted; below it, by the observer's name, is what is durable of that observer.
pub const BATCHES: &str = "/v1/batches";
/// The media type of deliveries and acknowledgements.
pub const MEDIA_TYPE: &str = "application/json";
/// The media type of problems.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
/// Most bytes of a delivery as it is transferred.
pub const MOST_TRANSFERRED: usize = 8 << 20;
/// Most bytes of a delivery's JSON.
pub const MOST_PLAIN: usize = 64 << 20;
/// Most batches of a delivery.
pub const MOST_BATCHES: usize = 1_000;
/// Most bytes of an answer that an agent reads.
pub const MOST_ANSWER: usize = 256 << 10;

/// What an agent delivers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Delivery {
    /// Who delivers.
    pub agent: Agent,
    /// All of one observer, in the order in which they were made.
    #[schema(value_type = Vec<Batch>)]
    pub batches: Vec<Arc<Batch>>,
}

/// Who delivers. The token proves it; this is for messages.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Agent {
    /// Its node, which is the observer of every batch.
    pub node: String,
    /// The UID of its pod; absent where it does not run in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Its version.
    pub version: String,
}

/// What is durable. As the answer to a delivery: the highest sequence of each epoch in that delivery; every batch of
/// the delivery is durable then. As the answer to a question for an observer: the highest of all.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Acknowledgement {
    /// One for each epoch.
    pub acknowledged: Vec<Position>,
}

/// A place in the order of an observer's batches.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
pub struct Position {
    /// The epoch.
    pub epoch: Epoch,
    /// The sequence number of a batch in it.
    pub sequence: u64,
}

/// Why a request was not fulfilled, as RFC 9457 writes it. Any member may be absent.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is, as a URI; absent where the status says all.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The kind in a few words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What was wrong with this request, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With 403: the pods that are not the agent's to speak of. The rest of the delivery may be delivered again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<PodIdentity>,
    /// With 426: which side is to be upgraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Side>,
}

/// One of the two that talk.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The node agent.
    Agent,
    /// The aggregator.
    Aggregator,
}

/// A delivery that does not keep to the contract.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Disorder {
    /// A batch of somebody else.
    #[error("batch {sequence} is of observer {observer:?}, but the agent is that of node {node:?}")]
    Stranger {
        /// Which batch.
        sequence: u64,
        /// Its observer.
        observer: String,
        /// The agent's node.
        node: String,
    },
    /// A batch that comes after a later one.
    #[error("batch {sequence} comes after batch {after} of the same epoch")]
    Order {
        /// Which batch.
        sequence: u64,
        /// The one before it.
        after: u64,
    },
}

impl Delivery {
    /// Whether all batches are of the agent's node, and in order.
    ///
    /// # Errors
    ///
    /// [`Disorder`] names the first batch that is not.
    pub fn check(&self) -> Result<(), Disorder> {
        let mut last: BTreeMap<&Epoch, u64> = BTreeMap::new();
        for batch in &self.batches {
            if batch.observer != self.agent.node {
                return Err(Disorder::Stranger {
                    sequence: batch.sequence,
                    observer: batch.observer.clone(),
                    node: self.agent.node.clone(),
                });
            }
            match last.insert(&batch.epoch, batch.sequence) {
                Some(after) if after >= batch.sequence => {
                    let sequence = batch.sequence;
                    return Err(Disorder::Order { sequence, after });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is to be answered once all of it is durable.
    #[must_use]
    pub fn acknowledgement(&self) -> Acknowledgement {
        let batches = self.batches.iter();
        Acknowledgement::of(batches.map(|batch| (batch.epoch.clone(), batch.sequence)))
    }
}

impl Acknowledgement {
    /// The highest sequence of each epoch.
    #[must_use]
    pub fn of(positions: impl IntoIterator<Item = (Epoch, u64)>) -> Self {
        let mut highest: BTreeMap<Epoch, u64> = BTreeMap::new();
        for (epoch, sequence) in positions {
            let known = highest.entry(epoch).or_default();
            *known = (*known).max(sequence);
        }
        let positions = highest.into_iter();
        Self {
            acknowledged: positions
                .map(|(epoch, sequence)| Position { epoch, sequence })
                .collect(),
        }
    }

    /// Whether it says that this batch is durable.
    #[must_use]
    pub fn covers(&self, epoch: &Epoch, sequence: u64) -> bool {
        self.acknowledged
            .iter()
            .any(|known| known.epoch == *epoch && known.sequence >= sequence)
    }
}

/// Judges the version that an agent tells, as this side speaks [`VERSION`] only.
///
/// # Errors
///
/// Which side is to be upgraded: whichever is older. An agent that tells none is.
pub fn judge(told: Option<&str>) -> Result<(), Side> {
    let told = told.and_then(|text| text.trim().parse::<u32>().ok());
    match told {
        Some(VERSION) => Ok(()),
        Some(newer) if newer > VERSION => Err(Side::Aggregator),
        _ => Err(Side::Agent),
    }
}
