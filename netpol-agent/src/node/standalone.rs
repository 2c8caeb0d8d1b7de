//! The node agent's process: observers, and behind them either the whole chain (graph, records) or, with an aggregator, the
//! spools that are delivered there.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::attach::{AttachChoice, AttachError, Claim, Instance, PinRoot, Plan, decide};
use super::behind::{Behind, Way};
use super::bind::BindOptions;
use super::forward::{ForwardError, ForwardOptions};
use super::metrics::Nodes;
use super::observer::{Ending, ObserverError, ObserverOptions, Running, spawn};
use super::port::Port;
use super::probe::{ProbeResults, probe};
use super::shared::SharedIndex;
use super::source::{Feed, Source, SourceError};
use super::spec::NodeSpec;
use crate::identity::Index;
use crate::keeper::KeepError;
use crate::kernel::KernelOptions;
use crate::store::StoreError;
use crate::watch::Scope;

/// How often the source of the index is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is observed, how, and where the results go.
#[derive(Clone, Debug)]
pub struct StandaloneOptions {
    /// What feeds the index.
    pub source: Source,
    /// The directory of journals, and of `graph.db` and `flows.jsonl` or the spools.
    pub state_dir: PathBuf,
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// How programs are attached.
    pub attach: AttachChoice,
    /// The name that pinned maps and links bear.
    pub instance: Instance,
    /// Where the BPF file system is mounted.
    pub bpffs: PathBuf,
    /// The sizes of the kernel's maps.
    pub kernel: KernelOptions,
    /// How many unanswered attempts are kept of one interface.
    pub quota: u32,
    /// How often the kernel's maps are walked.
    pub walk_interval: Duration,
    /// By how much everything that is done by the clock, but for walks, is done sooner than it should: 1 but in tests.
    pub hurry: u32,
    /// Where evidence of pods is looked for.
    pub bind: BindOptions,
    /// How long pods, services and edges that are gone are remembered.
    pub retention: Duration,
    /// Whether to observe until told to stop, or to detach at once.
    pub ending: Ending,
    /// The aggregator that batches are delivered to, instead of a graph in this process.
    pub forward: Option<ForwardOptions>,
    /// Where metrics and a probe are served, if anywhere.
    pub metrics: Option<SocketAddr>,
}

/// Why the agent cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The inventory, or the API server.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is learned cannot be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The way to the aggregator.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The port of metrics.
    #[error("cannot serve metrics on {address}: name another address with --metrics-address")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Attaching.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A node.
    #[error("node {node}")]
    Observer {
        /// The node.
        node: String,
        /// Why it cannot be observed.
        source: Box<ObserverError>,
    },
    /// The state directory.
    #[error("cannot use the state directory {path}")]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent uses the state directory.
    #[error(
        "another agent uses the state directory {path}: stop it, or name another directory with --state-dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A thread that keeps what was learned ended by itself.
    #[error(
        "the graph thread ended by a fault: look at the lines above; nothing that was counted is lost"
    )]
    Graph,
    /// A node without a spool.
    #[error("node {node} has no way to the aggregator")]
    Unknown {
        /// The node.
        node: String,
    },
    /// The watch of the API server ended by itself.
    #[error("the watch of the API server ended by a fault: look at the lines above")]
    Watch,
    /// Something else of the system.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Observes until SIGTERM or SIGINT. Pinned maps and links stay, so that the next start goes on without a gap; or, if
/// that is the ending asked for, reads and keeps what an earlier process left and detaches at once.
///
/// # Errors
///
/// [`StandaloneError`], before anything is written where it can be told before.
pub fn run(options: &StandaloneOptions) -> Result<(), StandaloneError> {
    spare_memory();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(system("start a runtime"))?;
    runtime.block_on(observe(options))
}

/// Has the kernel give this process pages of the usual size only, also where nobody set `MIMALLOC_ALLOW_THP`, which holds
/// earlier. Of huge ones, which some kernels give unasked, most would lie idle here.
fn spare_memory() {
    if let Err(errno) = nix::sys::prctl::set_thp_disable(true) {
        debug!("huge pages stay as they are: {errno}");
    }
}

