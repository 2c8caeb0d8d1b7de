//! What the node agent costs: `agent.rss_mib`, `agent.cgroup_mib`, `agent.cpu_core_percent`. Prints one JSON object a line.
//!
//! The real program, in a memory control group of its own, on a node made of network namespaces: 110 pods with veths, and
//! 10,010 edges between them and the rest of the cluster, every one made by a connection; then 1,000 new connections a
//! second, all of edges that are known, while every pod keeps one open. The agent reads its node and pods from a double of
//! the API server and delivers to one of the aggregator over TLS, both in this process; its metrics are scraped every 15 s.
//!
//! `cgroup_mib` is what the kubelet calls the working set, the kernel's maps included: what the group uses less what it has of
//! files that nobody uses. `rss_mib` is what the process has resident (`VmRSS`), the pages of its program included; the peak
//! (`VmHWM`), which is at the start, is told besides. Both are the highest of samples taken every second while there are
//! connections. `cpu_core_percent` is the processor time of the agent's process meanwhile; what its kernel program takes is
//! the connections', and the group `datapath` measures it.
//!
//! By environment: `NETPOL_BENCH_AGENT`, the program, if not the one built with this; `NETPOL_BENCH_STEADY`, the seconds of the
//! load. Needs root.

mod agent;
mod group;
mod lab;
#[path = "../process/mod.rs"]
mod process;
mod servers;

use std::io::Write as _;
use std::time::{Duration, Instant};

use agent::{Agent, Cost};
use anyhow::{Context as _, Result, ensure};
use group::Group;
use lab::Lab;
use servers::Servers;

/// Connections of a second.
const RATE: u32 = 1_000;
/// How long the agent may take to list its pods, or to tell all edges.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between all edges and the load, so that what came of them is over.
const REST: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("pod") {
        return lab::stand();
    }
    let first = rustls::crypto::ring::default_provider().install_default();
    first.ok().context("another provider of cryptography")?;
    let seconds = std::env::var("NETPOL_BENCH_STEADY").map_or(Ok(60), |text| text.parse())?;
    let group = Group::new()?;
    measure(&group, Duration::from_secs(seconds))
}

fn measure(group: &Group, time: Duration) -> Result<()> {
    let lab = Lab::new(group.directory())?;
    let servers = Servers::start(group.directory(), &lab.pods())?;
    let agent = Agent::start(&lab, &servers, group)?;
    until("every interface is observed, and its pod known", || {
        agent.bound().is_some_and(|bound| bound == lab.pods().len())
    })?;
    let edges = lab.edges();
    // Every pod keeps one connection open: the first edges are of different pods.
    let open = edges.iter().take(lab.pods().len());
    let open = open
        .map(|edge| lab.open(*edge))
        .collect::<Result<Vec<_>>>()?;
    let begin = Instant::now();
    for edge in &edges {
        lab.connect(*edge)?;
    }
    until("every edge was told", || servers.edges() >= edges.len())
        .with_context(|| format!("{} of {}", servers.edges(), edges.len()))?;
    let told = begin.elapsed().as_secs_f64();
    std::thread::sleep(REST);
    let first = agent.process().peak()?;
    agent.process().forget_peak()?;
    let calm = agent.load(group, &lab, &edges, time, 0)?;
    let busy = agent.load(group, &lab, &edges, time, RATE)?;
    ensure!(
        servers.edges() == edges.len(),
        "{} edges were told, not {}",
        servers.edges(),
        edges.len()
    );
    let later = agent.process().peak()?;
    drop(open);
    say(&format!(
        "{} pods, {} edges made and told within {told:.1} s, {} deliveries",
        lab.pods().len(),
        edges.len(),
        servers.deliveries()
    ));
    describe("at rest", &calm);
    describe("under load", &busy);
    say(&format!(
        "at most {first:.1} MiB resident until then, {later:.1} MiB afterwards"
    ));
    figure("rss_mib", busy.resident, "MiB")?;
    figure("cgroup_mib", busy.group, "MiB")?;
    figure("cpu_core_percent", busy.processor, "%")
}

fn until(what: &str, done: impl Fn() -> bool) -> Result<()> {
    let begin = Instant::now();
    while !done() {
        ensure!(begin.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn describe(what: &str, cost: &Cost) {
    say(&format!(
        "{what}: {:.0} connections a second, {:.2} % of a core, {:.1} MiB resident ({:.1} of no file), {:.1} MiB in the group \
         ({:.1} with files that nobody uses)",
        cost.rate, cost.processor, cost.resident, cost.anonymous, cost.group, cost.whole
    ));
}

fn figure(name: &str, value: f64, unit: &str) -> Result<()> {
    let line = serde_json::json!({"name": format!("agent.{name}"), "value": value, "unit": unit});
    writeln!(std::io::stdout(), "{line}").context("stdout")
}

fn say(text: &str) {
    let _unheard = writeln!(std::io::stderr(), "{text}");
}
