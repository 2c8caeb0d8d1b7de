//! `netpol-agent node`: observes one node, or several in network namespaces of one machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use netpol_common::names::cluster::AGENT_METRICS_PORT;

use super::agent::host_name;
use crate::kernel::KernelOptions;
use crate::node::attach::{AttachChoice, Instance};
use crate::node::bind::BindOptions;
use crate::node::forward::ForwardOptions;
use crate::node::observer::Ending;
use crate::node::source::Source;
use crate::node::spec::NodeSpec;
use crate::node::standalone::{self, StandaloneOptions};
use crate::uplink::client::Target;
use crate::uplink::spool;

/// The instance where none is named.
const DEFAULT_INSTANCE: &str = "default";
/// Where a BPF file system is usually mounted.
const DEFAULT_BPFFS: &str = "/sys/fs/bpf";
/// Where metrics are served with an aggregator.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), AGENT_METRICS_PORT);

/// Observe the pods of a node.
///
/// With --aggregator, what is learned goes there, and waits on this node's disk while the aggregator is away. It learns
/// until SIGTERM or SIGINT. What it attached stays and keeps counting, so that the next start goes on
/// without a gap; `netpol-agent detach` removes it.
#[derive(Args, Debug)]
pub struct Node {
    /// Keep the graph here, without an aggregator
    #[arg(long, env = "NETPOL_STANDALONE", conflicts_with = "aggregator")]
    standalone: bool,
    #[command(flatten)]
    observing: Observing,
}

/// What is observed, how, and where the results go.
#[derive(Args, Debug)]
pub(super) struct Observing {
    /// Kubernetes objects: files or directories of YAML or JSON; read again whenever they change
    #[arg(
        long,
        env = "NETPOL_INVENTORY",
        value_name = "PATH",
        value_delimiter = ','
    )]
    inventory: Vec<PathBuf>,
    /// Read objects from the cluster that this file names, instead of an inventory
    #[arg(
        long,
        env = "NETPOL_KUBECONFIG",
        value_name = "FILE",
        conflicts_with = "inventory"
    )]
    kubeconfig: Option<PathBuf>,
    /// Read objects from the cluster that the agent runs in, instead of an inventory
    #[arg(long, env = "NETPOL_IN_CLUSTER", conflicts_with_all = ["inventory", "kubeconfig"])]
    in_cluster: bool,
    /// Where the graph, the flow records and the observers' journals are kept
    #[arg(
        long,
        env = "NETPOL_STATE_DIR",
        default_value = "/var/lib/netpol",
        value_name = "DIR"
    )]
    pub(super) state_dir: PathBuf,
    /// A node to observe, by its name in the Kubernetes API, and its network namespace by path or by name below /run/netns [default: this machine, in
    /// the agent's own namespace]
    #[arg(
        long,
        env = "NETPOL_NODE",
        value_name = "NAME[=NETNS]",
        value_delimiter = ','
    )]
    node: Vec<NodeSpec>,
    /// How programs are attached
    #[arg(long, env = "NETPOL_ATTACH", default_value = "auto")]
    attach: AttachChoice,
    /// The name that pinned maps and links bear; agents side by side on one machine need different ones
    #[arg(long, env = "NETPOL_INSTANCE", default_value = DEFAULT_INSTANCE, value_name = "NAME")]
    pub(super) instance: Instance,
    /// Where the BPF file system is mounted
    #[arg(long, env = "NETPOL_BPFFS", default_value = DEFAULT_BPFFS, value_name = "PATH")]
    pub(super) bpffs: PathBuf,
    #[command(flatten)]
    sizes: Sizes,
    /// How often the kernel's maps are read, e.g. 5s or 500ms
    #[arg(long, env = "NETPOL_WALK_INTERVAL", default_value = "5s", value_name = "TIME", value_parser = interval)]
    walk_interval: Duration,
    /// How long pods, services and edges are remembered after they were last seen, e.g. 720h; at least 25h
    #[arg(long, env = "NETPOL_RETENTION", default_value = "720h", value_name = "TIME", value_parser = retention)]
    retention: Duration,
    /// Divide by this how long idle edges are kept, and how often programs and open connections are looked at: for tests
    #[arg(long, env = "NETPOL_HURRY", default_value_t = 1, hide = true, value_parser = size())]
    hurry: u32,
    #[command(flatten)]
    evidence: EvidencePlaces,
    #[command(flatten)]
    forward: Forward,
    /// Where metrics (/metrics) and a probe (/healthz) are served [default: 0.0.0.0:9465 with an aggregator, else nowhere]
    #[arg(long, env = "NETPOL_METRICS_ADDRESS", value_name = "ADDRESS:PORT")]
    metrics_address: Option<SocketAddr>,
}

