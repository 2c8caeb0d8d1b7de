//! Synthesis of whole clusters, and of one workload after a new edge.

use std::borrow::Cow;

use netpol_agent::identity::Peer;
use netpol_agent::policy::{Options, OptionsFor, Proposal, Synthesiser, synthesise};
use netpol_common::words::Protocol;

use crate::graph::{Random, Scene, edge, established, scene};
use crate::measure::{median, peak, print, quantile, say, timed};

/// Workloads, edges, rounds, and how the figure is called.
const SIZES: [(usize, usize, usize, &str); 4] = [
    (100, 1_000, 101, "synthesis_1k_edges_s"),
    (300, 10_000, 51, "synthesis_10k_edges_s"),
    (1_500, 100_000, 11, "synthesis_100k_edges_s"),
    (10_000, 1_000_000, 7, "synthesis_1m_edges_s"),
];

/// How many seconds the rounds of one size may take together, as far as they are counted; the first is always made.
const AT_MOST: f64 = 60.0;
/// How many times as long as the size before a size may take, to be foreseen.
const GROWTH: f64 = 20.0;

/// How many workloads are proposed again.
const AGAIN: usize = 500;

pub(crate) fn run() {
    let mut before = 0.0;
    for (workloads, edges, rounds, name) in SIZES {
        if before * GROWTH > AT_MOST {
            say(&format!(
                "{name} is left out: the size before took {before:.1} s"
            ));
            continue;
        }
        let scene = scene(workloads, edges);
        let ((proposal, first), risen) = peak(|| timed(|| propose(&scene)));
        describe(name, &scene, &proposal);
        drop(proposal);
        let possible = (AT_MOST / first) as usize;
        let more = (0..rounds.min(possible).saturating_sub(1)).map(|_| timed(|| propose(&scene)).1);
        before = median(std::iter::once(first).chain(more).collect());
        print(name, before, "s");
        if edges == 1_000_000 {
            if let Some(mib) = risen {
                print("synthesis_peak_mib", mib, "MiB");
            }
            print("resynthesis_ms", resynthesis(&scene), "ms");
        }
    }
}

fn propose(scene: &Scene) -> Proposal {
    synthesise(&scene.graph, &scene.cluster, &Options::default())
}

fn describe(name: &str, scene: &Scene, proposal: &Proposal) {
    let rules = |policy: &netpol_agent::policy::Policy| policy.ingress.len() + policy.egress.len();
    let rules: usize = proposal.policies.iter().map(rules).sum();
    let cut_off = proposal
        .findings
        .iter()
        .filter(|finding| finding.word() == "NotLeast");
    say(&format!(
        "{name}: {} edges, {} policies, {rules} rules, {} searches cut off, {} findings",
        scene.graph.edges.len(),
        proposal.policies.len(),
        cut_off.count(),
        proposal.findings.len(),
    ));
}

/// Milliseconds to propose a workload's policy again after one new edge, the middle one of many workloads.
fn resynthesis(scene: &Scene) -> f64 {
    let options = OptionsFor::default();
    let mut synthesiser = Synthesiser::new(Cow::Borrowed(&scene.cluster), Cow::Borrowed(&options));
    for (edge, evidence) in &scene.graph.edges {
        synthesiser.learn(edge, evidence);
    }
    let mut random = Random(7);
    let mut again = || {
        let client = &scene.names[random.below(scene.names.len() - 2)];
        let server = &scene.names[random.below(scene.names.len() - 2)];
        let new = edge(client, server, Protocol::Tcp, 7_777);
        let ((), seconds) = timed(|| {
            synthesiser.learn(&new, &established());
            let Peer::Workload(name) = &new.client else {
                return;
            };
            std::hint::black_box(synthesiser.resynthesise(name));
        });
        seconds * 1e3
    };
    let times: Vec<f64> = (0..AGAIN).map(|_| again()).collect();
    say(&format!(
        "resynthesis: 99 of 100 within {:.2} ms",
        quantile(times.clone(), 0.99)
    ));
    median(times)
}
