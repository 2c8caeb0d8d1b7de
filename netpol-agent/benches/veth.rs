//! What observing costs on a real veth, and whether edges are lost: `datapath.throughput_ratio`,
//! `datapath.conn_rate_ratio`, `datapath.edges_lost`. Prints one JSON object a line.
//!
//! Two network namespaces of its own, joined by one veth: the node, where the programs attach, and the pod. Ratios
//! alternate observed and unobserved stretches within one run and give the median of neighbouring pairs, so that a
//! machine whose speed drifts slows both sides alike.

mod veth_lab;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::TcAttachType;
use aya::programs::tc::SchedClassifierLinkId;
use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::InterfaceConfig;
use veth_lab::{Load, VethLab};

/// How long each stretch of a ratio lasts.
const STRETCH: Duration = Duration::from_millis(250);
/// How many pairs of stretches a ratio takes.
const PAIRS: usize = 40;
/// How many edges the map holds, and how many are made.
const EDGES: u32 = 65_536;
/// How long the reader of the ring does not read.
const STOPPED: Duration = Duration::from_secs(10);
/// A ring of one page.
const RING_BYTES: u32 = 4096;

fn main() -> Result<()> {
    let lab = VethLab::new()?;
    let mut observer = Observer::new(&lab)?;
    print(
        "datapath.throughput_ratio",
        ratio(&mut observer, &lab.bulk()?)?,
        "ratio",
    )?;
    print(
        "datapath.conn_rate_ratio",
        ratio(&mut observer, &lab.connections()?)?,
        "ratio",
    )?;
    let (lost, made, took) = edges_lost(&lab)?;
    let stopped = STOPPED.as_secs();
    let took = took.as_secs_f64();
    writeln!(
        std::io::stderr(),
        "edges_lost: {made} edges made in {took:.1} s, a ring of {RING_BYTES} bytes not read for {stopped} s"
    )?;
    print("datapath.edges_lost", f64::from(lost), "edges")
}

fn print(name: &str, value: f64, unit: &str) -> Result<()> {
    let line = serde_json::json!({ "name": name, "value": value, "unit": unit });
    writeln!(std::io::stdout(), "{line}").context("stdout")
}

/// The program on the node's side of the veth, to be switched on and off.
struct Observer<'a> {
    kernel: Kernel,
    lab: &'a VethLab,
    links: Option<(SchedClassifierLinkId, SchedClassifierLinkId)>,
}

impl<'a> Observer<'a> {
    fn new(lab: &'a VethLab) -> Result<Self> {
        Self::with(lab, &KernelOptions::default())
    }

    fn with(lab: &'a VethLab, options: &KernelOptions) -> Result<Self> {
        let mut kernel = Kernel::open(options)?;
        let interface = kernel.next_interface()?;
        let config = InterfaceConfig {
            interface,
            quota: 1024,
            ..InterfaceConfig::default()
        };
        kernel.configure(lab.ifindex(), config)?;
        let programs = kernel.programs()?;
        programs.from_pod.load().or_else(loaded)?;
        programs.to_pod.load().or_else(loaded)?;
        Ok(Self {
            kernel,
            lab,
            links: None,
        })
    }

    fn attach(&mut self) -> Result<()> {
        let programs = self.kernel.programs()?;
        let from = programs
            .from_pod
            .attach(self.lab.device(), TcAttachType::Ingress)?;
        let to = programs
            .to_pod
            .attach(self.lab.device(), TcAttachType::Egress)?;
        self.links = Some((from, to));
        Ok(())
    }

    fn detach(&mut self) -> Result<()> {
        if let Some((from, to)) = self.links.take() {
            let programs = self.kernel.programs()?;
            programs.from_pod.detach(from)?;
            programs.to_pod.detach(to)?;
        }
        Ok(())
    }
}

/// Loading a program that the loader has loaded already is no error.
fn loaded(error: aya::programs::ProgramError) -> Result<(), aya::programs::ProgramError> {
    match error {
        aya::programs::ProgramError::AlreadyLoaded => Ok(()),
        error => Err(error),
    }
}

/// Observed over unobserved: the median over pairs of stretches, which one comes first changing from pair to pair.
fn ratio(observer: &mut Observer<'_>, load: &Load) -> Result<f64> {
    stretch(load);
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let mut rates = [0.0; 2];
        for turn in 0..2 {
            let observed = (pair + turn) % 2 == 0;
            if observed {
                observer.attach()?;
            }
            rates[usize::from(observed)] = stretch(load);
            observer.detach()?;
        }
        ratios.push(rates[1] / rates[0]);
    }
    Ok(median(ratios))
}

/// What the load moves in a second, over one stretch.
fn stretch(load: &Load) -> f64 {
    let (from, start) = (load.moved(), Instant::now());
    std::thread::sleep(STRETCH);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let moved = (load.moved() - from) as f64;
    moved / start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One-shot connections at full rate, each to another address, as many as the map holds, while nobody reads the
/// ring. How many edges the map lacks at the end, how many were made, and how long that took.
fn edges_lost(lab: &VethLab) -> Result<(u32, u32, Duration)> {
    let options = KernelOptions {
        ring_bytes: RING_BYTES,
        edges: EDGES,
        ..KernelOptions::default()
    };
    let mut observer = Observer::with(lab, &options)?;
    observer.attach()?;
    let start = Instant::now();
    let made = lab.one_shot(EDGES)?;
    let took = start.elapsed();
    std::thread::sleep(STOPPED.saturating_sub(took));
    let mut found = 0;
    observer.kernel.walk(MapKind::Edges, |_, value| {
        found += u32::from(value.answered > 0)
    })?;
    observer.detach()?;
    Ok((made.saturating_sub(found), made, took))
}
