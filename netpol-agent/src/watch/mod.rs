//! Keeps an index up to date with the API server: the online twin of an inventory.
//!
//! One watcher for each kind lists in pages, watches, and begins again whenever the server asks for it or fails, for
//! ever. An index is ready when every kind has been listed whole once.

pub(crate) mod backoff;
mod feed;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;
use k8s_openapi::Resource;
use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, core::v1, discovery::v1 as discovery,
};
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::sync::watch::Sender;

use crate::identity::Index;
use crate::identity::objects::ObjectKind;
pub(crate) use feed::is_stuck;
use feed::{Item, feed};

/// How often the index is made to forget what is long gone.
const PRUNING: Duration = Duration::from_secs(600);
/// How soon it is looked again whether somebody still reads the index, and for how long readers go first.
const READ: Duration = Duration::from_millis(2);
const COURTESY: Duration = Duration::from_millis(200);

/// What of a cluster goes into the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// All of it: what resolving both ends of an edge takes.
    Cluster,
    /// One node and the pods on it: what binding interfaces takes.
    Node(String),
}

/// How to watch.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to watch.
    pub scope: Scope,
    /// Objects in one page of a list.
    pub page_size: u32,
    /// The shortest and the longest delay after failures.
    pub backoff: (Duration, Duration),
    /// How long the index remembers what is gone.
    pub retention: Duration,
}

/// What the watchers of all kinds share.
struct Shared<N> {
    options: Options,
    index: Arc<RwLock<Index>>,
    now: N,
    /// Kinds that have not been listed whole yet.
    missing: Mutex<BTreeSet<ObjectKind>>,
    ready: Sender<bool>,
}

impl Options {
    /// The usual page size and delays.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            page_size: 500,
            backoff: (Duration::from_millis(800), Duration::from_secs(30)),
            retention: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// Feeds the index for ever. `now` tells the time at which a change is learned; `ready` becomes true once every kind
/// has been listed whole.
///
/// No failure of the server ends it: it is logged and tried again. It ends by being dropped.
pub async fn run<N: Fn() -> Timestamp + Send + Sync>(
    client: Client,
    options: Options,
    index: Arc<RwLock<Index>>,
    now: N,
    ready: Sender<bool>,
) -> Infallible {
    let kinds = kinds(&options.scope);
    let shared = Shared {
        missing: Mutex::new(kinds.iter().cloned().collect()),
        options,
        index,
        now,
        ready,
    };
    let feeds = join_all(kinds.into_iter().map(|kind| start(kind, &client, &shared)));
    let (_, never) = tokio::join!(feeds, shared.forget());
    never
}

fn kinds(scope: &Scope) -> Vec<ObjectKind> {
    let mut kinds = vec![ObjectKind::Node, ObjectKind::Pod];
    if *scope == Scope::Cluster {
        kinds.extend([
            ObjectKind::Namespace,
            ObjectKind::Service,
            ObjectKind::EndpointSlice,
        ]);
        kinds.extend(OWNERS.map(|kind| ObjectKind::Owner(kind.to_owned())));
    }
    kinds
}

const OWNERS: [&str; 7] = [
    apps::DaemonSet::KIND,
    apps::Deployment::KIND,
    apps::ReplicaSet::KIND,
    apps::StatefulSet::KIND,
    batch::CronJob::KIND,
    batch::Job::KIND,
    v1::ReplicationController::KIND,
];

type Whole<K> = DeserializeGuard<K>;

fn start<'a, N: Fn() -> Timestamp + Send + Sync>(
    kind: ObjectKind,
    client: &Client,
    shared: &'a Shared<N>,
) -> BoxFuture<'a, ()> {
    match &kind {
        ObjectKind::Node => watched::<Whole<v1::Node>, N>(kind, client, shared),
        ObjectKind::Pod => watched::<Whole<v1::Pod>, N>(kind, client, shared),
        ObjectKind::Namespace => watched::<Whole<v1::Namespace>, N>(kind, client, shared),
        ObjectKind::Service => watched::<Whole<v1::Service>, N>(kind, client, shared),
        ObjectKind::EndpointSlice => {
            watched::<Whole<discovery::EndpointSlice>, N>(kind, client, shared)
        }
        ObjectKind::Owner(owner) => match owner.as_str() {
            apps::DaemonSet::KIND => watched::<Whole<apps::DaemonSet>, N>(kind, client, shared),
            apps::Deployment::KIND => watched::<Whole<apps::Deployment>, N>(kind, client, shared),
            apps::StatefulSet::KIND => watched::<Whole<apps::StatefulSet>, N>(kind, client, shared),
            batch::CronJob::KIND => watched::<Whole<batch::CronJob>, N>(kind, client, shared),
            apps::ReplicaSet::KIND => {
                watched::<PartialObjectMeta<apps::ReplicaSet>, N>(kind, client, shared)
            }
            batch::Job::KIND => watched::<PartialObjectMeta<batch::Job>, N>(kind, client, shared),
            _ => watched::<Whole<v1::ReplicationController>, N>(kind, client, shared),
        },
    }
}

fn watched<'a, K: Item, N: Fn() -> Timestamp + Send + Sync>(
    kind: ObjectKind,
    client: &Client,
    shared: &'a Shared<N>,
) -> BoxFuture<'a, ()> {
    let mut config = Config::default().page_size(shared.options.page_size);
    if let Scope::Node(name) = &shared.options.scope {
        let field = if kind == ObjectKind::Node {
            "metadata.name"
        } else {
            "spec.nodeName"
        };
        config = config.fields(&format!("{field}={name}"));
    }
    feed(kind, Api::<K>::all(client.clone()), config, shared).boxed()
}

impl<N: Fn() -> Timestamp> Shared<N> {
    /// Forgets, now and then, what has been gone for longer than is to be remembered.
    async fn forget(&self) -> Infallible {
        loop {
            tokio::time::sleep(PRUNING.min(self.options.retention)).await;
            if let Ok(before) = (self.now)().checked_sub(self.options.retention) {
                self.change(|index| index.prune(before)).await;
            }
        }
    }

    /// Changes the index when nobody reads it. A writer that waited for the lock would make later readers wait too, and
    /// whoever decides reads for long; it would also hold a thread that serves others. So it waits only where readers
    /// who take turns would keep it from ever being written.
    async fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        let begin = Instant::now();
        while begin.elapsed() < COURTESY {
            match self.index.try_write() {
                Ok(mut index) => return change(&mut index),
                Err(TryLockError::Poisoned(index)) => return change(&mut index.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::time::sleep(READ).await;
        }
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a kind has been listed whole.
    fn listed(&self, kind: &ObjectKind) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.remove(kind);
        if missing.is_empty() {
            self.ready
                .send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }
}
