//! Behind the observers of an agent that has an aggregator: a spool and a sender for each node, on one thread.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::deliver::{Deliver, Undelivered};
use super::observer::Ending;
use super::spec::NodeSpec;
use crate::observe::{Batch, Epoch};
use crate::trouble::{Trouble, chain};
use crate::uplink::Link;
use crate::uplink::client::{Connection, Target, TargetError, Unanswered};
use crate::uplink::pace::Pacing;
use crate::uplink::sender::Sender;
use crate::uplink::spool::{Spool, SpoolError};
use crate::wire::Agent;

/// How long a start waits for what an aggregator has of an observer that lost its state.
const ASKING: Duration = Duration::from_secs(5);
/// How long an agent that detaches for good tries to deliver what is left.
const EMPTYING: Duration = Duration::from_secs(30);

/// Where batches go, and how much waits on this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForwardOptions {
    /// The aggregator.
    pub target: Target,
    /// The UID of the agent's pod.
    pub pod_uid: Option<String>,
    /// Bytes of batches that a spool holds.
    pub spool_bytes: u64,
}

/// Why batches cannot be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The aggregator's address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The thread.
    #[error("cannot start the uplink's thread")]
    Thread(#[source] io::Error),
    /// The thread ended by itself.
    #[error(
        "the uplink ended by a fault: look at the lines above; nothing that was counted is lost"
    )]
    Fault,
}

/// The spools and senders of all nodes.
#[derive(Debug)]
pub struct Uplinks {
    thread: JoinHandle<()>,
    nodes: BTreeMap<String, Node>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Node {
    link: Link,
    to: ToSpool,
    sequences: BTreeMap<Epoch, u64>,
}

/// What the thread needs of a node.
struct Work {
    link: Link,
    sender: Sender,
    batches: mpsc::UnboundedReceiver<Spooling>,
}

/// Delivers to a node's spool.
#[derive(Clone, Debug)]
pub struct ToSpool(mpsc::UnboundedSender<Spooling>);

#[derive(Debug)]
struct Spooling {
    batch: Arc<Batch>,
    acknowledge: oneshot::Sender<bool>,
}

impl Deliver for ToSpool {
    /// Returns once the batch is durable on this node.
    async fn deliver(&self, batch: Arc<Batch>) -> Result<(), Undelivered> {
        let (acknowledge, acknowledged) = oneshot::channel();
        let spooling = Spooling { batch, acknowledge };
        self.0.send(spooling).map_err(|_| Undelivered)?;
        match acknowledged.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Undelivered),
        }
    }
}

