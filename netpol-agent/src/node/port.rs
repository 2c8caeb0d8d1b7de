//! The node agent's own port: metrics and a probe, over plain HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::Handle;
use tokio::net::TcpListener;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::metrics::{METRICS, Nodes};
use crate::metrics::{MEDIA_TYPE, Metrics};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many requests are worked on at a time.
const REQUESTS: usize = 4;
/// Bytes of a request's header at most.
const HEADER: usize = 16 << 10;

/// What is asked.
#[derive(Clone)]
struct Asked {
    metrics: Metrics,
    nodes: Arc<Nodes>,
}

/// The port at work; it is closed when this is dropped.
#[derive(Debug)]
pub struct Port {
    handle: Handle<SocketAddr>,
}

impl Port {
    /// Serves what `nodes` tell. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub async fn open(address: SocketAddr, nodes: Arc<Nodes>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?.into_std()?;
        let address = listener.local_addr()?;
        let metrics = Metrics::new(METRICS);
        metrics.add(Arc::clone(&nodes) as _);
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(listener)?
            .handle(handle.clone())
            .http1_only();
        let mut http = server.http_builder().http1();
        http.header_read_timeout(PATIENCE).max_buf_size(HEADER);
        let routes = routes(Asked { metrics, nodes });
        tokio::spawn(server.serve(routes.into_make_service()));
        tracing::info!(%address, "serving metrics");
        Ok(Self { handle })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn routes(asked: Asked) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .with_state(asked)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            PATIENCE,
        ))
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS))
}

async fn scrape(State(asked): State<Asked>) -> Response {
    let text = tokio::task::spawn_blocking(move || asked.metrics.text()).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Healthy is an agent all of whose observers answer. That the aggregator is away is no reason to restart it.
async fn health(State(asked): State<Asked>) -> Response {
    let reports = tokio::task::spawn_blocking(move || asked.nodes.reports()).await;
    let silent: Vec<String> = match reports {
        Ok(reports) => {
            let silent = reports.into_iter().filter(|(_, report)| report.is_none());
            silent.map(|(node, _)| node).collect()
        }
        Err(_) => vec!["any node".to_owned()],
    };
    if silent.is_empty() {
        return "ok\n".into_response();
    }
    let text = format!("the observer of {} does not answer\n", silent.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
