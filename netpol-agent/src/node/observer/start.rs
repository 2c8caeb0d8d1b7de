//! Setting an observer up, on its own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread::JoinHandle;
use std::time::Duration;

use netpol_common::abi::ABI_VERSION;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::refused::Refused;
use super::{Ending, Observer, ObserverError, ObserverOptions, Sources, Timers};
use crate::kernel::{Kernel, KernelOptions};
use crate::node::account::Account;
use crate::node::attach::{self, Adopted, Attacher, Programs};
use crate::node::bind::Binder;
use crate::node::books::Books;
use crate::node::clock::kernel_now;
use crate::node::deliver::Deliver;
use crate::node::interfaces::{Interface, Interfaces};
use crate::node::journal::{Journal, Kept};
use crate::node::links::{Link, LinkEvent, LinkWatcher, WatchOptions};
use crate::node::outbox::Outbox;
use crate::node::report::{Ask, Asker, asking};
use crate::node::seeds::Seeds;
use crate::node::shared::SharedIndex;
use crate::node::tally::Teller;
use crate::node::trouble::Trouble;
use crate::observe::Epoch;

/// An observer's thread.
#[derive(Debug)]
pub struct Running {
    node: String,
    thread: JoinHandle<Result<(), ObserverError>>,
    ready: oneshot::Receiver<()>,
    asker: Asker,
}

impl Running {
    /// Waits until every interface that there was at the start is observed; `false` if the thread has ended instead.
    pub async fn ready(&mut self) -> bool {
        (&mut self.ready).await.is_ok()
    }

    /// Waits until the thread has ended.
    ///
    /// # Errors
    ///
    /// Why it ended before it was told to.
    pub fn join(self) -> Result<(), ObserverError> {
        let node = self.node;
        self.thread
            .join()
            .unwrap_or(Err(ObserverError::Fault { node }))
    }

    /// A way to ask how it stands.
    #[must_use]
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts a thread that observes a node until `stop`.
///
/// # Errors
///
/// [`ObserverError::System`] if the system gives no thread.
pub fn spawn<D: Deliver + Send + 'static>(
    options: ObserverOptions,
    index: SharedIndex,
    deliver: D,
    stop: CancellationToken,
) -> Result<Running, ObserverError> {
    let node = options.node.name.clone();
    let (tell, ready) = oneshot::channel();
    let (asker, asked) = asking();
    let observe = move || {
        options.node.enter()?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let (observer, sources) = Observer::start(options, index, asked).await?;
            // Whoever waits may have given up meanwhile.
            let _heard = tell.send(());
            observer.run(sources, &deliver, stop).await
        })
    };
    let thread = std::thread::Builder::new().name(format!("observe {node}"));
    let thread = thread
        .spawn(observe)
        .map_err(|source| ObserverError::System {
            doing: "start a thread",
            source,
        })?;
    Ok(Running {
        node,
        thread,
        ready,
        asker,
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, ObserverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|source| ObserverError::System {
        doing: "start a runtime",
        source,
    })
}

impl Observer {
    /// Opens everything, takes over what an earlier process left, and observes every interface that there is.
    async fn start(
        options: ObserverOptions,
        index: SharedIndex,
        asked: UnboundedReceiver<Ask>,
    ) -> Result<(Self, Sources), ObserverError> {
        let mut options = options;
        let pin_dir = options.pins.as_ref().map(|pins| pins.version(ABI_VERSION));
        if let (Ending::Detach, Some(directory)) = (options.ending, &pin_dir) {
            options.kernel = options.kernel.sized_as_pinned(directory);
        }
        let mut kernel = Kernel::open(&KernelOptions {
            pin_dir,
            ..options.kernel.clone()
        })?;
        let epoch = epoch(&kernel)?;
        let (journal, kept) = Journal::open(&options.journal, &epoch)?;
        let attacher = attacher(&options, &mut kernel)?;
        let sights = kernel.sights()?;
        let mut watcher = LinkWatcher::new(WatchOptions::default())?;
        // A journal that had to be begun anew does not know the numbers of the batches that it forgot.
        let taken = options.sequences.get(&epoch).copied().unwrap_or(0);
        let sequence = kept.sequence.max(taken);
        let outbox = Outbox::new(options.node.name.clone(), epoch, sequence);
        let mut observer = Self {
            binder: Binder::new(options.bind.clone()),
            books: books(kept),
            asked_last: 0,
            ring_full: 0,
            journaling: Trouble::new("writing the journal, before edges are delivered,"),
            teller: Teller::default(),
            is_news: true,
            walked: None,
            kernel,
            attacher,
            journal,
            outbox,
            index,
            links: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            refused: Refused::default(),
            former: BTreeMap::new(),
            pods: Vec::new(),
            bind_at: None,
            bind_pause: Duration::ZERO,
            options,
        };
        observer.sample_clock();
        observer.take_over()?;
        observer.read_addresses();
        if let LinkEvent::Resync(links) = watcher.next().await? {
            observer.first_scan(links);
        }
        observer.retire_other_versions()?;
        let timers = Timers::new(observer.options.walk_interval, observer.options.hurry);
        Ok((
            observer,
            Sources {
                watcher,
                sights,
                timers,
                asked,
            },
        ))
    }

