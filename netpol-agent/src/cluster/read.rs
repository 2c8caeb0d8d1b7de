//! What the aggregator is asked for, and its answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::error::{ClusterError, innermost};
use super::problem;
use super::tunnel::Tunnel;

/// The longest reason for a refusal that is read.
const REASON: usize = 64 << 10;

/// What can be asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// Flow records as JSON Lines; those that come from now on, too, with `follow`.
    Flows {
        /// Of one namespace only.
        namespace: Option<String>,
        /// Whether to go on.
        follow: bool,
    },
    /// The Kubernetes objects that the policy engine needs, as a `List`.
    Inventory {
        /// Of one namespace only, and what it talks to.
        namespace: Option<String>,
    },
    /// How netpol itself is.
    Status,
}

/// An answer while it is read.
pub struct Reply {
    path: String,
    body: Incoming,
    /// For each piece; none if pieces may come at any time.
    patience: Option<Duration>,
}

impl Question {
    /// Its path and query.
    #[must_use]
    pub fn path(&self) -> String {
        let (path, namespace, follow) = match self {
            Self::Flows { namespace, follow } => ("/v1/flows", namespace.as_ref(), *follow),
            Self::Inventory { namespace } => ("/v1/inventory", namespace.as_ref(), false),
            Self::Status => ("/v1/status", None, false),
        };
        let namespace = namespace.map(|name| format!("namespace={}", encode(name)));
        let follow = follow.then(|| "follow=true".to_owned());
        let query: Vec<String> = namespace.into_iter().chain(follow).collect();
        match query.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", query.join("&")),
        }
    }

    fn accept(&self) -> &'static str {
        match self {
            Self::Flows { .. } => "application/jsonl, application/x-ndjson, */*;q=0.1",
            Self::Inventory { .. } | Self::Status => "application/json",
        }
    }

    fn is_endless(&self) -> bool {
        matches!(self, Self::Flows { follow: true, .. })
    }
}

/// Asks, and waits for the head of the answer.
///
/// # Errors
///
/// A broken connection, or a refusal with its reason.
pub(super) async fn ask(
    tunnel: &mut Tunnel,
    question: &Question,
    patience: Duration,
) -> Result<Reply, ClusterError> {
    let path = question.path();
    let failed = |message: String, code| ClusterError::Aggregator {
        path: path.clone(),
        message,
        code,
    };
    let answer = timeout(patience, tunnel.get(&path, question.accept())).await;
    let answer = answer.map_err(|_| failed("no answer in time".to_owned(), None))?;
    let answer: Response<Incoming> = answer.map_err(|message| failed(message, None))?;
    let status = answer.status();
    let mut reply = Reply {
        path: path.clone(),
        body: answer.into_body(),
        patience: (!question.is_endless()).then_some(patience),
    };
    if status.is_success() {
        return Ok(reply);
    }
    reply.patience = Some(patience);
    let reason = reply.whole(REASON).await.unwrap_or_default();
    let code = status.as_u16();
    Err(failed(problem::sentence(code, &reason), Some(code)))
}

impl Reply {
    /// The next piece; none at the end.
    ///
    /// # Errors
    ///
    /// A connection that broke, or that says nothing for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClusterError> {
        loop {
            let frame = match self.patience {
                Some(patience) => timeout(patience, self.body.frame())
                    .await
                    .map_err(|_| self.broken("nothing more came in time"))?,
                None => self.body.frame().await,
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.broken(&innermost(&error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// All of it, if it is at most so many bytes.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next), and an answer that is longer.
    pub async fn whole(&mut self, most: usize) -> Result<Vec<u8>, ClusterError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if all.len() + piece.len() > most {
                return Err(self.broken(&format!("it is longer than {most} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    fn broken(&self, reason: &str) -> ClusterError {
        ClusterError::Aggregator {
            path: self.path.clone(),
            message: format!("the answer broke off: {reason}"),
            code: None,
        }
    }
}

/// What stands for itself in a query, and the rest by its bytes (RFC 3986, section 2).
fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_paths() {
        let shop = || Some("shop".to_owned());
        let flows = |namespace, follow| Question::Flows { namespace, follow };
        let cases = [
            (flows(None, false), "/v1/flows"),
            (flows(shop(), false), "/v1/flows?namespace=shop"),
            (flows(shop(), true), "/v1/flows?namespace=shop&follow=true"),
            (flows(None, true), "/v1/flows?follow=true"),
            (
                Question::Inventory {
                    namespace: Some("a&b/\u{e9}".to_owned()),
                },
                "/v1/inventory?namespace=a%26b%2F%C3%A9",
            ),
            (Question::Status, "/v1/status"),
        ];
        for (question, path) in cases {
            assert_eq!(question.path(), path);
        }
    }
}
