//! How a node's way to the aggregator stands, for metrics and people.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::wire::Side;

/// What a spool holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Batches.
    pub batches: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
    /// Most bytes that there may be.
    pub limit: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
}

/// Why a delivery was not acknowledged.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// The token or the authority's certificate cannot be read.
    Credentials,
    /// No connection.
    Connect,
    /// The server is not who it should be, or TLS failed otherwise.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Interrupted,
    /// An answer that is not of the contract.
    Answer,
    /// 401.
    Token,
    /// 403.
    Forbidden,
    /// 400.
    Malformed,
    /// 413.
    TooLarge,
    /// 426.
    Upgrade,
    /// 429.
    TooMany,
    /// 503.
    Unavailable,
    /// Another status of 500 and above.
    Server,
    /// Any other status.
    Status,
}

/// How things stand, and what has happened since the process began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// What waits.
    pub spool: Held,
    /// Whether the last batch found no room.
    pub is_full: bool,
    /// How often a batch found no room and stayed with the observer.
    pub turned_away: u64,
    /// Batches that were acknowledged.
    pub acknowledged_batches: u64,
    /// Edges in them.
    pub acknowledged_edges: u64,
    /// Bytes that were sent and acknowledged.
    pub acknowledged_bytes: u64,
    /// When a delivery was acknowledged last.
    pub acknowledged: Option<Timestamp>,
    /// Attempts that failed.
    pub failures: BTreeMap<Failure, u64>,
    /// Edges that the aggregator refused for good and that were put aside.
    pub quarantined_edges: u64,
    /// Batches that they were in, or that could not be read any more.
    pub quarantined_batches: u64,
    /// Which side is too old for the other, as the aggregator said last.
    pub upgrade: Option<Side>,
}

impl Failure {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::Credentials,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Interrupted,
        Self::Answer,
        Self::Token,
        Self::Forbidden,
        Self::Malformed,
        Self::TooLarge,
        Self::Upgrade,
        Self::TooMany,
        Self::Unavailable,
        Self::Server,
        Self::Status,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Answer => "answer",
            Self::Token => "token",
            Self::Forbidden => "forbidden",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Upgrade => "upgrade",
            Self::TooMany => "too_many",
            Self::Unavailable => "unavailable",
            Self::Server => "server",
            Self::Status => "status",
        }
    }
}

impl Status {
    /// How far the aggregator is behind this node, in seconds: the age of the oldest batch that it has not acknowledged.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> f64 {
        let oldest = self.spool.oldest.unwrap_or(now);
        now.duration_since(oldest).as_secs_f64().max(0.0)
    }
}
