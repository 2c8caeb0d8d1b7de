//! What the aggregator's keeper takes: edges in a second of one processor, and memory.
//!
//! `aggregator.edges_per_s`: deliveries of 200 edges as they come from the wire (JSON in zstd), decoded, committed to a file
//! (synced) and acknowledged, divided by the processor time that all threads took, folding included; the wall clock's
//! figure stands beside it. `aggregator.rss_mib`: the most that a process ever had resident which takes in the list of
//! 100,000 pods, then a million edges, and makes a snapshot of them.

mod world;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use netpol_agent::identity::Index;
use netpol_agent::identity::objects::ObjectKind;
use netpol_agent::keeper::{self, Handle, Keeper, Options, SharedIndex};
use netpol_agent::store::Store;
use netpol_agent::wire::{self, Encoding};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use world::World;

/// Deliveries under way at the same time.
const ABREAST: usize = 16;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().any(|argument| argument == "memory") {
        true => memory(),
        false => {
            throughput();
            // In a process of its own, whose peak is then its own.
            let mut child = Command::new(std::env::current_exe().expect("the benchmark is a file"));
            let child = child.arg("memory").stdin(Stdio::null()).status();
            assert!(child.expect("it starts again").success());
        }
    }
}

/// A keeper with a file of its own.
fn keeper(index: SharedIndex, snapshots: Option<Duration>) -> (TempDir, Handle, Keeper) {
    let directory = TempDir::new().expect("a temporary directory");
    let store = Store::open(&directory.path().join("graph.db")).expect("a store");
    let options = Options {
        snapshots,
        ..Options::default()
    };
    let (handle, keeper) = keeper::start(store, index, &options).expect("a keeper");
    (directory, handle, keeper)
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn throughput() {
    let world = World { nodes: 200 };
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let (_directory, handle, keeper) = keeper(SharedIndex::new(Index::default()), None);
        let (mut edges, mut processor, mut wall) = (0, 0.0, 0.0);
        for turn in 1..=5 {
            let bodies: Vec<Vec<u8>> = world.deliveries(turn).map(|it| pack(&it)).collect();
            let (begin, before) = (Instant::now(), processor_seconds());
            edges += take(&handle, bodies);
            processor += processor_seconds() - before;
            wall += begin.elapsed().as_secs_f64();
        }
        let before = processor_seconds();
        drop(handle);
        keeper.join().expect("the keeper ends");
        processor += processor_seconds() - before;
        rates.push((edges as f64 / processor, edges as f64 / wall));
    }
    rates.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (processor, wall) = rates[rates.len() / 2];
    figure("aggregator.edges_per_s", processor, "edges/s");
    figure("aggregator.edges_per_s_wall", wall, "edges/s");
}

fn pack(delivery: &wire::Delivery) -> Vec<u8> {
    wire::encode(delivery).expect("a delivery that fits")
}

/// Takes bodies in as the server does, some at a time. Returns how many edges they held.
fn take(handle: &Handle, bodies: Vec<Vec<u8>>) -> usize {
    let mut edges = 0;
    runtime().block_on(async {
        for some in bodies.chunks(ABREAST) {
            let commits = some.iter().map(|body| {
                let delivery = wire::decode(body, Encoding::Zstd).expect("it was packed");
                edges += delivery
                    .batches
                    .iter()
                    .map(|it| it.edges.len())
                    .sum::<usize>();
                handle.commit(delivery.batches)
            });
            for kept in futures::future::join_all(commits).await {
                kept.expect("kept");
            }
        }
    });
    edges
}

fn memory() {
    let world = World::default();
    let index = SharedIndex::new(Index::default());
    let listed = world.owners().collect();
    let kind = ObjectKind::Owner("ReplicaSet".to_owned());
    index.change(|index| index.reset_kind(&kind, listed, Timestamp::now()));
    let listed = world.pods().collect();
    index.change(|index| index.reset_kind(&ObjectKind::Pod, listed, Timestamp::now()));
    figure("aggregator.rss_mib_list", peak(), "MiB");
    let (_directory, handle, keeper) = keeper(index, Some(Duration::from_secs(5)));
    let mut snapshots = handle.snapshots();
    let mut edges = 0;
    for turn in 1..=3 {
        let mut bodies = world.deliveries(turn).map(|it| pack(&it));
        loop {
            let some: Vec<Vec<u8>> = bodies.by_ref().take(ABREAST).collect();
            if some.is_empty() {
                break;
            }
            let taken = take(&handle, some);
            edges += if turn == 1 { taken } else { 0 };
        }
    }
    let last = snapshots.borrow_and_update().number;
    let begin = Instant::now();
    let whole = snapshots.wait_for(|snapshot| snapshot.number > last + 1);
    let snapshot = Arc::clone(&runtime().block_on(whole).expect("a snapshot"));
    let (seen, unresolved) = (
        snapshot.graph.edges.len(),
        snapshot.graph.unresolved.flows.len(),
    );
    let waited = begin.elapsed().as_secs_f64();
    eprintln(&format!(
        "{edges} edges told, {seen} between workloads, {unresolved} unresolved; {waited:.1} s for two snapshots"
    ));
    figure("aggregator.rss_mib", peak(), "MiB");
    drop((snapshots, snapshot, handle));
    keeper.join().expect("the keeper ends");
}

/// Seconds of processor time that this process has taken.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: f64 = text
        .split(' ')
        .next()
        .and_then(|it| it.parse().ok())
        .unwrap_or(0.0);
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ')
            .next()
            .and_then(|it| it.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    let all: f64 = tasks.flatten().map(|task| of(task.path())).sum();
    all.max(own) / 1e9
}

/// The most that this process ever had resident, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.expect("Linux tells it") / 1024.0
}

fn figure(name: &str, value: f64, unit: &str) {
    let mut out = std::io::stdout().lock();
    let line = format!("{{\"name\":\"{name}\",\"value\":{value:.1},\"unit\":\"{unit}\"}}");
    writeln!(out, "{line}").expect("somebody reads");
}

fn eprintln(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").expect("somebody reads");
}
