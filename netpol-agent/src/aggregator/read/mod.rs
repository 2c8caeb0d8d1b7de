//! What people read: flows, the objects that the policy engine needs, and how the aggregator itself is.
//!
//! Answers are made part by part while they are sent, so that neither their length nor a slow reader takes memory, and only
//! so many at the same time.

pub(super) mod flows;
pub(super) mod inventory;
pub(super) mod status;
mod stream;

pub use status::{ObserverStatus, Status};

use std::net::SocketAddr;

use axum::http::HeaderMap;
use serde::Deserialize;

use super::app::App;
use super::refusal::Refusal;

/// Bytes of a namespace's name at most (RFC 1123).
const NAMESPACE: usize = 63;

/// What a reader asks for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Of this namespace only, and what it talks to; of all, if it is absent.
    namespace: Option<String>,
}

/// The namespace that is asked for.
///
/// # Errors
///
/// [`Refusal::Malformed`] if it cannot be one.
fn checked(namespace: Option<&str>) -> Result<Option<&str>, Refusal> {
    let usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match namespace {
        Some(name) if name.is_empty() || name.len() > NAMESPACE || !name.bytes().all(usual) => {
            Err(Refusal::Malformed(format!(
                "namespace: {name:?} is not the name of a namespace"
            )))
        }
        other => Ok(other),
    }
}

/// Lets a reader in.
async fn admit(
    app: &App,
    headers: &HeaderMap,
    peer: SocketAddr,
    namespace: Option<&str>,
) -> Result<(), Refusal> {
    app.authority.reader(headers, peer.ip(), namespace).await?;
    app.whole_since().map(drop)
}
