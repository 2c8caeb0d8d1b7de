//! The agent's process, and what it learned.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netpol_agent::ledger::Ledger;
use netpol_agent::store::Store;
use netpol_common::record::{Endpoint, FlowRecord};
use netpol_common::words::{Outcome, View};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Lab, NODE};

/// How long the agent may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_netpol-agent");

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// (client, server, port, view, outcome); an address where the pod is not told.
pub(crate) type Flow = (String, String, u16, View, Outcome);
/// Counts by flow.
pub(crate) type Flows = BTreeMap<Flow, u64>;

impl Agent {
    pub(super) fn start(lab: &Lab, flags: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        arguments(&mut command, lab);
        command
            .args(["--node", &format!("{NODE}={}", lab.node())])
            .args(flags);
        Self::spawn(command)
    }

    /// As the container of a pod on the node's network is started: with these capabilities and no others.
    pub(crate) fn start_with(lab: &Lab, capabilities: &[String]) -> Self {
        let sets: String = std::iter::once("-all".to_owned())
            .chain(capabilities.iter().map(|name| format!(",+{name}")))
            .collect();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", lab.node()))
            .args(["setpriv", "--no-new-privs", "--bounding-set", &sets])
            .args(["--inh-caps", &sets, PROGRAM]);
        arguments(&mut command, lab);
        command.args(["--node", NODE]);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .for_each(|line| into.lock().unwrap().push(line));
        });
        let reader = Some(reader);
        Self {
            child,
            lines,
            reader,
        }
    }

    /// Waits for a log line that holds `text`.
    pub(crate) fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.has_logged(text) {
            let ended = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            let waits = !ended && start.elapsed() < PATIENCE;
            assert!(
                waits || self.has_logged(text),
                "no {text:?} in:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn has_logged(&self, text: &str) -> bool {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(text))
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it gracefully. Returns its log.
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        let log = self.log();
        assert!(status.success(), "{status}\n{log}");
        log
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let reader = self.reader.take();
                reader.into_iter().for_each(|reader| reader.join().unwrap());
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "still running:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What the agent is told wherever it runs.
fn arguments(command: &mut Command, lab: &Lab) {
    command
        .args(["node", "--walk-interval", "1s"])
        .args(&lab.towards)
        .args(["--log", "info,netpol_agent=debug"])
        .args(lab.source())
        .arg("--state-dir")
        .arg(lab.state())
        .env("NETPOL_BPFFS", lab.bpffs());
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() && self.has_logged("") {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

impl Lab {
    /// What the flow records say.
    pub(crate) fn flows(&self) -> Flows {
        let text = fs::read_to_string(self.state().join("flows.jsonl")).unwrap();
        let mut flows = Flows::new();
        for line in text.lines() {
            let record: FlowRecord = serde_json::from_str(line).unwrap();
            let view = record.view.expect("an observer's record has a view");
            let (client, server) = (self.name_of(&record.client), self.name_of(&record.server));
            let key = (client, server, record.port, view, record.outcome);
            *flows.entry(key).or_default() += record.count;
        }
        flows
    }

    /// Everything that the store holds.
    pub(crate) fn ledger(&self) -> Ledger {
        Store::open(&self.state().join("graph.db"))
            .unwrap()
            .load()
            .unwrap()
    }

    /// The pod's name, also where the record has its address.
    fn name_of(&self, endpoint: &Endpoint) -> String {
        match endpoint {
            Endpoint::Pod(pod) => pod.name.clone(),
            Endpoint::Workload(workload) => workload.name.clone(),
            Endpoint::Ip(ip) => {
                let mut pods = self.pods.iter();
                let pod = pods.find(|(_, pod)| std::net::IpAddr::from(pod.address) == *ip);
                pod.map_or_else(|| ip.to_string(), |(name, _)| name.clone())
            }
        }
    }
}
