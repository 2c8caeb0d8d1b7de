//! What the node agent costs: `agent.rss_mib`, `agent.cgroup_mib`, `agent.cpu_core_percent`. Prints one JSON object a line.
//!
//! The real program, in a memory control group of its own, on a node made of network namespaces: 110 pods with veths, which
//! make 10,120 edges among each other, and then 1,000 new connections a second. It reads its node and pods from a double of
//! the API server and delivers to one of the aggregator over TLS, both in this process.
//!
//! `cgroup_mib` is what the kubelet calls the working set, the kernel's maps included: what the group uses less what it has of
//! files that nobody uses. It and `rss_mib` are the highest of samples taken every second while there are connections.
//! `cpu_core_percent` is the processor time of the agent's process; what its kernel program takes is the connections', and
//! the group `datapath` measures it.
//!
//! By environment: `NETPOL_BENCH_AGENT`, the program, if not the one built with this; `NETPOL_BENCH_STEADY`, the seconds of the
//! load. Needs root.

mod group;
mod lab;
mod servers;

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use group::Group;
use lab::{Lab, NODE};
use servers::Servers;

/// Connections of a second.
const RATE: u32 = 1_000;
/// How often they are made: so many at once that nobody waits for a timer.
const BURSTS: u32 = 50;
/// How long the agent may take to tell all edges.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between all edges and the load, so that what came of them is over.
const REST: Duration = Duration::from_secs(15);

fn main() -> Result<()> {
    let first = rustls::crypto::ring::default_provider().install_default();
    first.ok().context("another provider of cryptography")?;
    let seconds = std::env::var("NETPOL_BENCH_STEADY").map_or(Ok(60), |text| text.parse())?;
    let lab = Lab::new()?;
    let servers = Servers::start(lab.directory(), &lab.pods())?;
    let group = Group::new()?;
    let agent = Agent::start(&lab, &servers, &group)?;
    servers.wait_until_listed(PATIENCE)?;
    let pairs = lab.pairs();
    // Every pair in one go; a pod is bound to its interface soon after both are known.
    lab.connect(pairs.iter().copied())?;
    let begin = Instant::now();
    while servers.edges() < 2 * pairs.len() {
        ensure!(
            begin.elapsed() < PATIENCE,
            "{} of {} edges were told",
            servers.edges(),
            2 * pairs.len()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let told = begin.elapsed().as_secs_f64();
    std::thread::sleep(REST);
    let calm = agent.load(&group, &lab, Duration::from_secs(seconds), 0)?;
    let busy = agent.load(&group, &lab, Duration::from_secs(seconds), RATE / BURSTS)?;
    say(&format!(
        "{} edges of {} pods told within {told:.1} s; without connections {:.2} % of a core, {:.1} MiB resident, {:.1} MiB in \
         the group; with {:.0} a second {:.2} %, {:.1} MiB, {:.1} MiB (with files nobody uses {:.1} MiB); deliveries: {}",
        servers.edges(),
        lab.pods().len(),
        calm.processor,
        calm.resident,
        calm.group,
        busy.rate,
        busy.processor,
        busy.resident,
        busy.group,
        busy.whole,
        servers.deliveries(),
    ));
    figure("rss_mib", busy.resident, "MiB")?;
    figure("cgroup_mib", busy.group, "MiB")?;
    figure("cpu_core_percent", busy.processor, "%")
}

fn figure(name: &str, value: f64, unit: &str) -> Result<()> {
    let line = serde_json::json!({"name": format!("agent.{name}"), "value": value, "unit": unit});
    writeln!(std::io::stdout(), "{line}").context("stdout")
}

fn say(text: &str) {
    let _unheard = writeln!(std::io::stderr(), "{text}");
}

/// What the agent took during a load.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    resident: f64,
    group: f64,
    whole: f64,
    processor: f64,
    rate: f64,
}

/// The agent's process, killed when it is dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Agent {
    fn start(lab: &Lab, servers: &Servers, group: &Group) -> Result<Self> {
        let built = env!("CARGO_BIN_EXE_netpol-agent").to_owned();
        let program = std::env::var("NETPOL_BENCH_AGENT").unwrap_or(built);
        let script = format!("echo $$ > '{}' && exec \"$0\" \"$@\"", group.processes());
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, &program, "node"])
            .args(["--node", &format!("{NODE}={}", lab.node())])
            .args(["--metrics-address", "127.0.0.1:0", "--log", "warn"])
            .args(servers.arguments())
            .arg("--state-dir")
            .arg(lab.directory().join("state"))
            .arg("--bpffs")
            .arg(lab.bpffs())
            .stdin(Stdio::null());
        Ok(Self(command.spawn().context("start the agent")?))
    }

    /// Makes connections, so many in every burst, and looks at the agent every second.
    fn load(&self, group: &Group, lab: &Lab, time: Duration, burst: u32) -> Result<Cost> {
        let pairs = lab.pairs();
        let mut all = pairs.iter().copied().cycle();
        let mut cost = Cost::default();
        let (begin, before) = (Instant::now(), self.processor()?);
        let mut made = 0;
        for turn in 1.. {
            let due = Duration::from_secs(1) / BURSTS * turn;
            lab.connect(all.by_ref().take(burst as usize))?;
            made += burst;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            if turn % BURSTS == 0 {
                cost.resident = cost.resident.max(self.resident()?);
                let (used, whole) = group.usage()?;
                cost.group = cost.group.max(used);
                cost.whole = cost.whole.max(whole);
            }
            if begin.elapsed() >= time {
                break;
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        cost.processor = (self.processor()? - before) / seconds * 100.0;
        cost.rate = f64::from(made) / seconds;
        Ok(cost)
    }

    /// MiB that the process has resident.
    fn resident(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.context("VmRSS")? / 1024.0)
    }

    /// Seconds of processor time that the process has taken.
    fn processor(&self) -> Result<f64> {
        let mut sum = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))?.flatten() {
            // A thread may just have ended; none that matters does.
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next();
            sum += first.and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(sum / 1e9)
    }
}
