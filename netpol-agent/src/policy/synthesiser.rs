//! From the flow graph to policies, an edge at a time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use netpol_common::names::WorkloadName;
use rayon::prelude::*;

use super::cluster::Cluster;
use super::deny;
use super::finding::Finding;
use super::gathered::{Edge, Gathered};
use super::learn::Learned;
use super::lessons::{Lessons, Taught, end};
use super::making::Making;
use super::model::{Direction, Policy, Proposal};
use super::options::{Dns, OptionsFor};
use super::proposer::{LeftOutEdges, Proposer};
use super::synthesis::with_unresolved;
use super::widen;
use crate::graph::{Evidence, FlowGraph};
use crate::identity::{EdgeId, Peer};

/// What is known of a cluster and of the edges in it, so that the policy of one workload can be proposed again after
/// a new edge. A cluster that changed needs a new one.
#[derive(Clone, Debug)]
pub struct Synthesiser<'a> {
    proposer: Proposer<'a>,
    /// What each workload learned, by its place.
    lessons: Vec<Lessons>,
}

/// What each workload learned, by its place.
struct Remembered<'a>(&'a [Lessons]);

impl Taught for Remembered<'_> {
    fn lessons(&self, place: usize) -> Cow<'_, Lessons> {
        Cow::Borrowed(&self.0[place])
    }
}

impl<'a> Synthesiser<'a> {
    /// Takes in a cluster, without any edge.
    #[must_use]
    pub fn new(cluster: Cow<'a, Cluster>, options: Cow<'a, OptionsFor>) -> Self {
        let proposer = Proposer::new(cluster, options);
        Self {
            lessons: vec![Lessons::default(); proposer.workloads.len()],
            proposer,
        }
    }

    /// Makes no rule of these edges at these ends from now on.
    pub(super) fn leave_out(&mut self, edges: LeftOutEdges) {
        self.proposer.left_out = edges;
    }

    /// What each workload learned, with the DNS traffic that is allowed though it was not seen.
    pub(super) fn everything_learned(&self) -> Vec<(&WorkloadName, Vec<Learned>)> {
        let taught = Remembered(&self.lessons);
        let making = Making::new(&self.proposer, &taught).0;
        let all = self.proposer.workloads.keys().zip(&self.lessons);
        let learned = all
            .filter(|(_, lessons)| lessons.make_policy())
            .map(|(name, lessons)| {
                let learned = |way| (making.learned(name, lessons.learned(way).to_vec(), way)).0;
                let both = Direction::ALL.map(learned);
                (name, both.into_iter().flatten().collect())
            });
        learned.collect()
    }

    /// Takes in an edge, in place of what was known of it. Tells which workloads' policies may be others now, and by
    /// workloads of the kind [`NAMESPACE`](super::NAMESPACE) which namespaces' own policies, of which only
    /// [`proposal`](Self::proposal) tells.
    pub fn learn(&mut self, edge: &EdgeId, evidence: &Evidence) -> BTreeSet<WorkloadName> {
        let edge = Arc::new(edge.clone());
        let mut changed = BTreeSet::new();
        for direction in Direction::ALL {
            let Peer::Workload(name) = end(&edge, direction) else {
                continue;
            };
            let place = self.place(name);
            let peer = match end(&edge, direction.other()) {
                Peer::Workload(name) => self.proposer.workloads.get_index_of(name),
                _ => None,
            };
            let edge = Edge {
                id: &edge,
                evidence,
                peer,
            };
            let Some(asked) = self.proposer.asked(place) else {
                continue;
            };
            let seen = self.proposer.judge(edge, asked, direction);
            let lessons = &mut self.lessons[place];
            let had_policy = lessons.make_policy();
            lessons.side_mut(direction).insert(edge.id, seen);
            let always = self.proposer.options.workload(name).dns == Dns::Always;
            if had_policy != lessons.make_policy() && always {
                let resolvers = self.proposer.cluster.resolvers.iter();
                changed.extend(resolvers.map(|(name, _)| name.clone()));
            }
            // Whether a namespace denies all else depends on each policy in it, and all resolvers answer those that do.
            if self
                .proposer
                .options
                .namespace(&name.namespace)
                .default_deny
            {
                let resolvers = self.proposer.cluster.resolvers.iter();
                changed.extend(resolvers.map(|(name, _)| name.clone()));
                changed.insert(deny::subject(&name.namespace));
            }
            changed.insert(name.clone());
        }
        if let (Peer::Workload(server), true) = (&edge.server, self.proposer.infers_ranges) {
            let all = self.proposer.workloads.keys().zip(&self.lessons);
            changed.extend(widen::writers_of(all, server).cloned());
        }
        changed
    }

    /// Takes in all edges of a graph, each in place of what was known of it.
    pub fn learn_all(&mut self, graph: &FlowGraph) {
        let edges = Gathered::of(graph, &mut self.proposer.workloads);
        let all = self.proposer.workloads.len();
        self.lessons.resize(all, Lessons::default());
        let (proposer, edges) = (&self.proposer, &edges);
        let all = self.lessons.par_iter_mut().enumerate();
        all.for_each(|(place, lessons)| {
            let Some(asked) = proposer.asked(place) else {
                return;
            };
            for direction in Direction::ALL {
                let side = lessons.side_mut(direction);
                let edges = edges.edges(place, direction);
                side.reserve(edges.len());
                for edge in edges {
                    side.insert(edge.id, proposer.judge(edge, asked, direction));
                }
            }
        });
    }

    /// The place of a workload, which is known from then on.
    fn place(&mut self, name: &WorkloadName) -> usize {
        let entry = self.proposer.workloads.entry(name.clone());
        let place = entry.index();
        entry.or_default();
        let all = self.proposer.workloads.len();
        self.lessons.resize(all, Lessons::default());
        place
    }

    /// The policy of one workload, with the findings about it and its edges; not that of a namespace.
    #[must_use]
    pub fn resynthesise(&self, workload: &WorkloadName) -> (Option<Policy>, BTreeSet<Finding>) {
        let mut findings = BTreeSet::new();
        let taught = Remembered(&self.lessons);
        let policy = (self.proposer.workloads.get_index_of(workload)).and_then(|place| {
            let making = Making::new(&self.proposer, &taught).0;
            making.policy(place, Cow::Borrowed(&self.lessons[place]), &mut findings)
        });
        (policy, findings)
    }

    /// All policies and findings, those about what the graph could not resolve included.
    pub(super) fn proposal_of(&self, graph: &FlowGraph) -> Proposal {
        with_unresolved(self.proposal(), graph)
    }

    /// All policies and findings.
    #[must_use]
    pub fn proposal(&self) -> Proposal {
        self.proposer.proposal(&Remembered(&self.lessons))
    }
}

/// A synthesiser that has learned every edge of a graph.
pub(super) fn taught<'a>(
    graph: &FlowGraph,
    cluster: &'a Cluster,
    options: &'a OptionsFor,
) -> Synthesiser<'a> {
    let mut synthesiser = Synthesiser::new(Cow::Borrowed(cluster), Cow::Borrowed(options));
    synthesiser.learn_all(graph);
    synthesiser
}
