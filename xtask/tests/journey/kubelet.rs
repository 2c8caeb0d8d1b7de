//! Does what kubelets and the controllers of Deployments and DaemonSets do for netpol: runs real processes as the objects in
//! the API server say, starts again what has ended, and tells how they are. And, for a test, it ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use xtask::lab::topology::Node;

use crate::cluster::{AGENT, AGGREGATOR, Cluster, SYSTEM};
use crate::postgres::Server;
use crate::process::Process;
use crate::{pods, service};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often probes are asked.
const PROBE: Duration = Duration::from_millis(500);
/// How long a process that has ended by itself stays away.
const PAUSE: Duration = Duration::from_millis(500);

/// Who a process is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Role {
    /// PostgreSQL.
    Database,
    /// A replica of the aggregator.
    Aggregator(usize),
    /// A node's agent.
    Agent(Node),
}

/// How a process is to end. It is started again at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// As by `kill -9`.
    Killed,
    /// In order, by SIGTERM.
    Told,
}

/// What a test holds of it.
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Vec<(Role, End)>>,
    stop: AtomicBool,
    /// Processes that have ended by themselves, with their last words.
    ended: Mutex<Vec<String>>,
}

impl Kubelet {
    /// Begins. `database` is what aggregators keep the graph in; a file of theirs, if there is none.
    pub(crate) fn start(cluster: &Arc<Cluster>, database: Option<Server>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut worker = Worker {
            url: database.as_ref().map(Server::url),
            database,
            cluster: Arc::clone(cluster),
            shared: Arc::clone(&shared),
            processes: BTreeMap::new(),
            detached: BTreeSet::new(),
            again_at: BTreeMap::new(),
            probe_at: Instant::now(),
        };
        let run = move || {
            while !worker.shared.stop.load(Ordering::Relaxed) {
                worker.look();
                std::thread::sleep(LOOK);
            }
        };
        Self {
            shared,
            thread: Some(std::thread::spawn(run)),
        }
    }

    /// Ends a process, once it is there, and returns when that was done.
    pub(crate) fn end(&self, role: Role, how: End) {
        self.shared.orders.lock().unwrap().push((role, how));
        while !self.shared.orders.lock().unwrap().is_empty() {
            self.check();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails if it has failed, or a process has ended by itself.
    pub(crate) fn check(&self) {
        let ended = self.shared.ended.lock().unwrap().join("\n\n");
        assert!(ended.is_empty(), "ended by themselves:\n{ended}");
        let works = self.thread.as_ref().is_some_and(|it| !it.is_finished());
        assert!(works, "the kubelet has ended");
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said why, if it failed.
            let _ended = thread.join();
        }
    }
}

struct Worker {
    cluster: Arc<Cluster>,
    database: Option<Server>,
    url: Option<String>,
    shared: Arc<Shared>,
    processes: BTreeMap<Role, Process>,
    /// Nodes whose kernel side was taken away.
    detached: BTreeSet<Node>,
    again_at: BTreeMap<Role, Instant>,
    probe_at: Instant,
}

impl Worker {
    fn look(&mut self) {
        self.cluster.api.world().now = Timestamp::now().as_second();
        self.obey();
        let wanted = self.wanted();
        self.reap();
        let gone = self.processes.keys().filter(|role| !wanted.contains(role));
        for role in gone.copied().collect::<Vec<_>>() {
            self.processes.remove(&role).unwrap().stop();
            pods::forget(&self.cluster, role);
        }
        for role in wanted {
            let early = self
                .again_at
                .get(&role)
                .is_some_and(|at| Instant::now() < *at);
            if !self.processes.contains_key(&role) && !early {
                self.run(role);
            }
        }
        self.detach();
        if Instant::now() >= self.probe_at {
            self.probe();
            self.probe_at = Instant::now() + PROBE;
        }
    }

