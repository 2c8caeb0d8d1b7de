//! Protocols, outcomes and views: the words that flow records and policies share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::abi;

/// A transport protocol that Kubernetes NetworkPolicies know.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// What became of the attempts of an edge.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered: a handshake was completed, or a datagram was replied to.
    Established,
    /// Answered by a reset, an abort or an ICMP unreachable.
    Refused,
    /// TCP and SCTP: nothing came back within 30 s.
    Unanswered,
    /// UDP: nothing came back.
    OneWay,
    /// The interface shows one side only, and nothing proves an answer.
    Unknown,
}

/// Whose interface saw a connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The interface of the client's pod.
    Client,
    /// The interface of the server's pod.
    Server,
}

/// A word that is none of those that were expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{word:?} is not a protocol (TCP, UDP or SCTP)")]
pub struct UnknownProtocol {
    word: String,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The name that Kubernetes uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// The protocol of an IP protocol number, if it is one that makes edges.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            abi::TCP => Some(Self::Tcp),
            abi::UDP => Some(Self::Udp),
            abi::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Its IP protocol number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => abi::TCP,
            Self::Udp => abi::UDP,
            Self::Sctp => abi::SCTP,
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Established,
        Self::Refused,
        Self::Unanswered,
        Self::OneWay,
        Self::Unknown,
    ];

    /// The word used in flow records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::OneWay => "one-way",
            Self::Unknown => "unknown",
        }
    }
}

impl View {
    /// The word used in flow records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(word))
            .ok_or_else(|| UnknownProtocol {
                word: word.to_owned(),
            })
    }
}
