//! One observer: one thread, one network namespace, one node.
//!
//! The loop waits for whatever comes first: an interface event, a first sight, a change of the index, a timer, an
//! acknowledgement. Everything it then does is short, but for look-ups in `/proc` and conntrack, and nothing waits for
//! the graph side: a batch is on its way while the loop goes on. What is known lives in [`Books`]; the kernel's maps
//! and the [`Journal`] outlive the process.

mod attaching;
mod binding;
mod delivery;
mod reading;
mod refused;
mod reporting;
mod seeding;
mod start;
mod telling;
mod verifying;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use netpol_common::abi::{Event, FirstSight};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::delivery::UnderWay;
use self::refused::Refused;
use self::telling::Which;
use super::attach::{AttachError, Attacher, Instance, Mechanism, PinRoot};
use super::bind::{BindOptions, Binder};
use super::books::Books;
use super::deliver::Deliver;
use super::journal::{Journal, JournalError};
use super::links::{Link, LinkError, LinkWatcher};
use super::outbox::Outbox;
use super::report::Ask;
use super::shared::SharedIndex;
use super::spec::{NodeSpec, NodeSpecError};
use super::tally::Teller;
use super::trouble::Trouble;
use crate::identity::objects::Pod;
use crate::kernel::{Kernel, KernelError, KernelOptions, Sights};
use crate::observe::{Epoch, PodIdentity};

pub use start::{Running, spawn};

/// How often the counter of full rings is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// How soon after a first sight the maps are walked.
const HINTED: Duration = Duration::from_secs(1);
/// How often open connections are looked for, of some interfaces in turn.
const PRESENCE: Duration = Duration::from_secs(60);
/// How often programs are verified, and the node's addresses and counters of interfaces are read.
const VERIFY: Duration = Duration::from_secs(30);
/// How soon interfaces are looked at again after the index has changed.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// How a node is observed.
#[derive(Clone, Debug)]
pub struct ObserverOptions {
    /// The node.
    pub node: NodeSpec,
    /// Its instance; see [`NodeSpec::instance`].
    pub instance: Instance,
    /// The sizes of the kernel's maps; where they are pinned is told by `pins`.
    pub kernel: KernelOptions,
    /// How programs are attached.
    pub mechanism: Mechanism,
    /// Where maps and links are pinned; `None` without bpffs.
    pub pins: Option<PinRoot>,
    /// How many unanswered attempts are kept of one interface.
    pub quota: u32,
    /// How often the kernel's maps are walked.
    pub walk_interval: Duration,
    /// By how much everything that is done by the clock, but for walks, is done sooner than it should: 1 but in tests.
    pub hurry: u32,
    /// Where evidence of pods is looked for.
    pub bind: BindOptions,
    /// The file of the journal.
    pub journal: PathBuf,
    /// The highest number of a batch of this observer that the graph side has, by epoch.
    pub sequences: BTreeMap<Epoch, u64>,
    /// What becomes of what is attached.
    pub ending: Ending,
}

/// What becomes of programs and maps in the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Pinned, they stay and keep counting for the next process.
    Keep,
    /// The programs are detached, the maps are read a last time, and all of it must be acknowledged.
    Detach,
}

/// Why a node cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserverError {
    /// The network namespace.
    #[error(transparent)]
    Namespace(#[from] NodeSpecError),
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Attaching.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Interface events.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// What the maps hold could not be delivered, so that they must not be removed.
    #[error(
        "what the maps hold of node {node} could not be kept, so that nothing more was removed: look at the lines above, \
         and try again, or give it up with --discard"
    )]
    Undelivered {
        /// The node.
        node: String,
    },
    /// Something else of the system.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The thread ended by a fault of its own.
    #[error("the observer of {node} ended by a fault: look at the lines above")]
    Fault {
        /// The node.
        node: String,
    },
}

/// An observer at work. All of it runs on one thread, which is in the node's network namespace.
struct Observer {
    options: ObserverOptions,
    kernel: Kernel,
    attacher: Attacher,
    binder: Binder,
    journal: Journal,
    books: Books,
    outbox: Outbox,
    index: SharedIndex,
    /// Every interface of the namespace, by ifindex.
    links: BTreeMap<u32, Link>,
    /// Interfaces that were never bound and are no longer observed, by ifindex.
    set_aside: BTreeSet<u32>,
    /// Interfaces to which the programs could not be attached.
    refused: Refused,
    /// Pods whose interface died, and when, in nanoseconds of `CLOCK_MONOTONIC`.
    former: BTreeMap<PodIdentity, u64>,
    /// The pods of this node, as of the last look at the index.
    pods: Vec<Pod>,
    /// When unbound interfaces are looked at again, and how long after that.
    bind_at: Option<Instant>,
    bind_pause: Duration,
    /// The last interface of which open connections were looked for.
    asked_last: u32,
    /// How often the ring had been full at the last look.
    ring_full: u64,
    journaling: Trouble,
    /// What people were told of counts that make no edge.
    teller: Teller,
    /// Whether the books may hold something that was not delivered: looking for it takes a pass over all edges.
    is_news: bool,
    /// When the kernel's maps were last read whole.
    walked: Option<Timestamp>,
}

