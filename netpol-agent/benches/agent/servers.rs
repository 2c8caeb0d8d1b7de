//! What the agent talks to: a double of the API server with its node and pods, and one of the aggregator, over TLS.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use futures::stream;
use netpol_agent::wire::{self, Encoding};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::lab::NODE;

type Parameters = std::collections::BTreeMap<String, String>;

/// Both servers, on threads of their own.
pub(crate) struct Servers {
    arguments: Vec<String>,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

/// What came.
#[derive(Debug, Default)]
struct Seen {
    pods: Vec<Value>,
    deliveries: AtomicUsize,
    /// Every edge, by its key.
    edges: Mutex<BTreeSet<String>>,
}

impl Servers {
    /// Starts both; what the agent is to know of them goes into files of the directory.
    pub(crate) fn start(directory: &Path, pods: &[Ipv4Addr]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let seen = Arc::new(Seen {
            pods: pods.iter().enumerate().map(pod).collect(),
            ..Seen::default()
        });
        let api = serve_api(&runtime, Arc::clone(&seen))?;
        let (aggregator, authority) = serve_aggregator(&runtime, Arc::clone(&seen))?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{api}")}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        let file = |name: &str, text: &str| -> Result<String> {
            let path = directory.join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let arguments = vec![
            "--kubeconfig".to_owned(),
            file("kubeconfig", &config.to_string())?,
            "--aggregator".to_owned(),
            format!("https://localhost:{}", aggregator.port()),
            "--aggregator-ca".to_owned(),
            file("ca.crt", &authority)?,
            "--aggregator-token".to_owned(),
            file("token", &"x".repeat(1_100))?,
        ];
        Ok(Self {
            arguments,
            seen,
            _runtime: runtime,
        })
    }

    /// What the agent is told of them.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// How many distinct edges were told.
    pub(crate) fn edges(&self) -> usize {
        let edges = self.seen.edges.lock();
        edges.unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn deliveries(&self) -> usize {
        self.seen.deliveries.load(Ordering::Relaxed)
    }
}

fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn serve_api(runtime: &Runtime, seen: Arc<Seen>) -> Result<SocketAddr> {
    let (listener, address) = listen()?;
    let routes = Router::new().fallback(api).with_state(seen);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, routes).await
    });
    Ok(address)
}

async fn api(State(seen): State<Arc<Seen>>, uri: Uri, Query(query): Query<Parameters>) -> Response {
    if query.contains_key("watch") {
        // Nothing ever happens.
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let items = match uri.path() {
        "/api/v1/pods" => seen.pods.clone(),
        "/api/v1/nodes" => vec![json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE, "uid": "node", "creationTimestamp": "2026-02-02T00:00:00Z"},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.88.0.1"}]},
        })],
        _ => Vec::new(),
    };
    let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
    Json(list).into_response()
}

/// A pod of that address, alone in its workload.
fn pod((number, address): (usize, &Ipv4Addr)) -> Value {
    let name = format!("service-{number:03}");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{name}-5d8c7b-abcde"), "namespace": "bench", "uid": format!("00000000-0000-4000-8000-{number:012}"),
            "creationTimestamp": "2026-02-02T00:00:00Z", "generateName": format!("{name}-5d8c7b-"),
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/version": "1.2.3", "pod-template-hash": "5d8c7b"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-5d8c7b"), "uid": "x", "controller": true}],
        },
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": "2026-02-02T00:00:00Z"},
    })
}

/// Serves, and tells the authority of its certificate.
fn serve_aggregator(runtime: &Runtime, seen: Arc<Seen>) -> Result<(SocketAddr, String)> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let own = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![own.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
    let config = RustlsConfig::from_config(Arc::new(config));
    let (listener, address) = listen()?;
    let routes = Router::new()
        .fallback(take)
        .layer(DefaultBodyLimit::max(wire::MOST_TRANSFERRED))
        .with_state(seen);
    let _context = runtime.enter();
    let server = axum_server::from_tcp_rustls(listener, config).context("a server")?;
    runtime.spawn(server.serve(routes.into_make_service()));
    Ok((address, authority.pem()))
}

/// Takes a delivery in; or tells that nothing is durable, which is what everything else asks.
async fn take(State(seen): State<Arc<Seen>>, body: Bytes) -> Response {
    if body.is_empty() {
        return Json(json!({"acknowledged": []})).into_response();
    }
    let Ok(delivery) = wire::decode(&body, Encoding::Zstd) else {
        return axum::http::StatusCode::BAD_REQUEST.into_response();
    };
    seen.deliveries.fetch_add(1, Ordering::Relaxed);
    let mut edges = seen.edges.lock().unwrap_or_else(PoisonError::into_inner);
    let told = delivery.batches.iter().flat_map(|batch| &batch.edges);
    edges.extend(told.map(|edge| format!("{:?}", edge.key)));
    drop(edges);
    Json(delivery.acknowledgement()).into_response()
}
