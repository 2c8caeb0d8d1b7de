//! The kernel program as user space sees it: loading, maps, walking, first sights.
//!
//! [`Kernel::open`] loads the program that the build embedded and makes its maps, or adopts those that an earlier
//! process pinned. The program is attached elsewhere; nothing here touches an interface or a qdisc.

mod error;
mod interfaces;
mod layout;
mod object;
mod sights;
mod syscall;
mod tables;

use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::SchedClassifier;
use netpol_common::abi::{
    Counters, EVENTS, EdgeKey, EdgeValue, FATES, InterfaceConfig, InterfaceStats, Meta,
};

pub use error::KernelError;
pub use sights::Sights;

use interfaces::Interfaces;
use layout::MapName;
use tables::Table;

/// How to open the kernel side.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// Where the maps are pinned, on a bpffs: `<bpffs>/netpol/<instance>/v<ABI_VERSION>`. `None`: the maps live as
    /// long as this process and the programs that it attached.
    pub pin_dir: Option<PathBuf>,
    /// How many distinct live edges `EDGES` holds.
    pub edges: u32,
    /// How many attempts without an answer `ATTEMPTS` holds, of all interfaces together.
    pub attempts: u32,
    /// The size of the ring of first sights in bytes: rounded up to a power of two of at least one page.
    pub ring_bytes: u32,
}

/// The two maps that hold counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MapKind {
    /// What was answered at least once.
    Edges,
    /// What was not answered when it was sent.
    Attempts,
}

/// The two loaded classifiers, to be attached to the host's side of a pod's interface.
#[derive(Debug)]
pub struct Programs<'a> {
    /// For packets that the pod sends: TCX or clsact *ingress*.
    pub from_pod: &'a mut SchedClassifier,
    /// For packets towards the pod: TCX or clsact *egress*.
    pub to_pod: &'a mut SchedClassifier,
}

/// The loaded program and its maps.
pub struct Kernel {
    ebpf: Ebpf,
    edges: Table,
    attempts: Table,
    interfaces: Interfaces,
    meta: Array<MapData, u64>,
    counters: PerCpuArray<MapData, [u64; FATES + EVENTS]>,
    #[cfg(debug_assertions)]
    log: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
}

impl Default for KernelOptions {
    fn default() -> Self {
        Self {
            pin_dir: None,
            edges: 65_536,
            attempts: 32_768,
            ring_bytes: 256 * 1024,
        }
    }
}

impl Kernel {
    /// Loads the program and makes its maps, or adopts the maps that are pinned already.
    ///
    /// # Errors
    ///
    /// [`KernelError`], whose message says what to do: no privileges, no BPF, no bpffs, pinned maps of another size.
    pub fn open(options: &KernelOptions) -> Result<Self, KernelError> {
        let mut ebpf = object::load(options)?;
        let mut meta = Array::try_from(object::take(&mut ebpf, MapName::Meta)?)?;
        let counters = PerCpuArray::try_from(object::take(&mut ebpf, MapName::Counters)?)?;
        let edges = Table::new(object::data(&mut ebpf, MapName::Edges)?);
        let attempts = Table::new(object::data(&mut ebpf, MapName::Attempts)?);
        let interfaces = Interfaces::new(
            Array::try_from(object::take(&mut ebpf, MapName::Interfaces)?)?,
            Array::try_from(object::take(&mut ebpf, MapName::InterfaceStats)?)?,
        )?;
        object::initialise(&mut meta)?;
        // The kernel program of a debug build logs, unless it is the one of the benchmarks.
        #[cfg(debug_assertions)]
        let log = aya_log::EbpfLogger::init(&mut ebpf).ok();
        Ok(Self {
            ebpf,
            edges,
            attempts,
            interfaces,
            meta,
            counters,
            #[cfg(debug_assertions)]
            log,
        })
    }

    /// The number drawn when these maps were made: part of the epoch.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the look-up.
    pub fn epoch_instance(&self) -> Result<u64, KernelError> {
        Ok(self.meta.get(&(Meta::Instance as u32), 0)?)
    }

    /// Gives away an interface handle that was never given before in this epoch, also by another process.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the look-up or the update.
    pub fn next_interface(&mut self) -> Result<u32, KernelError> {
        let index = Meta::NextInterface as u32;
        let next = self.meta.get(&index, 0)?.max(1);
        self.meta.set(index, next + 1, 0)?;
        Ok(u32::try_from(next).unwrap_or(u32::MAX))
    }

    /// Tells the program of an interface, or changes what it was told. `ifindex` and `freed` of `config` are set
    /// here. A new handle starts with statistics of zero.
    ///
    /// # Errors
    ///
    /// [`KernelError::TooManyInterfaces`], or [`KernelError::Map`] if the kernel refuses an update.
    pub fn configure(&mut self, ifindex: u32, config: InterfaceConfig) -> Result<(), KernelError> {
        self.interfaces.configure(ifindex, config)?;
        self.tell_one_sided()
    }

