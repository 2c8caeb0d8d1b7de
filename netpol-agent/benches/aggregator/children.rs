//! The processes of a simulation: the API server's double, and the aggregator.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netpol_agent::aggregator::{Keeping, Limits, Options, TlsSource, run};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use super::world::OWN;

/// The name that the aggregator's certificate bears.
pub(crate) const HOST: &str = "netpol-aggregator.netpol-system.svc";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A child, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Killed(Child);

impl Killed {
    pub(crate) fn process(&self) -> Process {
        Process(self.0.id())
    }

    fn ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The API server's double.
#[derive(Debug)]
pub(crate) struct ApiServer {
    pub(crate) child: Killed,
    port: u16,
}

impl ApiServer {
    /// Starts one for a cluster of that size.
    pub(crate) fn start(nodes: usize, pods: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("api")
            .env("NETPOL_BENCH_NODES", nodes.to_string())
            .env("NETPOL_BENCH_PODS", pods.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let out = child.stdout.take().context("its output")?;
        let child = Killed(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().parse().context("the port of the API server")?;
        Ok(Self { child, port })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// What the aggregator is told: a directory of its own with everything in it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Ports {
    api: SocketAddr,
    probes: SocketAddr,
}

/// Where an aggregator keeps what it needs, over its lives.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    ports: Ports,
    /// The authority of its certificate, as PEM.
    pub(crate) authority: String,
}

impl Place {
    /// A place of one that reads from that API server.
    pub(crate) fn new(api: &ApiServer) -> Result<Self> {
        let directory = TempDir::new()?;
        let path = directory.path();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": api.url("")}}],
            "users": [{"name": "bench", "user": {"token": "aggregator"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        std::fs::write(path.join("kubeconfig"), config.to_string())?;
        let own = rcgen::generate_simple_self_signed(vec![HOST.to_owned()])?;
        std::fs::write(path.join("tls.crt"), own.cert.pem())?;
        std::fs::write(path.join("tls.key"), own.signing_key.serialize_pem())?;
        let ports = Ports {
            api: free()?,
            probes: free()?,
        };
        std::fs::write(path.join("ports"), serde_json::to_vec(&ports)?)?;
        Ok(Self {
            ports,
            authority: own.cert.pem(),
            directory,
        })
    }

    /// Where agents deliver.
    pub(crate) fn api(&self) -> SocketAddr {
        self.ports.api
    }

    /// Starts an aggregator here; on one processor only, if asked for.
    pub(crate) fn start(&self, mode: &str, pinned: bool) -> Result<Aggregator> {
        let own = std::env::current_exe()?;
        let own = own.to_str().context("a path that is text")?;
        let place = self
            .directory
            .path()
            .to_str()
            .context("a path that is text")?;
        let pin = if pinned { "exec taskset -c 0" } else { "exec" };
        // Every connection is an open file.
        let script = format!("ulimit -n $(ulimit -H -n); {pin} '{own}' {mode} '{place}'");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null());
        Ok(Aggregator {
            child: Killed(command.spawn()?),
            probes: self.ports.probes,
            began: Instant::now(),
        })
    }
}

/// An aggregator at work.
#[derive(Debug)]
pub(crate) struct Aggregator {
    child: Killed,
    probes: SocketAddr,
    began: Instant,
}

impl Aggregator {
    pub(crate) fn process(&self) -> Process {
        self.child.process()
    }

    /// Waits until it is ready; tells how long it took from its start.
    pub(crate) async fn ready(&mut self) -> Result<Duration> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/readyz", self.probes);
        while self.began.elapsed() < PATIENCE {
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(self.began.elapsed());
            }
            ensure!(!self.child.ended()?, "the aggregator has ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("not ready after {} s", PATIENCE.as_secs())
    }
}

/// Asks the double for something of its own.
pub(crate) async fn ask(api: &ApiServer, path: &str) -> Result<Value> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let text = client.get(api.url(path)).send().await?.text().await?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn free() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// What the aggregator of a place is told.
pub(crate) fn options(place: &Path, limits: Limits) -> Result<Options> {
    let ports: Ports = serde_json::from_slice(&std::fs::read(place.join("ports"))?)?;
    let file = |name: &str| -> PathBuf { place.join(name) };
    Ok(Options {
        listen: ports.api,
        metrics_listen: ports.probes,
        namespace: OWN.to_owned(),
        kubeconfig: Some(file("kubeconfig")),
        keeping: Keeping::Directory(file("state")),
        retention: Duration::from_secs(30 * 24 * 3600),
        tls: TlsSource::Files {
            certificate: file("tls.crt"),
            key: file("tls.key"),
            authority: None,
        },
        limits,
    })
}

/// Is the aggregator, until it is killed.
pub(crate) fn aggregate(place: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let options = options(place, Limits::default())?;
    runtime.block_on(run(options, CancellationToken::new()))?;
    Ok(())
}
