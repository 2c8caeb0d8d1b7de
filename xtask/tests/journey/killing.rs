//! The journey while processes are killed at any moment: agents, aggregators, and PostgreSQL.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use xtask::lab::topology::Node;

use crate::kubelet::{End, Kubelet, Role};
use crate::postgres::Server;
use crate::steps::Journey;

/// How many processes are killed, if `NETPOL_KILLS` does not say.
const KILLS: u64 = 24;
/// The longest time between two, in milliseconds.
const PAUSE: u64 = 3_000;

/// Everybody who can be killed.
const ROLES: [Role; 5] = [
    Role::Agent(Node::One),
    Role::Agent(Node::Two),
    Role::Aggregator(0),
    Role::Aggregator(1),
    Role::Database,
];

#[test]
fn no_edge_is_lost_and_no_count_doubled_whoever_is_killed_when() {
    let number = |name: &str| env::var(name).ok().map(|it| it.parse().unwrap());
    let seed = number("NETPOL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = number("NETPOL_KILLS").unwrap_or(KILLS);
    println!("NETPOL_SEED={seed} NETPOL_KILLS={kills} repeats it");
    let mut journey = Journey::begin("kills", Some(Server::start()));
    journey.install(2);
    let killer = Killer::start(&journey.kubelet, seed, kills);
    journey.learn();
    journey.generate();
    journey.audit_and_approve();
    journey.enforce();
    journey.off();
    killer.finish();
    journey.count();
    journey.uninstall();
}

/// Kills at random moments, on a thread of its own.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Killer {
    fn start(kubelet: &Arc<Kubelet>, seed: u64, kills: u64) -> Self {
        let (kubelet, stop) = (Arc::clone(kubelet), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let mut chance = Rng::with_seed(seed);
        let kill = move || {
            for number in 1..=kills {
                let pause = chance.u64(0..PAUSE);
                let role = ROLES[chance.usize(0..ROLES.len())];
                std::thread::sleep(Duration::from_millis(pause));
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                println!("kill {number}: {role:?} after {pause} ms");
                kubelet.end(role, End::Killed);
            }
        };
        Self {
            stop,
            thread: Some(std::thread::spawn(kill)),
        }
    }

    /// Waits until all that is to be killed was killed.
    fn finish(mut self) {
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            ended.is_some_and(|ended| ended.is_ok()),
            "the killer failed"
        );
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The test has failed already.
            let _ended = thread.join();
        }
    }
}
