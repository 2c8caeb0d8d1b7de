//! The node agents of the simulated cluster: each with an address, a token and a connection of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use netpol_agent::observe::ObservedEdge;
use netpol_agent::wire;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use super::api::REPLACED;
use super::children::{HOST, Place};
use super::world::{EDGES, REPLICAS, Seen, World, delivery, edge};

/// Between two deliveries of an agent at least; up to half as much again is added by chance.
const INTERVAL: Duration = Duration::from_secs(5);
/// Over how long agents are spread when they come, or come back.
const SPREAD: f64 = 30.0;
/// Of how many edges an agent tells one in every delivery, once it has told all of them.
const ACTIVE: usize = 10;
/// Bytes of a projected token.
const TOKEN: usize = 1_100;

/// How to reach the aggregator.
#[derive(Clone)]
pub(crate) struct Way {
    address: SocketAddr,
    tls: TlsConnector,
}

/// An open connection.
pub(crate) struct Line(SendRequest<Full<Bytes>>);

/// An answer: its status, and how long the sender is to wait, if it says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    wait: Option<Duration>,
    pub(crate) length: usize,
}

impl Way {
    pub(crate) fn to(place: &Place) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(place.authority.as_bytes())?)?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address: place.api(),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Connects from an address of this machine.
    pub(crate) async fn connect(&self, from: IpAddr) -> Result<Line> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self
            .tls
            .connect(ServerName::try_from(HOST)?, stream)
            .await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // A connection that ends is found out by who sends on it.
        tokio::spawn(connection);
        Ok(Line(sender))
    }
}

impl Line {
    pub(crate) async fn post(&mut self, token: &str, body: Bytes) -> Result<Answer> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/batches")
            .header(wire::VERSION_HEADER, "1")
            .header(header::CONTENT_TYPE, wire::MEDIA_TYPE)
            .header(header::CONTENT_ENCODING, "zstd");
        self.send(request, token, body).await
    }

    pub(crate) async fn get(&mut self, token: &str, path: &str) -> Result<Answer> {
        let request = Request::builder().uri(path);
        self.send(request, token, Bytes::new()).await
    }

    async fn send(
        &mut self,
        request: hyper::http::request::Builder,
        token: &str,
        body: Bytes,
    ) -> Result<Answer> {
        let request = request
            .header(header::HOST, HOST)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::new(body))?;
        self.0.ready().await?;
        let answer = self.0.send_request(request).await?;
        let wait = answer.headers().get(header::RETRY_AFTER);
        let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Answer {
            status,
            wait: wait.map(Duration::from_secs),
            length: body.len(),
        })
    }
}

/// The token of a node's agent, as long as real ones are.
pub(crate) fn token(node: usize) -> String {
    format!("agent-{node}.{}", "x".repeat(TOKEN))
}

/// The address that an agent comes from.
pub(crate) fn from(node: usize) -> IpAddr {
    Ipv4Addr::from(0x7f01_0000 + node as u32).into()
}

/// What all agents share.
pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) way: Way,
    /// How many workloads have had a pod of theirs replaced.
    pub(crate) replaced: AtomicUsize,
    /// Agents that have told all their edges.
    pub(crate) complete: AtomicUsize,
    pub(crate) edges: AtomicU64,
    pub(crate) stop: AtomicBool,
    pub(crate) book: Mutex<Book>,
}

/// What came of deliveries.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Answers by their status; `0` where there was none.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// How long those took that were acknowledged, in milliseconds.
    pub(crate) times: Vec<f64>,
}

impl Fleet {
    pub(crate) fn new(world: World, way: Way) -> Self {
        Self {
            world,
            way,
            replaced: AtomicUsize::new(0),
            complete: AtomicUsize::new(0),
            edges: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            book: Mutex::default(),
        }
    }

