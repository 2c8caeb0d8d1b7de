//! Does what kubelets and the controllers of Deployments and DaemonSets do for netpol: runs real processes as the objects in
//! the API server say, starts again what has ended, and tells how they are. And, for a test, it ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use xtask::lab::topology::Node;

use crate::cluster::{AGENT, AGGREGATOR, Cluster, REPLICAS, SYSTEM};
use crate::postgres::Server;
use crate::process::{Launch, Process};
use crate::{pods, service};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often probes are asked.
const PROBE: Duration = Duration::from_millis(500);
/// How long a process that has ended by itself stays away.
const PAUSE: Duration = Duration::from_millis(500);
/// How long it may take until a process is there that is to be ended. A test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(150);

/// Who a process is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Role {
    /// PostgreSQL.
    Database,
    /// A replica of the aggregator.
    Aggregator(usize),
    /// A node's agent.
    Agent(Node),
    /// What a person runs at the moment, who is not the kubelet's.
    Person,
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
    /// Whose processes run.
    present: Mutex<BTreeSet<Role>>,
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
        assert!(self.end_within(role, how, PATIENCE), "no {role:?}");
    }

    /// The same, unless the process does not come in that time. Returns whether it was ended.
    pub(crate) fn end_within(&self, role: Role, how: End, patience: Duration) -> bool {
        let order = (role, how);
        let begin = Instant::now();
        self.shared.orders.lock().unwrap().push(order);
        loop {
            self.check();
            let mut orders = self.shared.orders.lock().unwrap();
            if !orders.contains(&order) {
                return true;
            }
            if begin.elapsed() >= patience {
                orders.retain(|other| *other != order);
                return false;
            }
            drop(orders);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a process of that role runs.
    pub(crate) fn runs(&self, role: Role) -> bool {
        self.shared.present.lock().unwrap().contains(&role)
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
    processes: BTreeMap<Role, Running>,
    /// Nodes whose kernel side was taken away.
    detached: BTreeSet<Node>,
    again_at: BTreeMap<Role, Instant>,
    probe_at: Instant,
}

/// A process, and what it was started with.
struct Running {
    process: Process,
    launch: Launch,
}

impl Worker {
    fn look(&mut self) {
        self.cluster.api.world().now = Timestamp::now().as_second();
        self.obey();
        self.reap();
        let wanted = self.wanted();
        self.stop(&wanted);
        for (role, launch) in wanted {
            let at = self.again_at.get(&role);
            let early = at.is_some_and(|at| Instant::now() < *at);
            if !self.processes.contains_key(&role) && !early {
                self.run(role, launch);
            }
        }
        self.cluster.api.finish_namespaces();
        let mut present: BTreeSet<Role> = self.processes.keys().copied().collect();
        present.extend(self.database.iter().map(|_| Role::Database));
        *self.shared.present.lock().unwrap() = present;
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
                (Some(running), End::Killed) => {
                    running.process.kill();
                    false
                }
                (Some(running), End::Told) => {
                    running.process.stop();
                    false
                }
                (None, _) => true,
            },
        });
    }

    /// Notes what has ended by itself.
    fn reap(&mut self) {
        let ended = self.processes.iter_mut().filter_map(|(role, running)| {
            let status = running.process.ended()?;
            Some((*role, status.success()))
        });
        for (role, well) in ended.collect::<Vec<_>>() {
            let running = self.processes.remove(&role).unwrap();
            if let (Role::Agent(node), true) = (role, well && running.detaches()) {
                pods::complete(&self.cluster, role);
                self.detached.insert(node);
                continue;
            }
            self.again_at.insert(role, Instant::now() + PAUSE);
            let told = format!("{role:?}: {}", running.process.last_words());
            self.shared.ended.lock().unwrap().push(told);
        }
    }

    /// Who is to run, and with what.
    fn wanted(&mut self) -> BTreeMap<Role, Launch> {
        let cluster = &self.cluster;
        let deployment = cluster.api.get("deployments", SYSTEM, AGGREGATOR);
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
        let replicas = (0..REPLICAS).filter(|number| (*number as u64) < replicas);
        let aggregators = replicas.filter_map(|number| {
            let launch = pods::aggregator(cluster, number, self.url.as_deref())?;
            Some((Role::Aggregator(number), launch))
        });
        let mut wanted: BTreeMap<Role, Launch> = aggregators.collect();
        if cluster.api.get("daemonsets", SYSTEM, AGENT).is_null() {
            self.detached.clear();
        }
        // Agents that begin before there is a certificate authority wait a while before they look again, and tests need not.
        let early = cluster.authority().is_none();
        for node in Node::ALL {
            let launch = pods::agent(cluster, node);
            let launch = launch.filter(|it| detaches(it) || !early);
            if let Some(launch) = launch.filter(|_| !self.detached.contains(&node)) {
                wanted.insert(Role::Agent(node), launch);
            }
        }
        wanted
    }

    /// Stops what is not wanted any more, or not as it is, and takes pods away that nothing runs in.
    fn stop(&mut self, wanted: &BTreeMap<Role, Launch>) {
        let all = (0..REPLICAS).map(Role::Aggregator);
        for role in all.chain(Node::ALL.map(Role::Agent)) {
            let launch = wanted.get(&role);
            let runs = self.processes.get(&role);
            if runs.is_some_and(|running| Some(&running.launch) != launch) {
                self.processes.remove(&role).unwrap().process.stop();
            }
            let complete = matches!(role, Role::Agent(node) if self.detached.contains(&node));
            if launch.is_none() && !complete {
                pods::forget(&self.cluster, role);
            }
        }
    }

    fn run(&mut self, role: Role, launch: Launch) {
        let log = match role {
            Role::Aggregator(number) => format!("aggregator-{number}.log"),
            Role::Agent(node) => format!("agent-{}.log", node.name()),
            Role::Database | Role::Person => return,
        };
        pods::make(&self.cluster, role);
        let program = &self.cluster.programs.agent;
        let process = Process::start(program, &launch, &self.cluster.file(&log));
        self.processes.insert(role, Running { process, launch });
    }

    /// Says how many are ready.
    fn probe(&self) {
        let cluster = &self.cluster;
        let ok = |address, path| cluster.runtime.block_on(service::is_ok(address, path));
        let ready = |role: &&Role| match role {
            Role::Aggregator(number) => ok(cluster.replica(*number).probes, "readyz"),
            Role::Agent(node) => ok(cluster.agent_probes(*node), "healthz"),
            Role::Database | Role::Person => false,
        };
        let ready: Vec<&Role> = self.processes.keys().filter(ready).collect();
        let agents = ready.iter().filter(|it| matches!(it, Role::Agent(_)));
        let agents = agents.count();
        pods::tell(cluster, ready.len() - agents, agents);
    }
}

impl Running {
    fn detaches(&self) -> bool {
        detaches(&self.launch)
    }
}

/// Whether an agent is started to take away what agents left in the kernel.
fn detaches(launch: &Launch) -> bool {
    launch.arguments.first().is_some_and(|it| it == "detach")
}
