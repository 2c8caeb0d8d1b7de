//! Learned edges that a person rejects, as text: `shop/Deployment/web -> shop/Deployment/api 8080/TCP`.
//!
//! An end is a workload, `node NAME`, `kube-apiserver` or an address. `TCP 8080`, as findings and comments write it,
//! is read too, so that an edge can be copied from there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use netpol_common::words::Protocol;
use serde::{Deserialize, Serialize};

use crate::identity::{EdgeId, Peer};

/// A learned edge that a person does not want.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RejectedEdge(pub EdgeId);

/// A text that is no edge.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidEdge {
    /// It has not the parts of one.
    #[error(
        "{0:?} is no edge: write CLIENT -> SERVER PORT/PROTOCOL, as in shop/Deployment/web -> 203.0.113.7 443/TCP"
    )]
    Form(String),
    /// An end is nobody.
    #[error(
        "{0:?} is no end of an edge: write namespace/Kind/name, an address, node NAME or kube-apiserver"
    )]
    End(String),
    /// The port is none.
    #[error(
        "{0:?} is no port: write PORT/PROTOCOL with a number from 1 to 65535 and TCP, UDP or SCTP"
    )]
    Port(String),
}

impl FromStr for RejectedEdge {
    type Err = InvalidEdge;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InvalidEdge::Form(text.to_owned());
        let (client, rest) = text.split_once("->").ok_or_else(form)?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (server, (protocol, port)) = match words.as_slice() {
            [server @ .., port] if port.contains('/') => (server, slashed(port)?),
            [server @ .., protocol, port] => (server, spaced(protocol, port)?),
            _ => return Err(form()),
        };
        Ok(Self(EdgeId {
            client: end(client.trim())?,
            server: end(&server.join(" "))?,
            protocol,
            port,
        }))
    }
}

/// `8080/TCP`.
fn slashed(text: &str) -> Result<(Protocol, u16), InvalidEdge> {
    let invalid = || InvalidEdge::Port(text.to_owned());
    let (port, protocol) = text.split_once('/').ok_or_else(invalid)?;
    number(protocol, port).ok_or_else(invalid)
}

/// `TCP 8080`.
fn spaced(protocol: &str, port: &str) -> Result<(Protocol, u16), InvalidEdge> {
    number(protocol, port).ok_or_else(|| InvalidEdge::Port(format!("{protocol} {port}")))
}

fn number(protocol: &str, port: &str) -> Option<(Protocol, u16)> {
    let protocol =
        (Protocol::ALL.into_iter()).find(|known| known.name().eq_ignore_ascii_case(protocol))?;
    let port: u16 = port.parse().ok()?;
    (port > 0).then_some((protocol, port))
}

fn end(text: &str) -> Result<Peer, InvalidEdge> {
    if text == "kube-apiserver" {
        return Ok(Peer::ApiServer);
    }
    if let Some(name) = text.strip_prefix("node ") {
        return Ok(Peer::Node(name.trim().to_owned()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Peer::External(address.to_canonical()));
    }
    let workload = text.parse().map(Peer::Workload);
    workload.map_err(|_| InvalidEdge::End(text.to_owned()))
}

impl fmt::Display for RejectedEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edge = &self.0;
        let (client, server) = (&edge.client, &edge.server);
        write!(f, "{client} -> {server} {}/{}", edge.port, edge.protocol)
    }
}

impl TryFrom<String> for RejectedEdge {
    type Error = InvalidEdge;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RejectedEdge> for String {
    fn from(edge: RejectedEdge) -> Self {
        edge.to_string()
    }
}
