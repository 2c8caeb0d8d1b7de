//! An aggregator that answers what a test wants it to, and notes what it was asked.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The name that clients expect in its certificate.
pub(crate) const NAME: &str = "netpol-aggregator.netpol-system.svc";

/// A running aggregator.
pub(crate) struct Aggregator {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The authority that vouches for it, in PEM.
    pub(crate) authority: String,
    said: Arc<Mutex<Said>>,
}

/// What it answers, and what it was asked.
#[derive(Default)]
pub(crate) struct Said {
    /// At `/v1/flows`.
    pub(crate) flows: String,
    /// At `/v1/flows`, one answer after another, and no more then; `flows`, if there are none. A number is the status of
    /// a refusal.
    pub(crate) streams: Option<VecDeque<String>>,
    /// At `/v1/inventory`.
    pub(crate) inventory: String,
    /// At `/v1/status`.
    pub(crate) status: String,
    /// Instead of all of them.
    pub(crate) refusal: Option<(u16, String)>,
    /// Paths with queries, and every header.
    pub(crate) asked: Vec<(String, Vec<(String, String)>)>,
}

impl Aggregator {
    /// Starts one. Its certificate is for `name`.
    pub(crate) async fn start(name: &str) -> Self {
        let (authority, certificate, key) = certificates(name);
        let said = Arc::new(Mutex::new(Said::default()));
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&said));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        listener.set_nonblocking(true).expect("a socket of our own");
        let address = listener.local_addr().expect("a bound address");
        // Whichever test is first; it is the same for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = RustlsConfig::from_pem(certificate.into_bytes(), key.into_bytes()).await;
        let config = config.expect("a certificate and its key");
        let server = axum_server::from_tcp_rustls(listener, config).expect("a listener");
        tokio::spawn(server.serve(routes.into_make_service()));
        Self {
            address,
            authority,
            said,
        }
    }

    /// What it answers, and what it was asked.
    pub(crate) fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no test panics with the lock held")
    }

    /// The paths that it was asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.said()
            .asked
            .iter()
            .map(|(path, _)| path.clone())
            .collect()
    }
}

/// An authority, and a certificate of that name with its key, all in PEM.
pub(crate) fn certificates(name: &str) -> (String, String, String) {
    let authority_key = KeyPair::generate().expect("random numbers");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("random numbers");
    let leaf = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    (authority.pem(), leaf.pem(), key.serialize_pem())
}

async fn answer(State(said): State<Arc<Mutex<Said>>>, request: Request) -> Response {
    let headers = request.headers().iter().map(|(name, value)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    let headers: Vec<_> = headers.collect();
    let mut said = said.lock().expect("no test panics with the lock held");
    said.asked.push((request.uri().to_string(), headers));
    if let Some((code, body)) = &said.refusal {
        let code = StatusCode::from_u16(*code).expect("a status");
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        return (code, kind, body.clone()).into_response();
    }
    match request.uri().path() {
        "/v1/flows" => match said.streams.as_mut().map(VecDeque::pop_front) {
            None => said.flows.clone().into_response(),
            Some(Some(stream)) => match stream.parse() {
                Ok(code) => StatusCode::from_u16(code)
                    .expect("a status")
                    .into_response(),
                Err(_) => stream.into_response(),
            },
            Some(None) => StatusCode::FORBIDDEN.into_response(),
        },
        "/v1/inventory" => said.inventory.clone().into_response(),
        "/v1/status" => said.status.clone().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