    /// What came of deliveries since this was last asked.
    pub(crate) fn take_book(&self) -> Book {
        std::mem::take(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn generation(&self, pod: usize) -> u8 {
        let replaced = self.replaced.load(Ordering::Relaxed);
        u8::from(pod % REPLICAS == REPLACED && pod / REPLICAS < replaced)
    }

    fn note(&self, answer: Option<Answer>, took: Duration) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let status = answer.map_or(0, |answer| answer.status);
        *book.answers.entry(status).or_default() += 1;
        if status == 200 {
            book.times.push(took.as_secs_f64() * 1e3);
        }
    }

    /// Plays the agent of a node until it is told to stop.
    pub(crate) async fn play(self: Arc<Self>, node: usize) {
        let mut agent = Player::new(&self, node);
        let mut line = None;
        sleep(Duration::from_secs_f64(fastrand::f64() * SPREAD)).await;
        while !self.stop.load(Ordering::Relaxed) {
            let edges = agent.edges();
            let count = edges.len() as u64;
            let Ok(body) = wire::encode(&delivery(node, agent.sequence, edges)) else {
                return;
            };
            let begin = Instant::now();
            let answer = self.deliver(&mut line, node, body.into()).await;
            self.note(answer.as_ref().ok().copied(), begin.elapsed());
            let pause = match answer {
                Ok(Answer { status: 200, .. }) => {
                    self.edges.fetch_add(count, Ordering::Relaxed);
                    agent.acknowledged();
                    INTERVAL.mul_f64(1.0 + fastrand::f64() / 2.0)
                }
                Ok(Answer { wait, .. }) => wait
                    .unwrap_or(INTERVAL)
                    .mul_f64(1.0 + fastrand::f64() / 2.0),
                Err(_) => {
                    line = None;
                    Duration::from_secs_f64(fastrand::f64() * SPREAD)
                }
            };
            sleep(pause).await;
        }
    }

    async fn deliver(&self, line: &mut Option<Line>, node: usize, body: Bytes) -> Result<Answer> {
        if line.is_none() {
            *line = Some(self.way.connect(from(node)).await?);
        }
        let line = line.as_mut().context("a connection")?;
        line.post(&token(node), body).await
    }
}

/// One agent's view of its pods.
struct Player<'a> {
    fleet: &'a Fleet,
    pods: Vec<usize>,
    sequence: u64,
    /// Which generations of both pods every edge was told of last, in the order of pods and their edges.
    told: Vec<Option<(u8, u8)>>,
    /// The same, once what is on its way has been acknowledged.
    next: Vec<Option<(u8, u8)>>,
}

impl<'a> Player<'a> {
    fn new(fleet: &'a Fleet, node: usize) -> Self {
        let pods: Vec<usize> = fleet.world.on(node).collect();
        let told = vec![None; pods.len() * EDGES];
        Self {
            fleet,
            sequence: 1,
            next: told.clone(),
            told,
            pods,
        }
    }

    /// What is new, and some of what is not.
    fn edges(&mut self) -> Vec<ObservedEdge> {
        let now = Timestamp::now();
        let begun = self.fleet.world.began + SignedDuration::from_secs(60);
        let mut all = Vec::new();
        let known = self.told.iter().zip(&mut self.next);
        let edges = self.pods.iter().flat_map(|pod| {
            let edges = self.fleet.world.edges(*pod);
            edges.map(move |edge| (*pod, edge))
        });
        for ((pod, (other, port, direction)), (told, next)) in edges.zip(known) {
            let own = self.fleet.generation(pod);
            let both = (own, self.fleet.generation(other));
            if *told == Some(both) && fastrand::usize(..ACTIVE) > 0 {
                continue;
            }
            *next = Some(both);
            let seen = Seen {
                count: self.sequence * 3,
                first: if both == (0, 0) { begun } else { now },
                last: now,
            };
            all.push(edge((pod, own), (other, both.1), (port, direction), seen));
        }
        all
    }

    fn acknowledged(&mut self) {
        if self.sequence == 1 {
            self.fleet.complete.fetch_add(1, Ordering::Relaxed);
        }
        self.sequence += 1;
        self.told.clone_from(&self.next);
    }
}