    /// Takes over the interfaces that an earlier process observed and that are still the same.
    fn take_over(&mut self) -> Result<(), ObserverError> {
        let adopted = self.attacher.adopt()?;
        let alive: BTreeMap<u32, u32> = adopted
            .iter()
            .filter(|adopted| adopted.alive)
            .map(
                |Adopted {
                     ifindex, interface, ..
                 }| (*interface, *ifindex),
            )
            .collect();
        for config in self.kernel.interfaces() {
            self.know(config.interface, config.ifindex);
        }
        for (handle, ifindex) in &alive {
            self.know(*handle, *ifindex);
            self.configure(*handle)?;
        }
        let dead = self.books.interfaces.iter();
        let dead = dead.filter(|known| !known.is_dead() && !alive.contains_key(&known.handle));
        let dead: Vec<u32> = dead.map(|known| known.handle).collect();
        dead.into_iter().for_each(|handle| self.died(handle));
        self.know_strays();
        if !adopted.is_empty() {
            let (node, interfaces) = (self.name(), alive.len());
            info!(node, interfaces, "taken over from an earlier process");
        }
        Ok(())
    }

    /// Detaches what another version of this agent left, now that ours is attached. No layout but the present one has
    /// ever been released, so that there is none that could be read a last time.
    fn retire_other_versions(&mut self) -> Result<(), ObserverError> {
        for version in self.attacher.other_versions()? {
            let interfaces = self.attacher.retire(version)?.len();
            if let Some(pins) = &self.options.pins {
                pins.remove_version(version)?;
            }
            warn!(
                node = self.name(),
                version,
                interfaces,
                "detached a program of another layout; what it had not delivered is lost"
            );
        }
        Ok(())
    }

    /// Makes a record of an interface that the kernel knows and the journal does not, or only by its handle.
    fn know(&mut self, handle: u32, ifindex: u32) {
        match self.books.interfaces.get_mut(handle) {
            Some(known) if known.ifindex == 0 => known.ifindex = ifindex,
            Some(_) => return,
            None => self.make_known(handle, ifindex),
        }
        self.keep_interface(handle);
    }

    fn make_known(&mut self, handle: u32, ifindex: u32) {
        warn!(
            node = self.name(),
            ifindex, handle, "the journal does not know this interface"
        );
        let interface = Interface {
            seeded: true,
            gap: true,
            since: kernel_now(),
            ..Interface::new(handle, ifindex, &format!("if{ifindex}"))
        };
        self.books.interfaces.insert(interface);
    }

    /// Makes records of interfaces that are gone, of which neither the kernel nor the journal knows, but whose edges are
    /// in the maps: they may be told by the addresses that their pod used.
    fn know_strays(&mut self) {
        if let Err(error) = self.walk() {
            return warn!(node = self.name(), "cannot read edges: {error}");
        }
        let handles = self.books.account.iter().map(|(key, _)| key.interface);
        let strays: BTreeSet<u32> = handles
            .filter(|handle| self.books.interfaces.get(*handle).is_none())
            .collect();
        for handle in strays {
            self.make_known(handle, 0);
            if let Some(interface) = self.books.interfaces.get_mut(handle) {
                interface.dead_since = Some(kernel_now());
            }
            self.keep_interface(handle);
        }
    }

    /// Observes what there is; an interface that was taken over is told by its living handle.
    fn first_scan(&mut self, links: Vec<Link>) {
        let unseeded = self
            .books
            .interfaces
            .iter()
            .filter(|known| !known.is_dead() && !known.seeded);
        let unseeded: Vec<u32> = unseeded.map(|known| known.handle).collect();
        self.resync(links);
        self.bind_from_start();
        self.seed(&unseeded, &[]);
    }
}

fn epoch(kernel: &Kernel) -> Result<Epoch, ObserverError> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let boot_id = boot_id.map_err(|source| ObserverError::System {
        doing: "read /proc/sys/kernel/random/boot_id",
        source,
    })?;
    Ok(Epoch {
        boot_id: boot_id.trim().to_owned(),
        instance: kernel.epoch_instance()?,
        abi_version: ABI_VERSION,
    })
}

fn attacher(options: &ObserverOptions, kernel: &mut Kernel) -> Result<Attacher, ObserverError> {
    let epoch = kernel.epoch_instance()?;
    let programs = Programs::try_from(kernel.programs()?)?;
    let options = attach::Options {
        mechanism: options.mechanism,
        instance: options.instance.clone(),
        abi_version: ABI_VERSION,
        epoch,
        pins: options.pins.clone(),
    };
    Ok(Attacher::new(options, programs)?)
}

fn books(kept: Kept) -> Books {
    Books {
        account: Account::default(),
        seeds: Seeds::adopt(kept.seeds),
        interfaces: Interfaces::adopt(kept.interfaces),
        clock: kept.clock,
    }
}
