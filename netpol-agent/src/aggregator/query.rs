//! Parts of the path and the query of a request, refused as everything else is.

use axum::extract::{FromRequestParts, Path, Query as Plain};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// What the query says.
#[derive(Clone, Debug)]
pub(super) struct Query<T>(pub(super) T);

/// What the path says.
#[derive(Clone, Debug)]
pub(super) struct Param<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = Plain::try_from_uri(&parts.uri);
        let Plain(query) = query
            .map_err(|wrong| Refusal::Malformed(format!("the query: {}", wrong.body_text())))?;
        Ok(Self(query))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Param<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        let Path(path) =
            path.map_err(|wrong| Refusal::Malformed(format!("the path: {}", wrong.body_text())))?;
        Ok(Self(path))
    }
}
