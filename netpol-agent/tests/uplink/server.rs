//! A small aggregator that does what a test tells it to.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use netpol_agent::observe::{Batch, PodIdentity};
use netpol_agent::wire::{self, Delivery, Encoding, Problem, Side};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// What is done to the next request instead of taking it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answered with that status, and the header `Retry-After`.
    Status(u16, Option<&'static str>),
    /// The body of the answer breaks off, though everything was made durable.
    Cut,
    /// Everything is made durable, and the answer acknowledges nothing.
    Silent,
    /// Answered late.
    Late(Duration),
}

/// What is refused for as long as it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) token: Option<&'static str>,
    pub(crate) most_batches: Option<usize>,
    pub(crate) most_edges: Option<usize>,
    pub(crate) malformed: Option<u64>,
    pub(crate) foreign: Option<PodIdentity>,
    pub(crate) upgrade: Option<Side>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) rules: Rules,
    /// What was made durable, in the order in which it came.
    pub(crate) batches: Vec<Batch>,
    /// When requests came.
    pub(crate) requests: Vec<Instant>,
}

/// An authority that signs servers' certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The aggregator. It goes away when it is stopped, and comes back at the same port.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Seen>>,
    handle: Handle<SocketAddr>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn serve(&self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

impl Server {
    pub(crate) fn start(authority: &Authority) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::serve(authority, address, Arc::default())
    }

    /// Comes back after [`Server::stop`].
    pub(crate) fn again(&mut self, authority: &Authority) {
        *self = Self::serve(authority, self.address, Arc::clone(&self.seen));
    }

    /// Cuts every connection.
    pub(crate) fn stop(&self) {
        self.handle.shutdown();
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.seen.lock().unwrap())
    }

    fn serve(authority: &Authority, address: SocketAddr, seen: Arc<Mutex<Seen>>) -> Self {
        let listener = listen(address);
        let address = listener.local_addr().unwrap();
        let handle = Handle::new();
        let config = RustlsConfig::from_config(Arc::new(authority.serve()));
        let routes = Router::new()
            .route(wire::BATCHES, post(take))
            .layer(DefaultBodyLimit::max(wire::MOST_TRANSFERRED))
            .with_state(Arc::clone(&seen));
        let server = axum_server::from_tcp_rustls(listener, config)
            .unwrap()
            .handle(handle.clone());
        tokio::spawn(server.serve(routes.into_make_service()));
        Self {
            address,
            seen,
            handle,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The port may be held for a moment by connections that are being cut.
fn listen(address: SocketAddr) -> TcpListener {
    let tries = (0..100).find_map(|_| {
        let listener = TcpListener::bind(address).ok();
        if listener.is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        listener
    });
    let listener = tries.expect("the port is still taken");
    listener.set_nonblocking(true).unwrap();
    listener
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers[wire::VERSION_HEADER], "1");
    assert_eq!(headers[header::CONTENT_TYPE], wire::MEDIA_TYPE);
    let encoding = headers[header::CONTENT_ENCODING].to_str().unwrap();
    let delivery = wire::decode(&body, Encoding::of(Some(encoding)).unwrap()).unwrap();
    let (fault, refused) = {
        let mut seen = seen.lock().unwrap();
        seen.requests.push(Instant::now());
        (
            seen.faults.pop_front(),
            seen.rules.refuse(&headers, &delivery),
        )
    };
    if let Some(refused) = refused {
        return refused;
    }
    let durable = || {
        let batches = delivery.batches.iter().map(|batch| batch.as_ref().clone());
        seen.lock().unwrap().batches.extend(batches);
        Json(delivery.acknowledgement()).into_response()
    };
    match fault {
        None => durable(),
        Some(Fault::Late(wait)) => {
            tokio::time::sleep(wait).await;
            durable()
        }
        Some(Fault::Cut) => {
            drop(durable());
            let pieces = [
                Ok(Bytes::from_static(b"{\"acknowl")),
                Err(std::io::Error::other("cut")),
            ];
            Response::new(Body::from_stream(futures::stream::iter(pieces)))
        }
        Some(Fault::Silent) => {
            drop(durable());
            "{\"acknowledged\":[]}".into_response()
        }
        Some(Fault::Status(status, None)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Fault::Status(status, Some(wait))) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [(header::RETRY_AFTER, wait)]).into_response()
        }
    }
}

impl Rules {
    fn refuse(&self, headers: &HeaderMap, delivery: &Delivery) -> Option<Response> {
        let told = headers[header::AUTHORIZATION].to_str().unwrap();
        if self
            .token
            .is_some_and(|token| told != format!("Bearer {token}"))
        {
            return Some(problem(401, Problem::default()));
        }
        if let Some(side) = self.upgrade {
            let upgrade = Some(side);
            return Some(problem(
                426,
                Problem {
                    upgrade,
                    ..Problem::default()
                },
            ));
        }
        let edges = delivery.batches.iter().map(|batch| batch.edges.len()).sum();
        let too_many = |most: Option<usize>, count: usize| most.is_some_and(|most| count > most);
        if too_many(self.most_batches, delivery.batches.len()) || too_many(self.most_edges, edges) {
            return Some(problem(413, Problem::default()));
        }
        let mut batches = delivery.batches.iter();
        let about = |batch: &&Arc<Batch>| !batch.edges.is_empty();
        if batches
            .clone()
            .filter(about)
            .any(|batch| Some(batch.sequence) == self.malformed)
        {
            let detail = Some("edges[0].port: is not to my taste".to_owned());
            return Some(problem(
                400,
                Problem {
                    detail,
                    ..Problem::default()
                },
            ));
        }
        let foreign = self.foreign.as_ref()?;
        let of_it = |batch: &Arc<Batch>| {
            let mut pods = batch.edges.iter().map(|edge| &edge.pod);
            pods.any(|pod| pod == foreign)
        };
        batches.any(of_it).then(|| {
            let refused = vec![foreign.clone()];
            problem(
                403,
                Problem {
                    refused,
                    ..Problem::default()
                },
            )
        })
    }
}

fn problem(status: u16, problem: Problem) -> Response {
    let problem = Problem { status, ..problem };
    let kind = [(header::CONTENT_TYPE, wire::PROBLEM_MEDIA_TYPE)];
    (StatusCode::from_u16(status).unwrap(), kind, Json(problem)).into_response()
}
