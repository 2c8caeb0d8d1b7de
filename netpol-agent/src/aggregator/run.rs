//! A whole aggregator as a process: the API server watched into the index, the keeper, and the server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use netpol_common::names::cluster;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::keeping::{Keeping, Kept};
use super::limits::Limits;
use super::metrics::OfController;
use super::start::{AggregatorError, Parts, start};
use super::tls::TlsSource;
use crate::control::Settings;
use crate::controller::{self, Report};
use crate::keeper::{self, Keeper, SharedIndex, Snapshot};
use crate::lead::{self, Leader};
use crate::watch as api_watch;

/// How often the parts are looked at, and whoever reads the index is told of changes.
const LOOK: Duration = Duration::from_secs(1);

/// How to aggregate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the API is served, over TLS.
    pub listen: SocketAddr,
    /// Where metrics and probes are served, over plain HTTP.
    pub metrics_listen: SocketAddr,
    /// The namespace that netpol is installed in.
    pub namespace: String,
    /// The cluster that this file names; the one that the process runs in, if it is absent.
    pub kubeconfig: Option<PathBuf>,
    /// Where the graph is kept.
    pub keeping: Keeping,
    /// How long what is gone is remembered.
    pub retention: Duration,
    /// Where key and certificate come from.
    pub tls: TlsSource,
    /// Every bound.
    pub limits: Limits,
}

/// Aggregates until `stop` is cancelled; then takes nothing more in, finishes what is under way, and returns.
///
/// # Errors
///
/// What is missing or wrong, or a part that ended by a fault.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), AggregatorError> {
    let client = client(options.kubeconfig.as_deref()).await?;
    let (tell, ready) = watch::channel(false);
    let keeping = keeper::Options {
        retention: options.retention,
        whole: Some(ready.clone()),
        ..keeper::Options::default()
    };
    let Some(kept) = options.keeping.open(&keeping, &stop).await? else {
        return Ok(());
    };
    let Kept {
        handle,
        keeper,
        index,
        lock,
    } = kept;
    let feed = feed(client.clone(), &index, options.retention, tell);
    let resign = CancellationToken::new();
    let (leader, standing) = stand(&client, &options, ready.clone(), &resign);
    let (report, reported) = watch::channel(Report::default());
    let controller = controller::Options {
        settings: Settings {
            own_namespace: options.namespace.clone(),
            ..Settings::default()
        },
        ..controller::Options::default()
    };
    let controlling = controller::run(
        client.clone(),
        handle.clone(),
        ready.clone(),
        leader.clone(),
        controller,
        report,
    );
    let parts = Parts {
        client,
        namespace: options.namespace,
        listen: options.listen,
        metrics_listen: options.metrics_listen,
        tls: options.tls,
        limits: options.limits,
        intake: Arc::new(handle.clone()),
        ready: readable(ready, handle.snapshots()),
        keeper: handle,
        leader,
    };
    let running = start(parts).await?;
    running.metrics().add(Arc::new(OfController(reported)));
    let controller = tokio::spawn(async move { match controlling.await {} });
    let (api, probes) = (running.address(), running.metrics_address());
    tracing::info!(%api, %probes, version = env!("CARGO_PKG_VERSION"), "serving");
    let tasks = [
        ("watch of the API server", feed),
        ("controller", controller),
    ];
    let fault = || {
        let stands = standing.as_ref().is_none_or(|task| !task.is_finished());
        let fault = (!stands).then_some(AggregatorError::Fault("election"));
        running.fault().or(fault)
    };
    let ended = wait(&stop, &tasks, &keeper, fault).await;
    tracing::info!("stopping");
    // From here on nothing is written. The Lease is released once nobody holds that this replica leads, so that another
    // one leads at once.
    resign.cancel();
    for (_, task) in tasks {
        task.abort();
        // The keeper ends once nobody holds it any more.
        let _aborted = task.await;
    }
    running.stop().await;
    if let Some(standing) = standing {
        // Whatever it ended with, the Lease runs out by itself.
        let _released = standing.await;
    }
    let kept = tokio::task::spawn_blocking(|| keeper.join()).await;
    drop(lock);
    ended.and(
        kept.map_err(|_| AggregatorError::Fault("keeper"))?
            .map_err(AggregatorError::Keeper),
    )
}

/// Stands for election, where there may be other replicas, until `resign` is cancelled: once every index is whole, since
/// whoever leads without one keeps another from deciding.
fn stand(
    client: &Client,
    options: &Options,
    mut ready: watch::Receiver<bool>,
    resign: &CancellationToken,
) -> (Leader, Option<JoinHandle<()>>) {
    let Keeping::Shared { replica, .. } = &options.keeping else {
        return (lead::alone(), None);
    };
    let election = lead::Options {
        namespace: options.namespace.clone(),
        name: cluster::LEASE.to_owned(),
        identity: replica.clone(),
        config: lead::Config::default(),
    };
    let (leader, standing) = lead::run(client.clone(), &election, resign.clone());
    let resign = resign.clone();
    let stand = async move {
        tokio::select! {
            // It is never dropped while this replica aggregates.
            _ = ready.wait_for(|ready| *ready) => {}
            () = resign.cancelled() => {}
        }
        standing.await
    };
    (leader, Some(tokio::spawn(stand)))
}

/// Waits for the order to stop, or for a part that has ended by itself.
async fn wait(
    stop: &CancellationToken,
    tasks: &[(&'static str, JoinHandle<()>)],
    keeper: &Keeper,
    fault: impl Fn() -> Option<AggregatorError>,
) -> Result<(), AggregatorError> {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = look.tick() => {}
        }
        if let Some(fault) = fault() {
            return Err(fault);
        }
        if keeper.has_ended() {
            return Err(AggregatorError::Fault("keeper"));
        }
        if let Some((name, _)) = tasks.iter().find(|(_, task)| task.is_finished()) {
            return Err(AggregatorError::Fault(name));
        }
    }
}

/// Turns true once there is a graph, which is not made before the index is whole: whoever reads from then on sees all that
/// was kept.
fn readable(
    mut ready: watch::Receiver<bool>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) -> watch::Receiver<bool> {
    let (tell, readable) = watch::channel(false);
    tokio::spawn(async move {
        let whole = ready.wait_for(|ready| *ready).await.is_ok();
        let made = snapshots.wait_for(|snapshot| snapshot.number > 0).await;
        // Nobody is left to be told if the other ends are gone.
        tell.send_replace(whole && made.is_ok());
    });
    readable
}

/// Keeps the index up to date with the API server; tells when it is whole.
fn feed(
    client: Client,
    index: &SharedIndex,
    retention: Duration,
    ready: watch::Sender<bool>,
) -> JoinHandle<()> {
    let options = api_watch::Options {
        retention,
        ..api_watch::Options::new(api_watch::Scope::Cluster)
    };
    let feeding = api_watch::run(client, options, index.inner(), Timestamp::now, ready);
    tokio::spawn(async move { match feeding.await {} })
}

async fn client(kubeconfig: Option<&Path>) -> Result<Client, AggregatorError> {
    let config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(AggregatorError::Kubeconfig)?;
            let chosen = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(read, &chosen).await;
            config.map_err(AggregatorError::Kubeconfig)?
        }
        None => Config::incluster().map_err(AggregatorError::InCluster)?,
    };
    Client::try_from(config).map_err(|error| AggregatorError::Client(Box::new(error)))
}
