//! What is served where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::app::App;
use super::batches::{deliver, durable};
use super::openapi;
use super::read::flows::flows;
use super::read::inventory::inventory;
use super::read::status::status;
use super::refusal::{Reason, Refusal};
use crate::wire;

/// The API, which is served over TLS.
pub(super) fn api(app: Arc<App>) -> Router {
    let counted = middleware::from_fn_with_state(Arc::clone(&app), count);
    Router::new()
        .route(wire::BATCHES, post(deliver))
        .route(&format!("{}/{{observer}}", wire::BATCHES), get(durable))
        .route("/v1/flows", get(flows))
        .route("/v1/inventory", get(inventory))
        .route("/v1/status", get(status))
        .route(openapi::PATH, get(described))
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::Method)
        .layer(counted)
        .with_state(app)
}

/// The OpenAPI document.
async fn described() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        openapi::document(),
    )
}

/// Counts refused requests by reason, and states the version of the protocol.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(Reason(reason)) = response.extensions().get() {
        app.counts.refused(reason);
    }
    let version = HeaderValue::from_static("1");
    response.headers_mut().insert(wire::VERSION_HEADER, version);
    response
}