async fn observe(options: &StandaloneOptions) -> Result<(), StandaloneError> {
    let mut signals = Signals::new()?;
    let index = SharedIndex::new(Index::default());
    let nodes = Arc::new(Nodes::default());
    let port = open_port(options, &nodes).await?;
    let mut feed = tokio::select! {
        feed = Feed::start(&options.source, &index, options.scope(), options.retention) => feed?,
        _ = signals.next() => return Ok(()),
    };
    let probed = probe(Some(&options.bpffs));
    let plan = decide(&probed, options.attach)?;
    announce(&probed, &plan);
    let claims = claims(options, &plan)?;
    let lock = lock(&options.state_dir)?;
    let behind = Behind::start(options, &index).await?;
    behind.tell(&nodes);
    let stop = CancellationToken::new();
    let mut observers = Observers::new(options, &plan, &behind)?;
    let started = observers.start(&index, &stop, &nodes).await;
    let waited = match (&started, options.ending) {
        (Ok(true), Ending::Keep) => {
            info!(nodes = options.nodes.len(), "ready");
            wait(&mut signals, &mut feed, &index, &observers, || {
                behind.fault()
            })
            .await
        }
        _ => Ok(()),
    };
    stop.cancel();
    let ended = observers.join();
    let kept = behind.join();
    drop((lock, claims, port));
    started.and(kept).and(ended).and(waited)
}

impl StandaloneOptions {
    /// What of a cluster is read: with an aggregator, which resolves edges, only what binding interfaces takes.
    fn scope(&self) -> Scope {
        match (&self.forward, self.nodes.as_slice()) {
            (Some(_), [node]) => Scope::Node(node.name.clone()),
            _ => Scope::Cluster,
        }
    }
}

async fn open_port(
    options: &StandaloneOptions,
    nodes: &Arc<Nodes>,
) -> Result<Option<Port>, StandaloneError> {
    let Some(address) = options.metrics else {
        return Ok(None);
    };
    let opened = Port::open(address, Arc::clone(nodes)).await;
    opened
        .map(Some)
        .map_err(|source| StandaloneError::Metrics { address, source })
}

/// Waits for a signal, or for a thread to end by itself, and keeps the index up to date meanwhile.
async fn wait(
    signals: &mut Signals,
    feed: &mut Feed,
    index: &SharedIndex,
    observers: &Observers,
    fault: impl Fn() -> Option<StandaloneError>,
) -> Result<(), StandaloneError> {
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            name = signals.next() => {
                info!(signal = name, "stopping");
                return Ok(());
            }
            _ = look.tick() => feed.look(index, Timestamp::now()),
        }
        if observers.any_ended() {
            error!("an observer has ended; stopping");
            return Ok(());
        }
        fault().map_or(Ok(()), Err)?;
        if feed.has_ended() {
            return Err(StandaloneError::Watch);
        }
    }
}

/// Keeps other agents away from what the nodes' instances attach and pin, for as long as the claims live.
fn claims(options: &StandaloneOptions, plan: &Plan) -> Result<Vec<Claim>, StandaloneError> {
    let claim = |node: &NodeSpec| {
        let instance = node.instance(&options.instance)?;
        let pins = plan.pinned.then(|| PinRoot::new(&options.bpffs, &instance));
        node.inside(|| Ok::<_, ObserverError>(Claim::new(&instance, pins.as_ref())?))
            .map_err(|source| of_node(&node.name, source))
    };
    options.nodes.iter().map(claim).collect()
}

/// The observers: those to be started, and their threads, by node.
struct Observers {
    planned: Vec<(ObserverOptions, Way)>,
    running: Vec<(String, Running)>,
}

impl Observers {
    /// One for each node, that goes on where `behind` stands.
    fn new(
        options: &StandaloneOptions,
        plan: &Plan,
        behind: &Behind,
    ) -> Result<Self, StandaloneError> {
        let nodes = options.nodes.iter();
        let planned = nodes.map(|node| observer_options(options, plan, node, behind));
        Ok(Self {
            planned: planned.collect::<Result<_, _>>()?,
            running: Vec::new(),
        })
    }

