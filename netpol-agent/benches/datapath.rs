//! What a packet costs: nanoseconds over an empty program, by `BPF_PROG_TEST_RUN`.
//!
//! Pinned to one core. Each figure is the median of several rounds of at least ten million runs; in each round the
//! program and what it is measured against run one after the other. Wall time around the system call, divided by the
//! runs. Prints one JSON object a line. Needs root.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::{Program, SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use netpol_common::abi::{EdgeKey, EdgeValue, InterfaceConfig, Meta, interface_slot};
use netpol_ebpf::host::Frame;
use netpol_ebpf::packet::flag;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netpol-bench"));

const ROUNDS: usize = 5;
const RUNS: u32 = 10_000_000;
/// Runs between two clearings of `ATTEMPTS`, and its size.
const FRESH_RUNS: u32 = 200_000;
const ATTEMPTS: u32 = 1 << 18;
const LOOPBACK: u32 = 1;

fn main() -> Result<()> {
    pin_to_a_core()?;
    let mut bench = Bench::open()?;
    for (name, value) in bench.figures()? {
        print(name, value);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(name: &str, value: f64) {
    println!(r#"{{"name":"datapath.{name}","value":{value:.1},"unit":"ns"}}"#);
}

/// The loaded object.
struct Bench {
    ebpf: Ebpf,
}

/// What is run over which frame, and the program that it is measured against.
struct Subject<'a> {
    program: &'a str,
    base: &'a str,
    frame: Vec<u8>,
    /// Whether each run makes an entry of `ATTEMPTS`, which are then cleared now and then.
    fills: bool,
}

impl Bench {
    fn open() -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("ATTEMPTS", ATTEMPTS)
            .load(OBJECT)
            .context("loading the program: this needs root")?;
        for (_, program) in ebpf.programs_mut() {
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
        }
        let config = InterfaceConfig {
            ifindex: LOOPBACK,
            interface: 1,
            flags: 0,
            quota: u32::MAX,
            freed: 0,
        };
        let map = ebpf.map_mut("INTERFACES").context("the map INTERFACES")?;
        let mut interfaces: Array<_, [u8; InterfaceConfig::SIZE]> = Array::try_from(map)?;
        interfaces.set(interface_slot(LOOPBACK, 0), config.to_bytes(), 0)?;
        let map = ebpf.map_mut("META").context("the map META")?;
        let mut meta: Array<_, u64> = Array::try_from(map)?;
        meta.set(Meta::Seed as u32, 0x5eed_5eed_5eed_5eed, 0)?;
        Ok(Self { ebpf })
    }

    fn figures(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let data = |six| tcp(six, flag::ACK);
        let mut figures = vec![
            (
                "reference_lookup_ns",
                self.median(&plain("lookup", data(false)))?,
            ),
            ("tcp_data_ns", self.median(&plain("from_pod", data(false)))?),
            (
                "tcp_data_to_pod_ns",
                self.median(&plain("to_pod", data(false)))?,
            ),
            (
                "tcp_data_ipv6_ns",
                self.median(&plain("from_pod", data(true)))?,
            ),
            (
                "tcp_syn_new_ns",
                self.median(&varied("server", tcp(false, flag::SYN)))?,
            ),
            ("udp_new_ns", self.median(&varied("server", udp(false)))?),
        ];
        self.learn()?;
        figures.push((
            "tcp_syn_known_ns",
            self.median(&Subject {
                fills: false,
                ..varied("client", tcp(false, flag::SYN))
            })?,
        ));
        let mut worst: f64 = 0.0;
        for (program, reply) in [
            ("from_pod", false),
            ("to_pod", true),
            ("to_pod", false),
            ("from_pod", true),
        ] {
            worst = worst.max(self.median(&plain(program, udp(reply)))?);
        }
        figures.push(("udp_known_ns", worst));
        Ok(figures)
    }

    /// Makes the edges that the known packets belong to, and checks that they are known.
    fn learn(&mut self) -> Result<()> {
        self.clear()?;
        let answer = |flags| tcp_back(flags).bytes();
        self.run("from_pod", &tcp(false, flag::SYN), 1)?;
        self.run("to_pod", &answer(flag::SYN | flag::ACK), 1)?;
        for (there, back) in [("from_pod", "to_pod"), ("to_pod", "from_pod")] {
            self.run(there, &udp(false), 1)?;
            self.run(back, &udp(true), 1)?;
        }
        let edges = entries(&self.ebpf, "EDGES")?;
        ensure!(edges == 3, "three edges should be known, not {edges}");
        Ok(())
    }

    fn median(&mut self, subject: &Subject<'_>) -> Result<f64> {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let base = self.round(subject.base, subject, false)?;
            let cost = self.round(subject.program, subject, subject.fills)?;
            rounds.push(cost - base);
        }
        rounds.sort_by(f64::total_cmp);
        Ok(rounds[ROUNDS / 2])
    }

    /// Nanoseconds a run.
    fn round(&mut self, program: &str, subject: &Subject<'_>, fills: bool) -> Result<f64> {
        let step = if fills { FRESH_RUNS } else { RUNS };
        let mut frame = subject.frame.clone();
        let mut spent = 0.0;
        for turn in 0..RUNS / step {
            if fills {
                self.clear()?;
                frame[38..42].copy_from_slice(&(turn * step).to_ne_bytes());
            }
            let begin = Instant::now();
            self.run(program, &frame, step)?;
            spent += begin.elapsed().as_secs_f64();
        }
        Ok(spent * 1e9 / f64::from(RUNS / step * step))
    }

    fn run(&mut self, name: &str, frame: &[u8], repeat: u32) -> Result<()> {
        let program = self
            .ebpf
            .program(name)
            .with_context(|| format!("no program {name}"))?;
        let Program::SchedClassifier(program) = program else {
            anyhow::bail!("{name} is no classifier");
        };
        program.test_run(TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::new()
        })?;
        Ok(())
    }

    /// Empties `ATTEMPTS`.
    fn clear(&mut self) -> Result<()> {
        take_all(map(&self.ebpf, "ATTEMPTS")?).context("clearing ATTEMPTS")
    }
}

