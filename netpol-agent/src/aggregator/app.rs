//! What every request handler shares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard};
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::auth::{Agent, Authority};
use super::body::Room;
use super::intake::Intake;
use super::limits::Limits;
use super::rates::Rates;
use super::refusal::{REASONS, Refusal};
use super::start::Parts;
use crate::identity::Index;
use crate::keeper::Handle;
use crate::lead::Leader;

/// The state of the server.
pub(super) struct App {
    pub(super) limits: Limits,
    pub(super) authority: Authority,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) keeper: Handle,
    pub(super) leader: Leader,
    /// Since when the index has been whole.
    whole: watch::Receiver<Option<Timestamp>>,
    /// Observers of which a delivery is under way.
    turns: Mutex<BTreeSet<String>>,
    requests: Mutex<Rates<String>>,
    edges: Mutex<Rates<String>>,
    pub(super) bodies: Room,
    pub(super) undurable: Room,
    pub(super) decoding: Semaphore,
    readers: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    pub(super) counts: Counts,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Counted>);

/// See [`Counts`].
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// Refused requests, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Batches that were made durable.
    pub(super) batches: u64,
    /// Edges in them.
    pub(super) edges: u64,
    /// Pods in them that were gone before anybody looked.
    pub(super) unverifiable: u64,
    /// Addresses of pods in them that a node called its own.
    pub(super) foreign_addresses: u64,
    /// Seconds from a batch's time until it was durable: of the last one, and the sum of all.
    pub(super) lag: (f64, f64),
}

/// That a delivery of an observer is under way. Dropping it ends the turn.
pub(super) struct Turn<'a> {
    app: &'a App,
    observer: String,
}

impl App {
    pub(super) fn new(parts: &Parts, whole: watch::Receiver<Option<Timestamp>>) -> Self {
        let limits = parts.limits.clone();
        let client = parts.client.clone();
        Self {
            authority: Authority::new(client, &parts.namespace, &limits),
            intake: Arc::clone(&parts.intake),
            keeper: parts.keeper.clone(),
            leader: parts.leader.clone(),
            whole,
            turns: Mutex::default(),
            requests: Mutex::new(Rates::new(limits.requests)),
            edges: Mutex::new(Rates::new(limits.edges)),
            bodies: Room::new(limits.bodies),
            undurable: Room::new(limits.undurable),
            decoding: Semaphore::new(limits.decoding),
            readers: Arc::new(Semaphore::new(limits.readers)),
            followers: Arc::new(Semaphore::new(limits.followers)),
            counts: Counts::default(),
            limits,
        }
    }

    /// Who was where. Hold the guard for a moment only: the watchers of the API server wait.
    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.keeper.index().read()
    }

    /// Since when the index has been whole.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotReady`] until it is.
    pub(super) fn whole_since(&self) -> Result<Timestamp, Refusal> {
        (*self.whole.borrow()).ok_or(Refusal::NotReady)
    }

    /// The node agent that sent a request, and may send one now.
    ///
    /// # Errors
    ///
    /// Why it is none, or how long it is to wait.
    pub(super) async fn agent(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Agent, Refusal> {
        self.whole_since()?;
        let agent = self
            .authority
            .agent(headers, peer, self.keeper.index())
            .await?;
        take(
            &self.requests,
            &agent.node,
            1.0,
            "too many requests from this node",
        )?;
        Ok(agent)
    }

    /// Counts edges of an observer.
    ///
    /// # Errors
    ///
    /// How long it is to wait.
    pub(super) fn take_edges(&self, observer: &str, count: usize) -> Result<(), Refusal> {
        let snapshot = self.keeper.snapshot();
        if let Some(known) = snapshot.observers.get(observer) {
            let limits = &self.limits;
            let bounds = [
                (
                    known.edges,
                    limits.edges_per_node,
                    "this node has told more distinct edges than any can have",
                ),
                (
                    known.epochs,
                    limits.epochs_per_node,
                    "this node has told of more epochs than any can have",
                ),
                (
                    known.lossy,
                    limits.losses_per_node,
                    "this node has told losses of more pods than any can have",
                ),
            ];
            let wait = Duration::from_secs(600);
            if let Some((.., what)) = bounds.into_iter().find(|(known, most, _)| known > most) {
                return Err(Refusal::TooMany { what, wait });
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "edges of one delivery are few")]
        let count = count as f64;
        take(
            &self.edges,
            observer,
            count,
            "too many edges from this node",
        )
    }

    /// One delivery of an observer at a time.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooMany`] if another one is under way.
    pub(super) fn turn(&self, observer: &str) -> Result<Turn<'_>, Refusal> {
        if !self.turns().insert(observer.to_owned()) {
            return Err(Refusal::TooMany {
                what: "another delivery of this node is under way",
                wait: Duration::from_secs(5),
            });
        }
        Ok(Turn {
            app: self,
            observer: observer.to_owned(),
        })
    }

    /// A seat for a reader whose answer ends.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] if none comes free for a while.
    pub(super) async fn reader(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let seat = Arc::clone(&self.readers).acquire_owned();
        let seat = timeout(self.limits.read, seat).await;
        seat.ok()
            .and_then(Result::ok)
            .ok_or(Refusal::Busy("too many are reading at present"))
    }

    /// A seat for a reader whose answer does not end.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooMany`] if there is none.
    pub(super) fn follower(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let seat = Arc::clone(&self.followers).try_acquire_owned();
        seat.map_err(|_| Refusal::TooMany {
            what: "too many are following at present",
            wait: Duration::from_secs(30),
        })
    }

    fn turns(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.app.turns().remove(&self.observer);
    }
}

impl Counts {
    /// Counts something.
    pub(super) fn note(&self, note: impl FnOnce(&mut Counted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a request or a connection that was refused.
    pub(super) fn refused(&self, reason: &'static str) {
        self.note(|counted| *counted.refused.entry(reason).or_default() += 1);
    }

    /// Everything so far, reasons that never were included.
    pub(super) fn all(&self) -> Counted {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for reason in REASONS {
            all.refused.entry(reason).or_default();
        }
        all
    }
}

fn take(
    rates: &Mutex<Rates<String>>,
    observer: &str,
    amount: f64,
    what: &'static str,
) -> Result<(), Refusal> {
    let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
    rates
        .take(observer.to_owned(), amount, Timestamp::now())
        .map_err(|wait| Refusal::TooMany { what, wait })
}