    /// Ends what a test wants to end.
    fn obey(&mut self) {
        let mut orders = self.shared.orders.lock().unwrap();
        let (database, processes) = (&mut self.database, &mut self.processes);
        orders.retain(|(role, how)| match role {
            Role::Database => {
                let server = database.as_mut().unwrap();
                server.kill();
                server.restart();
                false
            }
            _ => match (processes.remove(role), how) {
                (Some(process), End::Killed) => {
                    process.kill();
                    false
                }
                (Some(process), End::Told) => {
                    process.stop();
                    false
                }
                (None, _) => true,
            },
        });
    }

    /// Who is to run.
    fn wanted(&self) -> Vec<Role> {
        let api = &self.cluster.api;
        let deployment = api.get("deployments", SYSTEM, AGGREGATOR);
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
        let replicas = (0..replicas).map(|it| Role::Aggregator(usize::try_from(it).unwrap()));
        let mut wanted: Vec<Role> = replicas.collect();
        // A pod waits until everything that it mounts is there.
        if !self.daemon_set().is_null() && !self.detaches() && self.cluster.authority().is_some() {
            wanted.extend(Node::ALL.map(Role::Agent));
        }
        wanted
    }

    fn daemon_set(&self) -> Value {
        self.cluster.api.get("daemonsets", SYSTEM, AGENT)
    }

    /// Whether the agents' command is `detach`.
    fn detaches(&self) -> bool {
        self.daemon_set()["spec"]["template"]["spec"]["containers"][0]["args"] == json!(["detach"])
    }

    /// Notes what has ended by itself.
    fn reap(&mut self) {
        let ended: Vec<Role> = (self.processes.iter_mut())
            .filter_map(|(role, process)| process.ended().map(|_| *role))
            .collect();
        for role in ended {
            let process = self.processes.remove(&role).unwrap();
            self.again_at.insert(role, Instant::now() + PAUSE);
            let told = format!("{role:?}: {}", process.last_words());
            self.shared.ended.lock().unwrap().push(told);
        }
    }

    fn run(&mut self, role: Role) {
        let (log, arguments) = match role {
            Role::Aggregator(number) => {
                let arguments = pods::aggregator(&self.cluster, number, self.url.as_deref());
                (format!("aggregator-{number}.log"), arguments)
            }
            Role::Agent(node) => {
                let arguments = pods::agent(&self.cluster, node, "node");
                (format!("agent-{}.log", node.name()), arguments)
            }
            Role::Database => return,
        };
        pods::make(&self.cluster, role, &json!({"running": {}}));
        let program = &self.cluster.programs.agent;
        let process = Process::start(program, &arguments, &self.cluster.file(&log));
        self.processes.insert(role, process);
    }

    /// Takes the kernel side away on every node, once that is what the agents' pods are to do.
    fn detach(&mut self) {
        for node in Node::ALL {
            if !self.detaches() || self.detached.contains(&node) {
                continue;
            }
            let mut arguments = pods::agent(&self.cluster, node, "detach");
            arguments.push("--discard".to_owned());
            let log = self.cluster.file(&format!("detach-{}.log", node.name()));
            let mut process = Process::start(&self.cluster.programs.agent, &arguments, &log);
            let status = process.wait();
            assert!(status.success(), "{}", process.last_words());
            let ended = json!({"terminated": {"exitCode": status.code()}});
            pods::make(&self.cluster, Role::Agent(node), &ended);
            self.detached.insert(node);
        }
    }

    /// Says how many are ready.
    fn probe(&self) {
        let cluster = &self.cluster;
        let ok = |address, path| cluster.runtime.block_on(service::is_ok(address, path));
        let ready = |role: &&Role| match role {
            Role::Aggregator(number) => ok(cluster.replica(*number).probes, "readyz"),
            Role::Agent(node) => ok(cluster.agent_probes(*node), "healthz"),
            Role::Database => false,
        };
        let ready: Vec<&Role> = self.processes.keys().filter(ready).collect();
        let agents = ready.iter().filter(|it| matches!(it, Role::Agent(_)));
        let agents = agents.count();
        pods::tell(cluster, ready.len() - agents, agents);
    }
}
