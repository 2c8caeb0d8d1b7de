//! Where the identity index is fed from: an inventory on disk, or the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::watch::Sender;
use tokio::task::JoinHandle;
use tracing::info;

use super::follow::Follower;
use super::shared::SharedIndex;
use crate::inventory::InventoryError;
use crate::watch::{self, Options, Scope};

/// What feeds the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Files and directories, read again whenever they change.
    Inventory(Vec<PathBuf>),
    /// The cluster that a kubeconfig file names.
    Kubeconfig(PathBuf),
    /// The cluster that this process runs in, by its service account.
    InCluster,
}

/// Why the index cannot be fed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The inventory.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The kubeconfig.
    #[error("kubeconfig {path} cannot be used")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// Not in a cluster.
    #[error("no service account here: run in a pod, or name a file with --kubeconfig")]
    InCluster(#[source] kube::config::InClusterError),
    /// The client.
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
}

/// A source at work.
#[derive(Debug)]
pub enum Feed {
    /// Looks at files.
    Inventory(Follower),
    /// Watches the API server, for ever.
    Cluster(JoinHandle<()>),
}

impl Feed {
    /// Fills the index for the first time, which for a cluster takes as long as its API server needs, and keeps it up
    /// to date from then on; of a cluster, `scope` is read, and what is gone from it is remembered for `retention`. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    pub async fn start(
        source: &Source,
        index: &SharedIndex,
        scope: Scope,
        retention: Duration,
    ) -> Result<Self, SourceError> {
        let config = match source {
            Source::Inventory(paths) => {
                return Ok(Self::Inventory(Follower::start(paths.clone(), index)?));
            }
            Source::Kubeconfig(path) => of_file(path).await?,
            Source::InCluster => Config::incluster().map_err(SourceError::InCluster)?,
        };
        let server = config.cluster_url.clone();
        let client = Client::try_from(config).map_err(|error| SourceError::Client(error.into()))?;
        let ready = Sender::new(false);
        let mut listed = ready.subscribe();
        let watch = watch::run(
            client,
            Options {
                retention,
                ..Options::new(scope)
            },
            index.inner(),
            Timestamp::now,
            ready,
        );
        let task = tokio::spawn(async move { match watch.await {} });
        info!(%server, "listing the cluster");
        // The watch never ends, so that it cannot have hung up.
        let _listed = listed.wait_for(|ready| *ready).await;
        Ok(Self::Cluster(task))
    }

    /// Whether it has ended, which only a fault can bring about.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Cluster(task) if task.is_finished())
    }

    /// Takes in what has changed. To be called every second or so.
    pub fn look(&mut self, index: &SharedIndex, now: Timestamp) {
        match self {
            Self::Inventory(follower) => follower.look(index, now),
            // Watchers do not tell whether what they changed matters here; whoever reads compares.
            Self::Cluster(_) => index.announce(),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Self::Cluster(task) = self {
            task.abort();
        }
    }
}

async fn of_file(path: &Path) -> Result<Config, SourceError> {
    let failed = |error: KubeconfigError| SourceError::Kubeconfig {
        path: path.to_owned(),
        source: error.into(),
    };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(failed)
}