fn plain(program: &str, frame: Vec<u8>) -> Subject<'_> {
    Subject {
        program,
        base: "empty",
        frame,
        fills: false,
    }
}

fn varied(what: &str, frame: Vec<u8>) -> Subject<'static> {
    let (program, base) = match what {
        "client" => ("varied_client_from_pod", "varied_client"),
        _ => ("varied_server_from_pod", "varied_server"),
    };
    Subject {
        program,
        base,
        frame,
        fills: true,
    }
}

fn tcp(six: bool, flags: u8) -> Vec<u8> {
    let (pod, peer) = if six {
        (
            [0xfd00, 0, 0, 0, 0, 0, 0, 4].into(),
            [0xfd00, 0, 0, 0, 0, 0, 0, 9].into(),
        )
    } else {
        ([10, 1, 0, 4].into(), [10, 1, 0, 9].into())
    };
    Frame::tcp((pod, 40_000), (peer, 443), flags, 1000, 1).bytes()
}

fn tcp_back(flags: u8) -> Frame {
    Frame::tcp(
        ([10, 1, 0, 9].into(), 443),
        ([10, 1, 0, 4].into(), 40_000),
        flags,
        9000,
        1001,
    )
}

fn udp(reply: bool) -> Vec<u8> {
    let (client, server) = (([10, 1, 0, 4].into(), 40_000), ([10, 1, 0, 9].into(), 53));
    if reply {
        Frame::udp(server, client).bytes()
    } else {
        Frame::udp(client, server).bytes()
    }
}

fn map<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData> {
    match ebpf.map(name) {
        Some(Map::HashMap(map)) => Ok(map),
        _ => anyhow::bail!("the hash map {name}"),
    }
}

fn entries(ebpf: &Ebpf, name: &str) -> Result<usize> {
    let map = ebpf.map(name).with_context(|| format!("the map {name}"))?;
    let map: HashMap<_, [u8; EdgeKey::SIZE], [u8; EdgeValue::SIZE]> = HashMap::try_from(map)?;
    Ok(map.keys().count())
}

fn pin_to_a_core() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("pinning to a core")
}

/// Deletes every entry by `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
fn take_all(map: &MapData) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Batch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }
    const COMMAND: libc::c_long = 25;
    let room = usize::try_from(ATTEMPTS).unwrap_or(0);
    let mut keys = vec![[0_u8; EdgeKey::SIZE]; room];
    let mut values = vec![[0_u8; EdgeValue::SIZE]; room];
    let mut cursor = 0_u32;
    let mut batch = Batch {
        out_batch: std::ptr::from_mut(&mut cursor).addr() as u64,
        keys: keys.as_mut_ptr().addr() as u64,
        values: values.as_mut_ptr().addr() as u64,
        count: ATTEMPTS,
        map_fd: map.fd().as_fd().as_raw_fd().unsigned_abs(),
        ..Batch::default()
    };
    let attributes = std::ptr::from_mut(&mut batch);
    // SAFETY: the buffers hold as many entries as the map can; all outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, COMMAND, attributes, size_of::<Batch>()) };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        // The end of the map was reached.
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        error => Err(error),
    }
}
