//! Verdicts of compiled policies on one core, and how long compiling takes.

use std::hint::black_box;

use netpol_agent::policy::evaluate::{Compiled, Place, PodId, Reading};
use netpol_common::words::Protocol;

use crate::cluster::{Cluster, PORTS};
use crate::measure::{median, print, say, timed};

/// Questions asked in one round.
const QUESTIONS: usize = 4_000_000;
/// Rounds, of which the median counts.
const ROUNDS: usize = 9;

/// A question: who to whom, on which port.
type Question = (Place, Place, Protocol, u16);

/// Measures both with 1,000 workloads of three pods, each with a policy of its own.
pub(crate) fn run() {
    let cluster = Cluster::new(1_000, 3);
    let (compiled, seconds) =
        timed(|| Compiled::new(&cluster.world, &cluster.policies, Reading::default()));
    let (pods, policies) = (cluster.world.pods().len(), cluster.policies.len());
    say(&format!(
        "verdicts: {pods} pods, {policies} policies compiled"
    ));
    print("compile_ms", seconds * 1e3, "ms");
    let questions = questions(&cluster, &compiled);
    let rounds = (0..ROUNDS).map(|_| {
        let (allowed, seconds) = timed(|| count(&compiled, &questions));
        black_box(allowed);
        questions.len() as f64 / seconds
    });
    print("verdicts_per_s", median(rounds.collect()), "1/s");
    let share = count(&compiled, &questions) as f64 / questions.len() as f64;
    say(&format!(
        "verdicts: {:.0} % of the questions are allowed",
        share * 100.0
    ));
}

fn count(compiled: &Compiled, questions: &[Question]) -> usize {
    let asked = questions.iter();
    let allowed = asked.filter(|(client, server, protocol, port)| {
        compiled.passes(*client, *server, *protocol, *port)
    });
    allowed.count()
}

/// One third is what policies allow, one third the same pairs on another port, one third between any two pods.
fn questions(cluster: &Cluster, compiled: &Compiled) -> Vec<Question> {
    let mut random = cluster.random.clone();
    let place = |pod: PodId| compiled.places(pod)[0].1;
    let pods: Vec<Place> = cluster.world.pods().map(|(id, _)| place(id)).collect();
    let mut any = |bound: usize| random.below(bound);
    let questions = (0..QUESTIONS).map(|number| {
        if number % 3 == 2 {
            return (
                pods[any(pods.len())],
                pods[any(pods.len())],
                Protocol::Tcp,
                PORTS[any(PORTS.len())],
            );
        }
        let (client, server, port) = cluster.edges[any(cluster.edges.len())];
        let replica = |workload: usize, pod: usize| pods[workload * cluster.replicas + pod];
        let (client, server) = (
            replica(client, any(cluster.replicas)),
            replica(server, any(cluster.replicas)),
        );
        (
            client,
            server,
            Protocol::Tcp,
            port + u16::from(number % 3 == 1),
        )
    });
    questions.collect()
}
