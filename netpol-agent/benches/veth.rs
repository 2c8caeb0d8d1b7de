//! What observing costs on a real veth, and whether edges are lost: `datapath.throughput_ratio`,
//! `datapath.conn_rate_ratio`, `datapath.edges_lost`. Prints one JSON object a line.
//!
//! Two network namespaces of its own, joined by one veth: the node, where the programs attach, and the pod. Rates are
//! per second of processor time, so that what else runs on the machine counts for nothing but the state it leaves caches
//! in. Ratios alternate observed and unobserved stretches within one run and give the median of neighbouring pairs, so
//! that a machine whose speed drifts slows both sides alike.

mod veth_lab;

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::TcAttachType;
use aya::programs::tc::SchedClassifierLinkId;
use netpol_agent::kernel::{Kernel, KernelOptions, MapKind};
use netpol_common::abi::InterfaceConfig;
use veth_lab::{Load, VethLab};

/// How much each stretch of a ratio moves: bytes, connections.
const BYTES: u64 = 128 << 20;
const CONNECTIONS: u64 = 2000;
/// How many pairs of stretches a ratio takes.
const PAIRS: usize = 101;
/// How many edges the map holds, and how many are made.
const EDGES: u32 = 65_536;
/// How long the reader of the ring does not read.
const STOPPED: Duration = Duration::from_secs(10);
/// A ring of one page.
const RING_BYTES: u32 = 4096;

fn main() -> Result<()> {
    let lab = VethLab::new()?;
    let mut observer = Observer::new(&lab)?;
    for (name, load) in [
        ("throughput_ratio", lab.bulk(BYTES)?),
        ("conn_rate_ratio", lab.connections(CONNECTIONS)?),
    ] {
        let ratio = ratio(&mut observer, &load).with_context(|| name.to_owned())?;
        note(name, &ratio)?;
        print(&format!("datapath.{name}"), ratio.median, "ratio")?;
    }
    drop(observer);
    let (lost, took) = edges_lost(&lab).context("edges_lost")?;
    let stopped = STOPPED.as_secs();
    let took = took.as_secs_f64();
    writeln!(
        std::io::stderr(),
        "edges_lost: {EDGES} edges made in {took:.1} s, a ring of {RING_BYTES} bytes not read for {stopped} s"
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

/// Observed over unobserved.
struct Ratio {
    /// Of all pairs of stretches, which one comes first changing from pair to pair.
    median: f64,
    /// Half of the pairs lie between.
    quartiles: [f64; 2],
    /// The median rates without and with the programs.
    rates: [f64; 2],
}

fn ratio(observer: &mut Observer<'_>, load: &Load) -> Result<Ratio> {
    let (mut ratios, mut all) = (Vec::new(), [Vec::new(), Vec::new()]);
    for pair in 0..PAIRS {
        let mut rates = [0.0; 2];
        for turn in 0..2 {
            let observed = (pair + turn) % 2 == 0;
            if observed {
                observer.attach()?;
            }
            rates[usize::from(observed)] = observer.lab.rate(load)?;
            observer.detach()?;
        }
        ratios.push(rates[1] / rates[0]);
        for (all, rate) in all.iter_mut().zip(rates) {
            all.push(rate);
        }
    }
    ratios.sort_by(f64::total_cmp);
    Ok(Ratio {
        median: ratios[PAIRS / 2],
        quartiles: [ratios[PAIRS / 4], ratios[PAIRS * 3 / 4]],
        rates: all.map(median),
    })
}

/// Says how sure a ratio is.
fn note(name: &str, ratio: &Ratio) -> Result<()> {
    let ([low, high], [without, with]) = (ratio.quartiles, ratio.rates);
    writeln!(
        std::io::stderr(),
        "{name}: half of {PAIRS} pairs within {low:.3} to {high:.3}; {without:.4e} a second of processor time without, \
         {with:.4e} with the programs"
    )
    .context("stderr")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One-shot connections at full rate, each to another address, as many as the map holds, while nobody reads the
/// ring. How many edges the map lacks at the end, and how long the connections took.
fn edges_lost(lab: &VethLab) -> Result<(u32, Duration)> {
    let options = KernelOptions {
        ring_bytes: RING_BYTES,
        edges: EDGES,
        ..KernelOptions::default()
    };
    let mut observer = Observer::with(lab, &options)?;
    observer.attach()?;
    let start = Instant::now();
    lab.one_shot(EDGES)?;
    let took = start.elapsed();
    std::thread::sleep(STOPPED.saturating_sub(took));
    let mut found = 0;
    observer.kernel.walk(MapKind::Edges, |_, value| {
        found += u32::from(value.answered > 0)
    })?;
    observer.detach()?;
    Ok((EDGES.saturating_sub(found), took))
}