/// Where batches are delivered to.
#[derive(Args, Debug)]
struct Forward {
    /// The aggregator that what is learned is delivered to: https://HOST[:PORT]
    #[arg(long, env = "NETPOL_AGGREGATOR", value_name = "URL", requires_all = ["aggregator_ca", "aggregator_token"])]
    aggregator: Option<String>,
    /// Certificates of the authorities that may have signed the aggregator's, as PEM; read again when the file changes
    #[arg(long, env = "NETPOL_AGGREGATOR_CA", value_name = "FILE")]
    aggregator_ca: Option<PathBuf>,
    /// The token that the aggregator knows this agent by; read again for every delivery
    #[arg(long, env = "NETPOL_AGGREGATOR_TOKEN", value_name = "FILE")]
    aggregator_token: Option<PathBuf>,
    /// The UID of the pod that the agent runs in
    #[arg(long, env = "NETPOL_POD_UID", value_name = "UID")]
    pod_uid: Option<String>,
    /// Bytes on disk that wait, per node, while the aggregator is away
    #[arg(long, env = "NETPOL_SPOOL_BYTES", default_value_t = spool::DEFAULT_LIMIT, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1 << 16..=1 << 40))]
    spool_bytes: u64,
}

/// How much the kernel's maps hold, per node.
#[derive(Args, Debug)]
struct Sizes {
    /// Distinct live edges
    #[arg(long, env = "NETPOL_EDGES", default_value_t = KernelOptions::default().edges, value_name = "N", value_parser = size())]
    edges: u32,
    /// Attempts without an answer
    #[arg(long, env = "NETPOL_ATTEMPTS", default_value_t = KernelOptions::default().attempts, value_name = "N", value_parser = size())]
    attempts: u32,
    /// Bytes of the ring that tells of new edges
    #[arg(long, env = "NETPOL_RING_BYTES", default_value_t = KernelOptions::default().ring_bytes, value_name = "N", value_parser = size())]
    ring_bytes: u32,
    /// Attempts without an answer, per interface
    #[arg(long, env = "NETPOL_QUOTA", default_value_t = 1024, value_name = "N", value_parser = size())]
    quota: u32,
}

/// Where it is found out which pod an interface belongs to.
#[derive(Args, Debug)]
struct EvidencePlaces {
    /// A directory of results that libcni keeps [default: those under /var/lib/cni]
    #[arg(
        long,
        env = "NETPOL_CNI_CACHE",
        value_name = "DIR",
        value_delimiter = ','
    )]
    cni_cache: Vec<PathBuf>,
    /// The process file system of the host
    #[arg(long, env = "NETPOL_PROC", default_value = "/proc", value_name = "DIR")]
    proc: PathBuf,
}

