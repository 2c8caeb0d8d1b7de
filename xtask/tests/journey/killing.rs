//! The journey while processes are killed at any moment: agents, those that detach included, aggregators, PostgreSQL, and the
//! commands of people.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use xtask::lab::topology::Node;

use crate::cluster::Cluster;
use crate::kubelet::{End, Kubelet, Role};
use crate::person;
use crate::postgres::Server;
use crate::steps::Journey;

/// How many processes are killed in each step at least, if `NETPOL_KILLS` does not say.
const LEAST: u64 = 4;
/// How many are killed in the whole journey at least.
const KILLS: u64 = 24;
/// The longest time between two until so many of a step were killed, and after that: a leader that was killed is replaced 9 to
/// 12 seconds later, and a step takes one.
const HURRIED: Duration = Duration::from_millis(1_200);
const CALM: Duration = Duration::from_secs(30);
/// How long one that runs may take to be killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A piece of a pause.
const PIECE: Duration = Duration::from_millis(10);

/// Everybody who can be killed.
const ROLES: [Role; 6] = [
    Role::Agent(Node::One),
    Role::Agent(Node::Two),
    Role::Aggregator(0),
    Role::Aggregator(1),
    Role::Database,
    Role::Person,
];

#[test]
fn no_edge_is_lost_and_no_count_doubled_whoever_is_killed_when() {
    journey("kills", Some(Server::start()), 2);
}

#[test]
fn nor_with_one_aggregator_that_keeps_the_graph_in_a_file() {
    journey("kills-file", None, 1);
}

fn journey(name: &'static str, database: Option<Server>, replicas: u64) {
    let number = |name: &str| env::var(name).ok().map(|it| it.parse().unwrap());
    let seed = number("NETPOL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let least = number("NETPOL_KILLS").unwrap_or(LEAST);
    println!("{name}: NETPOL_SEED={seed} NETPOL_KILLS={least} repeats it");
    let mut journey = Journey::begin(name, database);
    let killer = Killer::start(name, &journey, seed, least);
    killer.during("install", || journey.install(replicas));
    killer.during("learn", || journey.learn());
    killer.during("generate", || journey.generate());
    killer.during("audit", || journey.audit_and_approve());
    killer.during("enforce", || journey.enforce());
    killer.during("off", || journey.off());
    killer.during("count", || journey.count());
    killer.during("uninstall", || journey.uninstall());
    killer.finish();
}

/// Kills at random moments, on a thread of its own.
struct Killer {
    plan: Arc<Plan>,
    kubelet: Arc<Kubelet>,
    thread: Option<JoinHandle<()>>,
}

/// What the killer and the journey tell each other.
struct Plan {
    /// What the journey is called.
    name: &'static str,
    /// How many are to be killed in each step.
    least: u64,
    step: Mutex<&'static str>,
    /// How many were killed in this step, and in all.
    killed: AtomicU64,
    all: AtomicU64,
    stop: AtomicBool,
}

impl Killer {
    fn start(name: &'static str, journey: &Journey, seed: u64, least: u64) -> Self {
        let plan = Arc::new(Plan {
            name,
            least,
            step: Mutex::new("begin"),
            killed: AtomicU64::new(0),
            all: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let kubelet = Arc::clone(&journey.kubelet);
        let own = (
            Arc::clone(&plan),
            Arc::clone(&kubelet),
            Arc::clone(&journey.cluster),
        );
        let mut chance = Rng::with_seed(seed);
        let kill = move || {
            let (plan, kubelet, cluster) = own;
            while plan.pause(&mut chance) {
                let number = chance.usize(..);
                plan.kill(number, &kubelet, &cluster);
            }
        };
        Self {
            plan,
            kubelet,
            thread: Some(std::thread::spawn(kill)),
        }
    }

    /// A step of the journey, which is over when enough were killed in it, or nobody is left who could be.
    fn during(&self, name: &'static str, step: impl FnOnce()) {
        let begin = Instant::now();
        *self.plan.step.lock().unwrap() = name;
        self.plan.killed.store(0, Ordering::Relaxed);
        step();
        let took = begin.elapsed();
        while self.plan.is_hurried() && ROLES.iter().any(|role| self.kubelet.runs(*role)) {
            self.works();
            std::thread::sleep(PIECE);
        }
        self.works();
        println!(
            "{}: {name} took {:.1} s, {} killed",
            self.plan.name,
            took.as_secs_f64(),
            self.plan.killed.load(Ordering::Relaxed)
        );
    }

    fn works(&self) {
        let works = self.thread.as_ref().is_some_and(|it| !it.is_finished());
        assert!(works, "the killer failed");
    }

    /// Kills nobody any more.
    fn finish(self) {
        let killed = self.plan.all.load(Ordering::Relaxed);
        println!("{}: {killed} killed in all", self.plan.name);
        assert!(killed >= KILLS, "{killed} were killed");
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.plan.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said why, if it failed.
            let _ended = thread.join();
        }
    }
}

impl Plan {
    /// Whether more are to be killed before the step may end.
    fn is_hurried(&self) -> bool {
        self.killed.load(Ordering::Relaxed) < self.least
    }

    /// Waits for some time; what is left of a long pause is cut when a new step begins. Returns whether it goes on.
    fn pause(&self, chance: &mut Rng) -> bool {
        let share = chance.f64();
        let begin = Instant::now();
        loop {
            let longest = if self.is_hurried() { HURRIED } else { CALM };
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            if begin.elapsed() >= longest.mul_f64(share) {
                return true;
            }
            std::thread::sleep(PIECE);
        }
    }

    /// Kills one of those who run, by a number.
    fn kill(&self, number: usize, kubelet: &Kubelet, cluster: &Cluster) {
        let run = ROLES.into_iter().filter(|role| match role {
            Role::Person => person::runs(cluster),
            role => kubelet.runs(*role),
        });
        let run: Vec<Role> = run.collect();
        let role = (!run.is_empty()).then(|| run[number % run.len()]);
        let killed = role.filter(|role| match role {
            Role::Person => person::kill(cluster),
            role => kubelet.end_within(*role, End::Killed, PATIENCE),
        });
        if let Some(role) = killed {
            let number = self.all.fetch_add(1, Ordering::Relaxed) + 1;
            self.killed.fetch_add(1, Ordering::Relaxed);
            let step = self.step.lock().unwrap();
            println!("{}: kill {number}, in {step}: {role:?}", self.name);
        }
    }
}
