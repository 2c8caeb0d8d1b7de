//! Policies of Cilium and Calico, read back: the subset that [`emit`](super::emit) writes, judged as their own
//! documentation says, by code that shares nothing with what writes them.
//!
//! Whatever is outside that subset is an error, so that no policy is half understood.

pub mod calico;
pub mod cilium;

use std::net::IpAddr;

use ipnet::IpNet;
use netpol_common::words::Protocol;
use serde::Deserialize;

use super::model::Direction;
use crate::identity::objects::Labels;

/// Why policies cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The text is no YAML, or not of the shape that is understood.
    #[error("{0}")]
    Shape(String),
    /// An object says something that is not understood.
    #[error("{policy}: {problem}")]
    Unsupported {
        /// Namespace and name.
        policy: String,
        /// What is not understood.
        problem: String,
    },
}

/// The pod whose policies are asked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Other<'a> {
    /// A pod on a network of its own.
    Pod {
        /// Its namespace.
        namespace: &'a str,
        /// Its labels.
        labels: &'a Labels,
        /// Its address.
        address: IpAddr,
    },
    /// A node, or whatever uses its network.
    Node {
        /// Its address.
        address: IpAddr,
        /// Whether the subject runs on it.
        own: bool,
        /// Whether the API server is there.
        api_server: bool,
    },
    /// Anybody else.
    Outside {
        /// Their address.
        address: IpAddr,
        /// Whether the API server is there.
        api_server: bool,
    },
}

/// A connection from or to the subject, behind DNAT.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whether the other end is the client or the server.
    pub direction: Direction,
    /// The other end.
    pub other: Other<'a>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The server's port.
    pub port: u16,
}

/// What policies say at the subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Whether any policy isolates the subject in that direction.
    pub isolated: bool,
    /// Whether the connection may pass.
    pub allowed: bool,
}

/// Namespace and name of an object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    namespace: String,
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ports {
    first: u16,
    last: u16,
}

impl Other<'_> {
    fn address(&self) -> IpAddr {
        match self {
            Self::Pod { address, .. }
            | Self::Node { address, .. }
            | Self::Outside { address, .. } => *address,
        }
    }

    /// Whether it is the node that the subject runs on, from which both let everything in: the kubelet probes from
    /// there.
    fn is_own_node(&self) -> bool {
        matches!(self, Self::Node { own: true, .. })
    }
}

impl Metadata {
    fn unsupported(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Unsupported {
            policy: format!("{}/{}", self.namespace, self.name),
            problem: problem.into(),
        }
    }
}

impl Ports {
    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

fn any_contains(blocks: &[IpNet], address: IpAddr) -> bool {
    blocks.iter().any(|block| block.contains(&address))
}

/// The documents of a YAML stream.
fn documents<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, ReadError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_saphyr::from_multiple(text).map_err(|error| ReadError::Shape(error.to_string()))
}

#[cfg(test)]
mod tests;