impl Uplinks {
    /// Opens the spools in `state_dir`, and begins to deliver what they hold.
    ///
    /// # Errors
    ///
    /// [`ForwardError`].
    pub async fn start(
        options: &ForwardOptions,
        state_dir: &Path,
        nodes: &[NodeSpec],
        pacing: Pacing,
        ending: Ending,
    ) -> Result<Self, ForwardError> {
        let mut known = BTreeMap::new();
        let mut work = Vec::new();
        for spec in nodes {
            let (node, of_node) = open(options, state_dir, spec, pacing).await?;
            known.insert(spec.name.clone(), node);
            work.push(of_node);
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(ForwardError::Thread)?;
        let run = move || {
            let work = work
                .into_iter()
                .map(|work| work.run(ending, stopped.clone()));
            runtime.block_on(join_all(work));
        };
        let thread = std::thread::Builder::new().name("uplink".to_owned());
        Ok(Self {
            thread: thread.spawn(run).map_err(ForwardError::Thread)?,
            nodes: known,
            stop,
        })
    }

    /// The way into a node's spool, and the highest numbers of its batches so far.
    #[must_use]
    pub fn of(&self, node: &str) -> Option<(ToSpool, BTreeMap<Epoch, u64>)> {
        let node = self.nodes.get(node)?;
        Some((node.to.clone(), node.sequences.clone()))
    }

    /// Every node's link.
    #[must_use]
    pub fn links(&self) -> BTreeMap<String, Link> {
        let links = self.nodes.iter();
        links
            .map(|(name, node)| (name.clone(), node.link.clone()))
            .collect()
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends once what the observers have handed over is spooled, and the last delivery was tried.
    ///
    /// # Errors
    ///
    /// [`ForwardError::Fault`].
    pub fn join(self) -> Result<(), ForwardError> {
        self.stop.cancel();
        drop(self.nodes);
        self.thread.join().map_err(|_| ForwardError::Fault)
    }
}

async fn open(
    options: &ForwardOptions,
    state_dir: &Path,
    spec: &NodeSpec,
    pacing: Pacing,
) -> Result<(Node, Work), ForwardError> {
    let file = |kind: &str, end: &str| -> PathBuf {
        state_dir.join(format!("{kind}-{}.{end}", spec.file_name()))
    };
    let mut connection = Connection::new(options.target.clone())?;
    let mut spool = Spool::open(&file("spool", "db"), &spec.name, options.spool_bytes)?;
    let sequences = if spool.is_new() {
        durable(&mut connection, &spec.name).await
    } else {
        spool.sequences()?
    };
    let agent = Agent {
        node: spec.name.clone(),
        pod_uid: options.pod_uid.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let held = spool.held();
    let link = Link::new(spool);
    let sender = Sender::new(
        link.clone(),
        agent,
        connection,
        file("refused", "jsonl"),
        pacing,
    );
    let (to, batches) = mpsc::unbounded_channel();
    info!(
        node = spec.name,
        aggregator = options.target.url,
        batches = held.batches,
        bytes = held.bytes,
        "delivering to an aggregator"
    );
    let node = Node {
        link: link.clone(),
        to: ToSpool(to),
        sequences,
    };
    let work = Work {
        link,
        sender,
        batches,
    };
    Ok((node, work))
}

/// What the aggregator has of an observer that may have lost its state. Numbers only keep batches in order, so that going
/// on without an answer loses nothing.
async fn durable(connection: &mut Connection, node: &str) -> BTreeMap<Epoch, u64> {
    connection.allow_connecting(true);
    let asked = timeout(ASKING, connection.durable(node)).await;
    let told = match asked {
        Ok(Ok(told)) => told.acknowledged,
        Ok(Err(Unanswered::Failed { told, .. })) => {
            info!(
                node,
                "what the aggregator has of this node is not known: {told}"
            );
            Vec::new()
        }
        Ok(Err(Unanswered::Gone)) | Err(_) => {
            info!(
                node,
                "the aggregator did not say in time what it has of this node"
            );
            Vec::new()
        }
    };
    let told = told.into_iter();
    told.map(|position| (position.epoch, position.sequence))
        .collect()
}

impl Work {
    async fn run(self, ending: Ending, stop: CancellationToken) {
        let Self {
            link,
            mut sender,
            batches,
        } = self;
        match ending {
            Ending::Keep => {
                // What the observer says last goes with the last delivery.
                let spooled = CancellationToken::new();
                let taking = async {
                    take(&link, batches).await;
                    stop.cancelled().await;
                    spooled.cancel();
                };
                tokio::join!(taking, sender.run(spooled.clone()));
            }
            Ending::Detach => {
                take(&link, batches).await;
                let emptied = timeout(EMPTYING, sender.empty()).await;
                let left = link.status().spool;
                if emptied.is_err() || left.batches > 0 {
                    warn!(
                        batches = left.batches,
                        bytes = left.bytes,
                        "not everything could be delivered; an agent with this state directory goes on with it"
                    );
                }
            }
        }
    }
}

/// Spools what the observer hands over, until it is gone.
async fn take(link: &Link, mut batches: mpsc::UnboundedReceiver<Spooling>) {
    let mut spooling = Trouble::new("spooling batches");
    while let Some(Spooling { batch, acknowledge }) = batches.recv().await {
        let pushed = link.push(&batch).map_err(|error| chain(&error));
        let pushed = spooling.note(pushed);
        // The observer may be gone: the next process delivers again.
        let _heard = acknowledge.send(pushed.is_some());
    }
}
