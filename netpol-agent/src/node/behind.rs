//! What takes the batches of a process's observers: its own graph, or the spools on the way to an aggregator.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use super::deliver::{Deliver, Undelivered};
use super::flow_file::FlowFile;
use super::forward::{ForwardError, ToSpool, Uplinks};
use super::metrics::Nodes;
use super::shared::SharedIndex;
use super::standalone::{StandaloneError, StandaloneOptions, system};
use crate::keeper::{self, Handle, Keeper};
use crate::observe::{Batch, Epoch};
use crate::store::Store;
use crate::uplink::pace::Pacing;

/// What takes the observers' batches.
pub(super) enum Behind {
    Graph(Handle, Graph),
    Uplinks(Uplinks),
}

/// An observer's way there.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Keeper(Handle),
    Spool(ToSpool),
}

impl Deliver for Way {
    async fn deliver(&self, batch: Arc<Batch>) -> Result<(), Undelivered> {
        match self {
            Self::Keeper(keeper) => keeper.deliver(batch).await,
            Self::Spool(spool) => spool.deliver(batch).await,
        }
    }
}

impl Behind {
    pub(super) async fn start(
        options: &StandaloneOptions,
        index: &SharedIndex,
    ) -> Result<Self, StandaloneError> {
        let directory = &options.state_dir;
        if let Some(forward) = &options.forward {
            let pacing = Pacing::default().hurried(options.hurry);
            let nodes = &options.nodes;
            let uplinks = Uplinks::start(forward, directory, nodes, pacing, options.ending);
            return Ok(Self::Uplinks(uplinks.await?));
        }
        let store = Store::open(&directory.join("graph.db"))?;
        let (keeper, graph) = Graph::start(store, index, options)?;
        Ok(Self::Graph(keeper, graph))
    }

    /// Lets the metrics know of it.
    pub(super) fn tell(&self, nodes: &Nodes) {
        if let Self::Uplinks(uplinks) = self {
            for (node, link) in uplinks.links() {
                nodes.add_link(&node, link);
            }
        }
    }

    /// The way for a node's batches, and the highest numbers of those that it has.
    pub(super) fn of(&self, node: &str) -> Option<(Way, BTreeMap<Epoch, u64>)> {
        match self {
            Self::Graph(keeper, _) => Some((Way::Keeper(keeper.clone()), keeper.sequences(node))),
            Self::Uplinks(uplinks) => {
                let (spool, sequences) = uplinks.of(node)?;
                Some((Way::Spool(spool), sequences))
            }
        }
    }

    /// The error, if it has ended by itself.
    pub(super) fn fault(&self) -> Option<StandaloneError> {
        match self {
            Self::Graph(_, graph) => graph.fault(),
            Self::Uplinks(uplinks) => uplinks
                .has_ended()
                .then_some(StandaloneError::Forward(ForwardError::Fault)),
        }
    }

    /// To be called when nothing more is delivered.
    pub(super) fn join(self) -> Result<(), StandaloneError> {
        match self {
            Self::Graph(keeper, graph) => {
                drop(keeper);
                graph.join()
            }
            Self::Uplinks(uplinks) => Ok(uplinks.join()?),
        }
    }
}

/// The threads behind the observers: the keeper's, and the one that writes `flows.jsonl`.
pub(super) struct Graph {
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
            ..keeper::Options::default()
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

    /// The error, if one of them has ended.
    pub(super) fn fault(&self) -> Option<StandaloneError> {
        let ended = self.keeper.has_ended() || self.flows.is_finished();
        ended.then_some(StandaloneError::Graph)
    }

    #[cfg(test)]
    pub(super) fn that_panics() -> Self {
        Self {
            keeper: Keeper::of(|| panic!("a fault made by a test")),
            flows: std::thread::spawn(|| ()),
            stop: mpsc::channel().0,
        }
    }

    /// Has records written a last time. To be called when nothing more is delivered.
    pub(super) fn join(self) -> Result<(), StandaloneError> {
        drop(self.stop);
        let flows = self.flows.join().map_err(|_| StandaloneError::Graph);
        let kept = self.keeper.join().map_err(|_| StandaloneError::Graph);
        flows.and(kept)
    }
}