    /// Starts them, and waits until all of them observe; `false` if one has ended instead.
    async fn start(
        &mut self,
        index: &SharedIndex,
        stop: &CancellationToken,
        nodes: &Nodes,
    ) -> Result<bool, StandaloneError> {
        for (observer, way) in self.planned.drain(..) {
            let node = observer.node.name.clone();
            let running = spawn(observer, index.clone(), way, stop.clone());
            let running = running.map_err(|source| of_node(&node, source))?;
            self.running.push((node, running));
        }
        for (node, running) in &mut self.running {
            if !running.ready().await {
                return Ok(false);
            }
            nodes.add_observer(node, running.asker());
        }
        Ok(true)
    }

    fn any_ended(&self) -> bool {
        self.running.iter().any(|(_, running)| running.has_ended())
    }

    /// Waits for all of them to end; the first error counts.
    fn join(self) -> Result<(), StandaloneError> {
        let ended = self
            .running
            .into_iter()
            .map(|(node, running)| running.join().map_err(|source| of_node(&node, source)));
        let ended: Vec<_> = ended.collect();
        ended.into_iter().collect()
    }
}

fn observer_options(
    options: &StandaloneOptions,
    plan: &Plan,
    node: &NodeSpec,
    behind: &Behind,
) -> Result<(ObserverOptions, Way), StandaloneError> {
    let (way, sequences) = behind.of(&node.name).ok_or(StandaloneError::Unknown {
        node: node.name.clone(),
    })?;
    let instance = node.instance(&options.instance)?;
    let pins = plan.pinned.then(|| PinRoot::new(&options.bpffs, &instance));
    let options = ObserverOptions {
        node: node.clone(),
        instance,
        kernel: options.kernel.clone(),
        mechanism: plan.mechanism,
        pins,
        quota: options.quota,
        walk_interval: options.walk_interval,
        hurry: options.hurry,
        bind: options.bind.clone(),
        journal: options
            .state_dir
            .join(format!("observer-{}.db", node.file_name())),
        sequences,
        ending: options.ending,
    };
    Ok((options, way))
}

/// Says how observing will be done.
fn announce(probed: &ProbeResults, plan: &Plan) {
    for warning in &plan.warnings {
        warn!("{warning}");
    }
    info!(
        version = env!("CARGO_PKG_VERSION"),
        kernel = probed.release,
        attach = %plan.mechanism,
        pinned = plan.pinned,
        "starting"
    );
}

/// Makes the state directory, and keeps other agents out of it as long as the lock lives.
fn lock(directory: &Path) -> Result<Flock<File>, StandaloneError> {
    let failed = |source| StandaloneError::StateDirectory {
        path: directory.to_owned(),
        source,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let path = directory.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    Flock::lock(file.map_err(failed)?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        match errno {
            Errno::EWOULDBLOCK => StandaloneError::Locked {
                path: directory.to_owned(),
            },
            errno => failed(errno.into()),
        }
    })
}

/// The signals that end the agent.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, StandaloneError> {
        let on = |kind| signal(kind).map_err(system("listen for signals"));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn of_node(node: &str, source: ObserverError) -> StandaloneError {
    StandaloneError::Observer {
        node: node.to_owned(),
        source: Box::new(source),
    }
}

pub(super) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> StandaloneError {
    move |source| StandaloneError::System { doing, source }
}

#[cfg(test)]
mod tests {
    use super::super::behind::Graph;
    use super::*;

    #[tokio::test]
    async fn a_graph_thread_that_panics_ends_the_agent_with_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = directory.path().join("inventory.yaml");
        fs::write(&inventory, "").unwrap();
        let index = SharedIndex::new(Index::default());
        let source = Source::Inventory(vec![inventory]);
        let feed = Feed::start(&source, &index, Scope::Cluster, LOOK);
        let mut feed = feed.await.unwrap();
        let graph = Graph::that_panics();
        let observers = Observers {
            planned: Vec::new(),
            running: Vec::new(),
        };
        let mut signals = Signals::new().unwrap();
        let fault = || graph.fault();
        let waited = wait(&mut signals, &mut feed, &index, &observers, fault).await;
        assert!(matches!(waited, Err(StandaloneError::Graph)), "{waited:?}");
        assert!(matches!(graph.join(), Err(StandaloneError::Graph)));
    }
}
