//! Metrics and probes, over plain HTTP: for Prometheus and the kubelet, which bear no token.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::app::App;
use crate::metrics::{MEDIA_TYPE, Metrics};

/// What the probes ask.
#[derive(Clone)]
struct Probed {
    app: Arc<App>,
    metrics: Metrics,
}

pub(super) fn routes(app: Arc<App>, metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Probed { app, metrics })
}

async fn scrape(State(probed): State<Probed>) -> Response {
    let text = tokio::task::spawn_blocking(move || probed.metrics.text()).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(probed): State<Probed>) -> Response {
    match probed.app.whole_since() {
        Ok(_) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
