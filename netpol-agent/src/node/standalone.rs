//! The whole chain in one process and without a cluster: observers, graph, records.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attach::{AttachChoice, AttachError, Claim, Instance, PinRoot, Plan, decide};
use super::bind::BindOptions;
use super::flow_file::FlowFile;
use super::observer::{Ending, ObserverError, ObserverOptions, Running, spawn};
use super::probe::{ProbeResults, probe};
use super::shared::SharedIndex;
use super::source::{Feed, Source, SourceError};
use super::spec::NodeSpec;
use crate::identity::Index;
use crate::keeper::{self, Handle, KeepError, Keeper};
use crate::kernel::KernelOptions;
use crate::store::{Store, StoreError};

/// How often the source of the index is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is observed, how, and where the results go.
#[derive(Clone, Debug)]
pub struct StandaloneOptions {
    /// What feeds the index.
    pub source: Source,
    /// The directory of `graph.db` and `flows.jsonl`.
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(system("start a runtime"))?;
    runtime.block_on(observe(options))
}

async fn observe(options: &StandaloneOptions) -> Result<(), StandaloneError> {
    let mut signals = Signals::new()?;
    let index = SharedIndex::new(Index::default());
    let mut feed = tokio::select! {
        feed = Feed::start(&options.source, &index, options.retention) => feed?,
        _ = signals.next() => return Ok(()),
    };
    let probed = probe(Some(&options.bpffs));
    let plan = decide(&probed, options.attach)?;
    announce(&probed, &plan);
    let claims = claims(options, &plan)?;
    let lock = lock(&options.state_dir)?;
    let store = Store::open(&options.state_dir.join("graph.db"))?;
    let (keeper, graph) = Graph::start(store, &index, options)?;
    let stop = CancellationToken::new();
    let mut observers = Observers::new(options, &plan, &keeper)?;
    let started = observers.start(&index, keeper, &stop).await;
    let waited = match (&started, options.ending) {
        (Ok(true), Ending::Keep) => {
            info!(nodes = options.nodes.len(), "ready");
            wait(&mut signals, &mut feed, &index, &observers, &graph).await
        }
        _ => Ok(()),
    };
    stop.cancel();
    let ended = observers.join();
    let graphed = graph.join();
    drop((lock, claims));
    started.and(graphed).and(ended).and(waited)
}

/// Waits for a signal, or for a thread to end by itself, and keeps the index up to date meanwhile.
async fn wait(
    signals: &mut Signals,
    feed: &mut Feed,
    index: &SharedIndex,
    observers: &Observers,
    graph: &Graph,
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
        if graph.has_ended() {
            return Err(StandaloneError::Graph);
        }
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

/// The threads behind the observers: the keeper's, and the one that writes `flows.jsonl`.
struct Graph {
    keeper: Keeper,
    flows: JoinHandle<()>,
    /// Until this is gone, `flows` goes on.
    stop: mpsc::Sender<()>,
}

impl Graph {
    fn start(
        store: Store,
        index: &SharedIndex,
        options: &StandaloneOptions,
    ) -> Result<(Handle, Self), StandaloneError> {
        let keeping = keeper::Options {
            retention: options.retention,
            snapshots: None,
        };
        let (handle, keeper) = keeper::start(store, index.clone(), &keeping)?;
        let file = FlowFile::new(options.state_dir.join("flows.jsonl"), handle.clone());
        let (stop, stopped) = mpsc::channel();
        let flows = std::thread::Builder::new()
            .name("flows".to_owned())
            .spawn(move || file.run(&stopped));
        let flows = flows.map_err(system("start a thread"))?;
        let graph = Self {
            keeper,
            flows,
            stop,
        };
        Ok((handle, graph))
    }

    fn has_ended(&self) -> bool {
        self.keeper.has_ended() || self.flows.is_finished()
    }

    /// Has records written a last time. To be called when nothing more is delivered.
    fn join(self) -> Result<(), StandaloneError> {
        drop(self.stop);
        let flows = self.flows.join().map_err(|_| StandaloneError::Graph);
        let kept = self.keeper.join().map_err(|_| StandaloneError::Graph);
        flows.and(kept)
    }
}

/// The observers: those to be started, and their threads, by node.
struct Observers {
    planned: Vec<ObserverOptions>,
    running: Vec<(String, Running)>,
}

impl Observers {
    /// One for each node, that goes on where `keeper` stands.
    fn new(
        options: &StandaloneOptions,
        plan: &Plan,
        keeper: &Handle,
    ) -> Result<Self, StandaloneError> {
        let nodes = options.nodes.iter();
        let planned = nodes.map(|node| observer_options(options, plan, node, keeper));
        Ok(Self {
            planned: planned.collect::<Result<_, _>>()?,
            running: Vec::new(),
        })
    }

    /// Starts them, and waits until all of them observe; `false` if one has ended instead.
    async fn start(
        &mut self,
        index: &SharedIndex,
        keeper: Handle,
        stop: &CancellationToken,
    ) -> Result<bool, StandaloneError> {
        for observer in self.planned.drain(..) {
            let node = observer.node.name.clone();
            let running = spawn(observer, index.clone(), keeper.clone(), stop.clone());
            let running = running.map_err(|source| of_node(&node, source))?;
            self.running.push((node, running));
        }
        for (_, running) in &mut self.running {
            if !running.ready().await {
                return Ok(false);
            }
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
    keeper: &Handle,
) -> Result<ObserverOptions, StandaloneError> {
    let instance = node.instance(&options.instance)?;
    let pins = plan.pinned.then(|| PinRoot::new(&options.bpffs, &instance));
    Ok(ObserverOptions {
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
        sequences: keeper.sequences(&node.name),
        ending: options.ending,
    })
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

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> StandaloneError {
    move |source| StandaloneError::System { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_graph_thread_that_panics_ends_the_agent_with_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = directory.path().join("inventory.yaml");
        fs::write(&inventory, "").unwrap();
        let index = SharedIndex::new(Index::default());
        let mut feed = Feed::start(&Source::Inventory(vec![inventory]), &index, LOOK)
            .await
            .unwrap();
        let graph = Graph {
            keeper: Keeper::of(|| panic!("a fault made by a test")),
            flows: std::thread::spawn(|| ()),
            stop: mpsc::channel().0,
        };
        let observers = Observers {
            planned: Vec::new(),
            running: Vec::new(),
        };
        let mut signals = Signals::new().unwrap();
        let waited = wait(&mut signals, &mut feed, &index, &observers, &graph).await;
        assert!(matches!(waited, Err(StandaloneError::Graph)), "{waited:?}");
        assert!(matches!(graph.join(), Err(StandaloneError::Graph)));
    }
}