impl Node {
    /// Observes until told to stop.
    ///
    /// # Errors
    ///
    /// What is missing or wrong, and what to do about it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !self.standalone && self.observing.forward.aggregator.is_none() {
            bail!(
                "nothing says where to keep what is learned: name an aggregator with --aggregator, or add --standalone, \
                 which keeps the graph in this process"
            );
        }
        standalone::run(&self.observing.options(Ending::Keep)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Observing {
    /// What was asked for, to be observed until that ending.
    ///
    /// # Errors
    ///
    /// What is missing, and what to do about it.
    pub(super) fn options(self, ending: Ending) -> anyhow::Result<StandaloneOptions> {
        let source = self.source()?;
        let nodes = self.nodes()?;
        distinct(&nodes)?;
        let forward = self.forward.options();
        if let Some(forward) = &forward {
            forward.target.check()?;
        }
        let metrics = forward.is_some().then_some(METRICS);
        let defaults = BindOptions::default();
        Ok(StandaloneOptions {
            source,
            state_dir: self.state_dir,
            nodes,
            attach: self.attach,
            instance: self.instance,
            bpffs: self.bpffs,
            kernel: KernelOptions {
                pin_dir: None,
                edges: self.sizes.edges,
                attempts: self.sizes.attempts,
                ring_bytes: self.sizes.ring_bytes,
            },
            quota: self.sizes.quota,
            walk_interval: self.walk_interval,
            hurry: self.hurry,
            retention: self.retention,
            bind: BindOptions {
                proc: self.evidence.proc,
                cni_cache: Some(self.evidence.cni_cache)
                    .filter(|directories| !directories.is_empty())
                    .unwrap_or(defaults.cni_cache),
            },
            metrics: self
                .metrics_address
                .or(metrics)
                .filter(|_| ending == Ending::Keep),
            forward,
            ending,
        })
    }

    /// The nodes; this machine if none is named.
    ///
    /// # Errors
    ///
    /// The system does not tell the machine's name.
    pub(super) fn nodes(&self) -> anyhow::Result<Vec<NodeSpec>> {
        if self.node.is_empty() {
            return Ok(vec![host_name()?.parse()?]);
        }
        Ok(self.node.clone())
    }

    /// Where Kubernetes objects come from.
    ///
    /// # Errors
    ///
    /// Nothing says so.
    pub(super) fn source(&self) -> anyhow::Result<Source> {
        if let Some(file) = &self.kubeconfig {
            return Ok(Source::Kubeconfig(file.clone()));
        }
        if self.in_cluster {
            return Ok(Source::InCluster);
        }
        if self.inventory.is_empty() {
            bail!(
                "no inventory: name the file or directory of Kubernetes objects with --inventory, or a cluster with \
                 --kubeconfig or --in-cluster"
            );
        }
        Ok(Source::Inventory(self.inventory.clone()))
    }
}

impl Forward {
    /// Where to, if anywhere. clap has seen to it that nothing is missing then.
    fn options(self) -> Option<ForwardOptions> {
        Some(ForwardOptions {
            target: Target {
                url: self.aggregator?,
                authority: self.aggregator_ca?,
                token: self.aggregator_token?,
            },
            pod_uid: self.pod_uid.filter(|uid| !uid.is_empty()),
            spool_bytes: self.spool_bytes,
        })
    }
}

/// Two observers of one name would write over each other.
fn distinct(nodes: &[NodeSpec]) -> anyhow::Result<()> {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => bail!(
            "node {} is named twice: give each --node a name of its own",
            pair[0]
        ),
        None => Ok(()),
    }
}

fn size() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(1_u32 << 26))
}

/// An interval like `5s` or `500ms`, of 10 ms to an hour.
fn interval(text: &str) -> anyhow::Result<Duration> {
    let span = jiff::SignedDuration::from_str(text).context("not a time like 5s or 500ms")?;
    let duration = Duration::try_from(span).context("must not be negative")?;
    let bounds = Duration::from_millis(10)..=Duration::from_secs(3600);
    if !bounds.contains(&duration) {
        bail!("must be between 10ms and 1h");
    }
    Ok(duration)
}

/// A time like `720h`, longer than any edge stays in the kernel's maps unseen: what was forgotten must not be told again.
pub(super) fn retention(text: &str) -> anyhow::Result<Duration> {
    let span = jiff::SignedDuration::from_str(text).context("not a time like 720h")?;
    let duration = Duration::try_from(span).context("must not be negative")?;
    let bounds = Duration::from_secs(25 * 3600)..=Duration::from_secs(10 * 366 * 24 * 3600);
    if !bounds.contains(&duration) {
        bail!("must be between 25h and 87840h");
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_bounded() {
        assert_eq!(interval("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(interval("500ms").unwrap(), Duration::from_millis(500));
        for bad in ["", "5", "-5s", "1ms", "2h", "soon"] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn retention_is_longer_than_a_day() {
        let month = Duration::from_secs(30 * 24 * 3600);
        assert_eq!(retention("720h").unwrap(), month);
        for bad in ["", "24h", "-720h", "1000000h", "a month"] {
            assert!(retention(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn two_nodes_of_one_name_are_refused() {
        let nodes = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<_>>()
        };
        assert!(distinct(&nodes(&["a=x", "b=x"])).is_ok());
        assert!(distinct(&nodes(&["a=x", "b", "a=y"])).is_err());
    }
}
