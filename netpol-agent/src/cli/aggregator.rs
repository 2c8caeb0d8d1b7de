//! `netpol-agent aggregator`: takes in what the node agents of a cluster deliver.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use netpol_common::names::cluster;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::agent::host_name;
use super::node::retention;
use crate::aggregator::{self, Keeping, Limits, Options, TlsSource};
use crate::store::Database;

/// How long threads may take to end after all else has ended.
const WIND_UP: Duration = Duration::from_secs(5);

/// Take in what the node agents of a cluster see, and answer who reads it.
///
/// It serves until SIGTERM or SIGINT, then finishes what is under way. It needs rights on the cluster that it runs in; the
/// chart states them.
#[derive(Args, Debug)]
pub struct Aggregator {
    /// Where the API is served, over TLS
    #[arg(
        long,
        env = "NETPOL_LISTEN",
        default_value_t = any(cluster::AGGREGATOR_PORT),
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// Where metrics and probes are served, over plain HTTP
    #[arg(
        long,
        env = "NETPOL_METRICS_LISTEN",
        default_value_t = any(cluster::AGGREGATOR_METRICS_PORT),
        value_name = "ADDRESS"
    )]
    metrics_listen: SocketAddr,
    /// The namespace that netpol is installed in
    #[arg(long, env = "NETPOL_NAMESPACE", default_value = cluster::NAMESPACE, value_name = "NAME")]
    namespace: String,
    /// Aggregate the cluster that this file names, instead of the one that this process runs in
    #[arg(long, env = "NETPOL_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where the graph is kept
    #[arg(
        long,
        env = "NETPOL_STATE_DIR",
        default_value = "/var/lib/netpol",
        value_name = "DIR"
    )]
    state_dir: PathBuf,
    /// Keep the graph in this PostgreSQL database instead, which two replicas may share:
    /// postgresql://USER:PASSWORD@HOST[:PORT]/NAME; over TLS, the server's certificate checked, unless it ends in ?sslmode=disable
    #[arg(
        long,
        env = "NETPOL_POSTGRES",
        hide_env_values = true,
        value_name = "URL",
        value_parser = database
    )]
    postgres: Option<Url>,
    /// Check PostgreSQL's certificate by the authorities in this file, in PEM, which is read again for every connection
    /// [default: sslrootcert in the URL, or those that this machine trusts]
    #[arg(
        long,
        env = "NETPOL_POSTGRES_CA",
        value_name = "FILE",
        requires = "postgres"
    )]
    postgres_ca: Option<PathBuf>,
    /// The name of this replica's pod, by which the Lease says which one leads [default: this machine's name]
    #[arg(long, env = "NETPOL_POD", value_name = "NAME")]
    pod: Option<String>,
    /// How long pods, services and edges are remembered after they were last seen, e.g. 720h; at least 25h
    #[arg(long, env = "NETPOL_RETENTION", default_value = "720h", value_name = "TIME", value_parser = retention)]
    retention: Duration,
    /// Serve with tls.crt and tls.key of this directory, in PEM, which somebody else renews, instead of with a certificate
    /// that the aggregator makes; ca.crt of it is published for the agents
    #[arg(long, env = "NETPOL_TLS_DIR", value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Connections to the API at most
    #[arg(long, env = "NETPOL_CONNECTIONS", default_value_t = Limits::default().connections, value_name = "N")]
    connections: usize,
    /// Print the OpenAPI document of the API, and do nothing else
    #[arg(long)]
    print_openapi: bool,
}

impl Aggregator {
    /// Aggregates until told to stop.
    ///
    /// # Errors
    ///
    /// What is missing or wrong, and what to do about it.
    #[expect(clippy::print_stdout, reason = "the document is what was asked for")]
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.print_openapi {
            print!("{}", aggregator::document());
            return Ok(ExitCode::SUCCESS);
        }
        allow_files();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let served = runtime.block_on(self.serve());
        // Nobody waits for what is still read out for somebody.
        runtime.shutdown_timeout(WIND_UP);
        served.map(|()| ExitCode::SUCCESS)
    }

    async fn serve(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let on = |kind| signal(kind).context("cannot listen for signals");
        let (mut terminate, mut interrupt) =
            (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.cancel();
        });
        aggregator::run(self.options()?, stop).await?;
        Ok(())
    }

    fn options(self) -> anyhow::Result<Options> {
        let keeping = match self.postgres {
            None => Keeping::Directory(self.state_dir),
            Some(Url(url)) => Keeping::Shared {
                database: Database::Url {
                    url,
                    authorities: self.postgres_ca,
                },
                replica: self.pod.map_or_else(host_name, Ok)?,
            },
        };
        let tls = self.tls_dir.map_or(TlsSource::Secret, |directory| {
            let authority = directory.join(cluster::CA_KEY);
            TlsSource::Files {
                certificate: directory.join("tls.crt"),
                key: directory.join("tls.key"),
                authority: authority.exists().then_some(authority),
            }
        });
        Ok(Options {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            namespace: self.namespace,
            kubeconfig: self.kubeconfig,
            keeping,
            retention: self.retention,
            tls,
            limits: Limits {
                connections: self.connections,
                ..Limits::default()
            },
        })
    }
}

/// A URL with a password in it.
#[derive(Clone)]
struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url(_)")
    }
}

/// What is wrong with it is told later, without the password in it.
fn database(url: &str) -> Result<Url, Infallible> {
    Ok(Url(url.to_owned()))
}

/// Every connection is an open file, of which a process may by default have fewer than there are nodes.
fn allow_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // What is not allowed is not needed in small clusters.
        let _kept = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Every address, of both families where there are two.
fn any(port: u16) -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))
}