    /// Makes the program ignore an interface from now on. Its edges stay until they are deleted.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the update.
    pub fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.interfaces.forget(ifindex)?;
        self.tell_one_sided()
    }

    /// Every configured interface, by ifindex.
    #[must_use]
    pub fn interfaces(&self) -> Vec<InterfaceConfig> {
        self.interfaces.all()
    }

    /// What was counted on an interface since it got its handle; zero for one that is not configured.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the look-up.
    pub fn stats(&self, ifindex: u32) -> Result<InterfaceStats, KernelError> {
        self.interfaces.stats(ifindex)
    }

    /// Reads every entry that was in the map when the walk began and still is, in no particular order, in batches.
    ///
    /// # Errors
    ///
    /// [`KernelError::Batch`] if the kernel refuses.
    pub fn walk(
        &self,
        kind: MapKind,
        visit: impl FnMut(EdgeKey, EdgeValue),
    ) -> Result<(), KernelError> {
        self.table(kind).walk(visit)
    }

    /// Makes an entry without counts, so that the program knows which end of a conversation under way is the client.
    /// `time`, in nanoseconds of `CLOCK_MONOTONIC`, is when it was found. `false` if there is an entry already, which
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// [`KernelError::Insert`] if the kernel refuses, or the map is full.
    pub fn insert(&self, kind: MapKind, key: &EdgeKey, time: u64) -> Result<bool, KernelError> {
        let value = EdgeValue {
            first_seen: time,
            last_seen: time,
            ..EdgeValue::default()
        };
        self.table(kind).insert(key, &value)
    }

    /// Deletes an entry and gives its last value, `None` if there was none. An attempt's place in the quota of its
    /// interface is free again.
    ///
    /// On kernels below 5.14 the look-up and the deletion are two steps; a packet between them is not counted.
    ///
    /// # Errors
    ///
    /// [`KernelError::Delete`] if the kernel refuses.
    pub fn delete(
        &mut self,
        kind: MapKind,
        key: &EdgeKey,
    ) -> Result<Option<EdgeValue>, KernelError> {
        let value = self.table(kind).delete(key)?;
        if kind == MapKind::Attempts && value.is_some() {
            self.interfaces.free(key.interface)?;
        }
        Ok(value)
    }

    /// Fates of all packets, by index of [`netpol_common::abi::Fate`], summed over CPUs.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the look-up.
    pub fn fates(&self) -> Result<[u64; FATES], KernelError> {
        Ok(self.counters()?.fates)
    }

    /// Events, by index of [`netpol_common::abi::Event`], summed over CPUs.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the look-up.
    pub fn events(&self) -> Result<[u64; EVENTS], KernelError> {
        Ok(self.counters()?.events)
    }

    /// Fates and events of one moment, summed over CPUs.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] if the kernel refuses the look-up.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        let mut sum = Counters {
            fates: [0; FATES],
            events: [0; EVENTS],
        };
        for cpu in self.counters.get(&0, 0)?.iter() {
            let (fates, events) = cpu.split_at(FATES);
            add(&mut sum.fates, fates);
            add(&mut sum.events, events);
        }
        Ok(sum)
    }

    /// The reader of first sights. There is one; it must be made within a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// [`KernelError::SightsTaken`] the second time, or [`KernelError::Sights`] if the ring cannot be registered.
    pub fn sights(&mut self) -> Result<Sights, KernelError> {
        let map = self
            .ebpf
            .take_map(MapName::Sights.name())
            .ok_or(KernelError::SightsTaken)?;
        Sights::new(map)
    }

    /// Passes on what the kernel program of a debug build has logged since the last call.
    #[cfg(debug_assertions)]
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// The two classifiers.
    ///
    /// # Errors
    ///
    /// [`KernelError::Object`] if the embedded object lacks one.
    pub fn programs(&mut self) -> Result<Programs<'_>, KernelError> {
        object::programs(&mut self.ebpf)
    }

    /// The two classifiers, loaded once more: others than before to the kernel, which count into the same maps. The ones
    /// loaded before live on where they are attached or held open.
    ///
    /// # Errors
    ///
    /// [`KernelError`] if the kernel refuses to load them again.
    pub fn load_again(&mut self) -> Result<Programs<'_>, KernelError> {
        object::load_again(&mut self.ebpf)?;
        self.programs()
    }

    fn table(&self, kind: MapKind) -> &Table {
        match kind {
            MapKind::Edges => &self.edges,
            MapKind::Attempts => &self.attempts,
        }
    }

    fn tell_one_sided(&mut self) -> Result<(), KernelError> {
        let count = self.interfaces.one_sided();
        self.meta.set(Meta::OneSided as u32, count, 0)?;
        Ok(())
    }
}

fn add(sum: &mut [u64], one: &[u64]) {
    for (sum, one) in sum.iter_mut().zip(one) {
        *sum += one;
    }
}