/// When the loop has to do something by itself.
struct Timers {
    walk_at: Instant,
    glance: Interval,
    presence: Interval,
    verify: Interval,
}

impl Timers {
    fn new(walk: Duration, hurry: u32) -> Self {
        let every = |period| {
            let mut timer = interval(period);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer.reset();
            timer
        };
        Self {
            walk_at: Instant::now() + walk,
            glance: every(GLANCE),
            presence: every(PRESENCE / hurry),
            verify: every(VERIFY / hurry),
        }
    }
}

/// The sources of events, apart from the observer so that both can be borrowed.
struct Sources {
    watcher: LinkWatcher,
    sights: Sights,
    timers: Timers,
    asked: UnboundedReceiver<Ask>,
}

impl Observer {
    /// Observes until `stop`, then delivers what is left.
    async fn run(
        mut self,
        mut sources: Sources,
        deliver: &impl Deliver,
        stop: CancellationToken,
    ) -> Result<(), ObserverError> {
        let mut changes = self.index.subscribe();
        let mut sights: Vec<FirstSight> = Vec::new();
        let mut under_way = UnderWay::idle();
        self.round();
        loop {
            under_way.begin(&mut self, deliver);
            let bind_at = self.bind_at;
            let Sources {
                watcher,
                sights: ring,
                timers,
                asked,
            } = &mut sources;
            tokio::select! {
                () = stop.cancelled() => break,
                event = watcher.next() => match event {
                    Ok(event) => self.on_link(event),
                    Err(error) => self.on_link_error(&error).await,
                },
                result = ring.read(&mut sights) => {
                    result?;
                    sights.clear();
                    timers.walk_at = timers.walk_at.min(Instant::now() + HINTED);
                }
                Ok(()) = changes.changed() => {
                    changes.mark_unchanged();
                    self.bind_soon(DEBOUNCE);
                }
                () = sleep_until(bind_at) => self.bind(),
                () = tokio::time::sleep_until(timers.walk_at) => {
                    self.round();
                    timers.walk_at = Instant::now() + self.options.walk_interval;
                }
                _ = timers.glance.tick() => if self.ring_was_full() { self.round() },
                _ = timers.presence.tick() => self.note_open_connections(),
                _ = timers.verify.tick() => self.verify(),
                // Whoever asked may be gone.
                Some(ask) = asked.recv() => drop(ask.try_send(self.report())),
                outcome = under_way.wait() => under_way.end(&mut self, outcome),
            }
        }
        self.stop(deliver, under_way).await
    }

    async fn on_link_error(&mut self, error: &LinkError) {
        warn!(node = self.name(), "{error}");
        tokio::time::sleep(GLANCE).await;
    }

    /// Whether a first sight found no room in the ring since the last look.
    fn ring_was_full(&mut self) -> bool {
        let full = match self.kernel.events() {
            Ok(events) => events[Event::RingFull as usize],
            Err(error) => {
                warn!(node = self.name(), "{error}");
                return false;
            }
        };
        let grown = full > self.ring_full;
        self.ring_full = full;
        grown
    }

    fn name(&self) -> &str {
        &self.options.node.name
    }

    /// Ends observing: pinned, everything stays attached and counting for the next process.
    async fn stop(
        mut self,
        deliver: &impl Deliver,
        under_way: UnderWay<'_>,
    ) -> Result<(), ObserverError> {
        let pinned = self.options.pins.is_some();
        let detaching = self.options.ending == Ending::Detach;
        if !pinned || detaching {
            self.detach_all();
        }
        self.round();
        let node = self.name().to_owned();
        let left = self.deliver_rest(deliver, under_way).await;
        self.tell(Which::All);
        info!(node, pinned, delivered = left.is_ok(), "stopped observing");
        if !detaching {
            return Ok(());
        }
        self.tell_parked();
        left.map_err(|_| ObserverError::Undelivered { node })
    }

    /// Detaches from everything, so that what the maps hold is final.
    fn detach_all(&mut self) {
        for (ifindex, _) in self.attacher.attached() {
            if let Err(error) = self.attacher.detach(ifindex) {
                warn!(node = self.name(), ifindex, "{error}");
            }
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
