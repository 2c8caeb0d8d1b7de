//! The parts of an aggregator, put together.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::app::App;
use super::intake::Intake;
use super::limits::Limits;
use super::metrics::{METRICS, OfKeeper, OfServer};
use super::server::{Serving, plain, secure};
use super::tls::{Files, Secrets, Served, TlsError, TlsSource};
use super::{probes, routes};
use crate::keeper::{Handle, KeepError};
use crate::lead::Leader;
use crate::metrics::Metrics;
use crate::store::StoreError;

/// What an aggregator is made of.
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// The namespace that netpol is installed in.
    pub namespace: String,
    /// Where the API is served, over TLS.
    pub listen: SocketAddr,
    /// Where metrics and probes are served, over plain HTTP.
    pub metrics_listen: SocketAddr,
    /// Where key and certificate come from.
    pub tls: TlsSource,
    /// Every bound.
    pub limits: Limits,
    /// Where batches go.
    pub intake: Arc<dyn Intake>,
    /// What is read, and the index that tells who was where.
    pub keeper: Handle,
    /// Turns true once the index is whole.
    pub ready: watch::Receiver<bool>,
    /// Whether this replica leads.
    pub leader: Leader,
}

/// Why an aggregator cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: name another one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Key and certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS itself.
    #[error("cannot serve over TLS")]
    Rustls(#[from] rustls::Error),
    /// A kubeconfig.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The process runs in no cluster.
    #[error("this process does not run in a cluster: name one with --kubeconfig")]
    InCluster(#[source] kube::config::InClusterError),
    /// A client cannot be made.
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keeper of edges.
    #[error(transparent)]
    Keeper(#[from] KeepError),
    /// The state directory.
    #[error("cannot use the state directory {path}")]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another aggregator uses the state directory.
    #[error(
        "another process uses the state directory {path}: stop it, or name another directory with --state-dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A part ended by itself.
    #[error("the {0} ended by a fault: look at the lines above")]
    Fault(&'static str),
}

/// An aggregator at work.
#[derive(Debug)]
pub struct Running {
    api: Serving,
    probes: Serving,
    metrics: Metrics,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

/// Starts to serve.
///
/// # Errors
///
/// A port that is taken, or a certificate that cannot be had.
pub async fn start(parts: Parts) -> Result<Running, AggregatorError> {
    let (listener, metrics_listener) = (bind(parts.listen)?, bind(parts.metrics_listen)?);
    let served = Arc::new(Served::default());
    let mut tasks = vec![("certificate", keep_tls(&parts, &served).await?)];
    let (whole, since) = watch::channel(None);
    let ready = parts.ready.clone();
    tasks.push(("watch", tokio::spawn(note_whole(ready, whole))));
    let app = Arc::new(App::new(&parts, since));
    let counting = Arc::clone(&app);
    let api = secure(
        listener,
        routes::api(Arc::clone(&app)),
        served.server()?,
        &parts.limits,
        Arc::new(move || counting.counts.refused("connection")),
    );
    let api = api.map_err(listening(parts.listen))?;
    let metrics = Metrics::new(METRICS);
    metrics.add(Arc::new(OfServer {
        app: Arc::clone(&app),
        door: api.door.clone(),
        served,
    }));
    metrics.add(Arc::new(OfKeeper {
        keeper: parts.keeper,
        leader: parts.leader,
    }));
    let probes = probes::routes(app, metrics.clone());
    let probes = plain(metrics_listener, probes, &parts.limits);
    let probes = probes.map_err(listening(parts.metrics_listen))?;
    Ok(Running {
        api,
        probes,
        metrics,
        tasks,
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, AggregatorError> {
    let mut bound = TcpListener::bind(address);
    if bound.is_err() && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // There may be no IPv6 here. If there is, the port is taken in any case.
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()));
    }
    bound.map_err(listening(address))
}

fn listening(address: SocketAddr) -> impl FnOnce(io::Error) -> AggregatorError {
    move |source| AggregatorError::Listen { address, source }
}

impl Running {
    /// Where the API is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.api.address
    }

    /// Where metrics and probes are served.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.probes.address
    }

    /// The metrics, for other parts of the process to tell theirs; see [`METRICS`].
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The part that has ended by itself, if one has.
    #[must_use]
    pub fn fault(&self) -> Option<AggregatorError> {
        let ended = self.tasks.iter().find(|(_, task)| task.is_finished());
        let ended = ended.map(|(name, _)| *name);
        let servers = self.api.has_ended() || self.probes.has_ended();
        let ended = ended.or_else(|| servers.then_some("server"));
        ended.map(AggregatorError::Fault)
    }

    /// Takes nothing more in, finishes what is under way, and ends.
    pub async fn stop(self) {
        self.api.stop().await;
        self.probes.stop().await;
        for (_, task) in self.tasks {
            task.abort();
        }
    }
}

/// Gets a certificate to serve with, and keeps it up to date from then on.
async fn keep_tls(parts: &Parts, served: &Arc<Served>) -> Result<JoinHandle<()>, TlsError> {
    let client = parts.client.clone();
    let served = Arc::clone(served);
    match parts.tls.clone() {
        TlsSource::Secret => {
            let secrets = Secrets::new(client, &parts.namespace, served);
            secrets.keep(Timestamp::now()).await?;
            Ok(tokio::spawn(async move { match secrets.run().await {} }))
        }
        TlsSource::Files {
            certificate,
            key,
            authority,
        } => {
            let files = Files {
                certificate,
                key,
                authority,
                served,
                config_maps: Files::config_maps(client, &parts.namespace),
            };
            files.keep().await?;
            Ok(tokio::spawn(async move { match files.run().await {} }))
        }
    }
}

/// Notes when the index became whole, and waits for ever then.
async fn note_whole(mut ready: watch::Receiver<bool>, whole: watch::Sender<Option<Timestamp>>) {
    if ready.wait_for(|ready| *ready).await.is_ok() {
        whole.send_replace(Some(Timestamp::now()));
    }
    std::future::pending().await
}
