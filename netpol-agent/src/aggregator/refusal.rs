//! Why a request is refused: the answer that says so, and the reason by which it is counted.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use netpol_common::names::cluster;

use crate::observe::PodIdentity;
use crate::wire::{self, Problem, Side};

/// Pods that an answer names at most. An agent takes them out and delivers the rest again.
const NAMED: usize = 500;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No token.
    #[error(
        "the request bears no token: send the header \"Authorization: Bearer TOKEN\" with a ServiceAccount token of \
         audience {}",
        cluster::AUDIENCE
    )]
    NoToken,
    /// A token that the API server does not know, or that is of another audience, or expired.
    #[error("the token is no good: {0}")]
    BadToken(String),
    /// A good token, and not one that may do this.
    #[error("{0}")]
    Forbidden(String),
    /// A node agent that speaks of another node.
    #[error("the token is that of the agent of node {own:?}, which may not speak for {other:?}")]
    OtherNode {
        /// The agent's node.
        own: String,
        /// The node that it spoke of.
        other: String,
    },
    /// Pods that were not on the agent's node then.
    #[error(
        "nothing of the delivery was kept: {} of its pods {} on node {node:?} at that time",
        .refused.len(),
        if .refused.len() == 1 { "was not" } else { "were not" }
    )]
    Forged {
        /// The agent's node.
        node: String,
        /// The pods.
        refused: Vec<PodIdentity>,
    },
    /// Pods that the index may not have heard of yet.
    #[error(
        "pod {}/{} (uid {}) is not known here yet: deliver again shortly",
        .0.name.namespace,
        .0.name.name,
        .0.uid
    )]
    UnknownPod(PodIdentity),
    /// A body that does not decode, or says what cannot be.
    #[error("{0}")]
    Malformed(String),
    /// A batch from the future. It is taken once our clock has caught up.
    #[error("{0}")]
    Ahead(String),
    /// A body beyond the bound.
    #[error("{0}")]
    TooLarge(String),
    /// A body that did not come in time.
    #[error("the body was not sent within {} s", .0.as_secs())]
    Slow(Duration),
    /// A media type or an encoding that is not taken.
    #[error("{0}")]
    MediaType(String),
    /// Another version of the protocol.
    #[error(
        "the protocol {told}, and this aggregator speaks {}: upgrade the {}",
        wire::VERSION,
        match .upgrade { Side::Agent => "node agent", Side::Aggregator => "aggregator" }
    )]
    Version {
        /// What the agent said that it speaks.
        told: String,
        /// Who is behind.
        upgrade: Side,
    },
    /// Too much from one observer or address.
    #[error("{what}: wait {} s", .wait.as_secs())]
    TooMany {
        /// What was too much.
        what: &'static str,
        /// How long to wait.
        wait: Duration,
    },
    /// No room at present.
    #[error("{0}: try again shortly")]
    Busy(&'static str),
    /// The indexes are not whole yet.
    #[error("not every kind of object was listed yet: try again shortly")]
    NotReady,
    /// The API server does not answer.
    #[error("the API server cannot be asked: {0}")]
    Unasked(String),
    /// The store does not take it.
    #[error("the batches were not made durable: {0}")]
    NotKept(String),
    /// No such path.
    #[error("there is nothing at this path: look at /v1/openapi.json")]
    NotFound,
    /// Not this method.
    #[error("this path does not take this method: look at /v1/openapi.json")]
    Method,
}

/// The reason by which a refused request is counted, as an extension of the response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reason(pub(super) &'static str);

/// Every reason by which refused requests are counted; `connection` is one that was turned away or failed its handshake.
pub const REASONS: [&str; 20] = [
    "connection",
    "no-token",
    "bad-token",
    "forbidden",
    "other-node",
    "forged",
    "unknown-pod",
    "malformed",
    "ahead",
    "too-large",
    "slow",
    "media-type",
    "version",
    "too-many",
    "busy",
    "not-ready",
    "unasked",
    "not-kept",
    "not-found",
    "method",
];

impl Refusal {
    /// The status and the reason.
    fn class(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, "no-token"),
            Self::BadToken(_) => (StatusCode::UNAUTHORIZED, "bad-token"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::OtherNode { .. } => (StatusCode::FORBIDDEN, "other-node"),
            Self::Forged { .. } => (StatusCode::FORBIDDEN, "forged"),
            Self::UnknownPod(_) => (StatusCode::SERVICE_UNAVAILABLE, "unknown-pod"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Ahead(_) => (StatusCode::SERVICE_UNAVAILABLE, "ahead"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Self::Slow(_) => (StatusCode::REQUEST_TIMEOUT, "slow"),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type"),
            Self::Version { .. } => (StatusCode::UPGRADE_REQUIRED, "version"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many"),
            Self::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready"),
            Self::Unasked(_) => (StatusCode::SERVICE_UNAVAILABLE, "unasked"),
            Self::NotKept(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-kept"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method"),
        }
    }

    /// How long to wait before the request may be sent again unchanged, where that may help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait, .. } => Some(*wait),
            Self::UnknownPod(_) => Some(Duration::from_secs(5)),
            Self::Ahead(_) => Some(Duration::from_secs(60)),
            other => {
                let unavailable = other.class().0 == StatusCode::SERVICE_UNAVAILABLE;
                unavailable.then_some(Duration::from_secs(2))
            }
        }
    }

    /// Whether the connection is of no further use: its body was not read, or nobody good is at the other end.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::NoToken | Self::BadToken(_) | Self::TooLarge(_) | Self::Slow(_)
        )
    }

    fn problem(&self, status: StatusCode, reason: &str) -> Problem {
        let refused = match self {
            Self::Forged { refused, .. } => refused.iter().take(NAMED).cloned().collect(),
            _ => Vec::new(),
        };
        let upgrade = match self {
            Self::Version { upgrade, .. } => Some(*upgrade),
            _ => None,
        };
        Problem {
            kind: Some(format!("urn:netpol:problem:{reason}")),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: Some(self.to_string()),
            refused,
            upgrade,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, reason) = self.class();
        tracing::debug!(status = status.as_u16(), reason, "refused: {self}");
        let mut response = (status, Json(self.problem(status, reason))).into_response();
        response.extensions_mut().insert(Reason(reason));
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static(wire::PROBLEM_MEDIA_TYPE);
        headers.insert(header::CONTENT_TYPE, problem);
        if let Some(wait) = self.retry_after() {
            let seconds = wait.as_secs().max(1);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            let protocol = HeaderValue::from_static("netpol-wire/1");
            headers.insert(header::UPGRADE, protocol);
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted_by_a_reason_that_is_listed() {
        let all = [
            Refusal::NoToken,
            Refusal::BadToken(String::new()),
            Refusal::Forbidden(String::new()),
            Refusal::Malformed(String::new()),
            Refusal::Ahead(String::new()),
            Refusal::TooLarge(String::new()),
            Refusal::Slow(Duration::ZERO),
            Refusal::MediaType(String::new()),
            Refusal::Busy(""),
            Refusal::NotReady,
            Refusal::Unasked(String::new()),
            Refusal::NotKept(String::new()),
            Refusal::NotFound,
            Refusal::Method,
        ];
        for refusal in all {
            let response = refusal.clone().into_response();
            let Some(Reason(reason)) = response.extensions().get().copied() else {
                panic!("{refusal:?} bears no reason");
            };
            assert!(REASONS.contains(&reason), "{reason}");
            let retry = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(retry, response.status() == 503, "{refusal:?}");
        }
    }
}
