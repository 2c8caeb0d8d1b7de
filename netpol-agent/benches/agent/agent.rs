//! The agent's process, and what it takes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::group::Group;
use super::lab::{Edge, Lab, NODE};
use super::process::Process;
use super::servers::Servers;

/// How often in a second connections are made: so many at once that nobody waits for a timer.
const BURSTS: u32 = 50;
/// How often metrics are scraped, in seconds.
const SCRAPE: u64 = 15;

/// The agent's process, killed when it is dropped.
pub(crate) struct Agent {
    child: Child,
    metrics: SocketAddr,
}

/// What the agent took: the highest values of samples taken every second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// MiB that are resident: all of it, and what is of no file.
    pub(crate) resident: f64,
    pub(crate) anonymous: f64,
    /// MiB in the group, without files that nobody uses, and with them.
    pub(crate) group: f64,
    pub(crate) whole: f64,
    /// Processor time, in percent of one core.
    pub(crate) processor: f64,
    /// Connections that were made in a second.
    pub(crate) rate: f64,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Agent {
    /// Starts it in the group; it dies with this program.
    pub(crate) fn start(lab: &Lab, servers: &Servers, group: &Group) -> Result<Self> {
        let built = env!("CARGO_BIN_EXE_netpol-agent").to_owned();
        let program = std::env::var("NETPOL_BENCH_AGENT").unwrap_or(built);
        let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let script = "echo $$ > \"$0\" && exec setpriv --pdeathsig KILL \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(group.processes())
            .args([&program, "node", "--node", NODE, "--log", "warn"])
            .args(["--metrics-address", &metrics.to_string()])
            .args(servers.arguments())
            .arg("--state-dir")
            .arg(group.directory().join("state"))
            .arg("--bpffs")
            .arg(lab.bpffs())
            // As the DaemonSet has it.
            .env("MIMALLOC_ALLOW_THP", "0")
            .stdin(Stdio::null());
        let child = command.spawn().context("start the agent")?;
        Ok(Self { child, metrics })
    }

    /// Makes connections, so many in a second, in the order of the edges again and again, and looks at the agent meanwhile.
    pub(crate) fn load(
        &self,
        group: &Group,
        lab: &Lab,
        edges: &[Edge],
        time: Duration,
        rate: u32,
    ) -> Result<Cost> {
        let mut all = edges.iter().copied().cycle();
        let mut cost = Cost::default();
        let (begin, before) = (Instant::now(), self.process().processor()?);
        let (mut made, mut scraped) = (0, 0);
        for turn in 1.. {
            for edge in all.by_ref().take((rate / BURSTS) as usize) {
                lab.connect(edge)?;
                made += 1;
            }
            let due = Duration::from_secs(1) / BURSTS * turn;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            if turn % BURSTS == 0 {
                self.sample(group, &mut cost)?;
            }
            if begin.elapsed().as_secs() / SCRAPE > scraped {
                scraped += 1;
                self.scrape()?;
            }
            if begin.elapsed() >= time {
                break;
            }
        }
        let (taken, passed) = (self.process().processor()? - before, begin.elapsed());
        cost.processor = taken.as_secs_f64() / passed.as_secs_f64() * 100.0;
        cost.rate = f64::from(made) / passed.as_secs_f64();
        Ok(cost)
    }

    /// Reads the metrics, as whoever collects them does.
    fn scrape(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.metrics).context("the agent's metrics")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200"), "metrics: {text}");
        Ok(text)
    }

    /// How many interfaces are observed and tied to a pod, once it tells.
    pub(crate) fn bound(&self) -> Option<usize> {
        let text = self.scrape().ok()?;
        let mut lines = text.lines();
        let line = lines.find(|line| {
            line.starts_with("netpol_agent_interfaces{") && line.contains("state=\"bound\"")
        })?;
        let (_, count) = line.rsplit_once(' ')?;
        count.strip_suffix(".0").unwrap_or(count).parse().ok()
    }

    fn sample(&self, group: &Group, cost: &mut Cost) -> Result<()> {
        let (used, whole) = group.usage()?;
        cost.group = cost.group.max(used);
        cost.whole = cost.whole.max(whole);
        cost.resident = cost.resident.max(self.process().resident()?);
        cost.anonymous = cost.anonymous.max(self.process().status("RssAnon:")?);
        Ok(())
    }

    /// The process, to be asked what it takes.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }
}
