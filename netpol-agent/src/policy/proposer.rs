//! All policies of a cluster, from what its workloads learned.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netpol_common::names::WorkloadName;
use rayon::prelude::*;

use super::atlas::Atlas;
use super::cluster::Cluster;
use super::finding::Finding;
use super::gathered::Edge;
use super::lessons::{Asked, Counted, Seen, Taught, judge};
use super::making::Making;
use super::model::{Direction, Policy, Proposal};
use super::options::OptionsFor;
use super::outside::Outsides;
use super::reject;
use super::remarks;
use super::workloads::{Known, known};
use crate::identity::EdgeId;

/// A cluster, and what is asked of its policies.
#[derive(Clone, Debug)]
pub(super) struct Proposer<'a> {
    pub(super) cluster: Cow<'a, Cluster>,
    pub(super) options: Cow<'a, OptionsFor>,
    pub(super) workloads: Known,
    pub(super) atlas: Atlas,
    pub(super) left_out: LeftOutEdges,
    /// What is outside the cluster, by what options tell of it.
    pub(super) outsides: Outsides,
    /// Whether ranges of ports are to be inferred anywhere.
    pub(super) infers_ranges: bool,
    /// Whether policies are wanted without the edges that they rest on.
    pub(super) bare: bool,
}

/// Edges that make no rule at one of their ends, by the workload there.
pub(super) type LeftOutEdges = BTreeMap<WorkloadName, BTreeSet<(Direction, Arc<EdgeId>)>>;

/// What comes of one workload.
struct Part {
    policy: Option<Policy>,
    findings: BTreeSet<Finding>,
    /// Whether what it learned makes a policy.
    makes_policy: bool,
    /// Edges that were not established.
    not_established: usize,
}

impl<'a> Proposer<'a> {
    pub(super) fn new(cluster: Cow<'a, Cluster>, options: Cow<'a, OptionsFor>) -> Self {
        let (workloads, atlas) = known(&cluster);
        Self {
            workloads,
            atlas,
            infers_ranges: options.infers_ranges(),
            outsides: Outsides::new(&options),
            cluster,
            options,
            left_out: LeftOutEdges::new(),
            bare: false,
        }
    }

    /// What edges come to at the end that is the workload at a place depends on; nothing if no policy applies to it.
    pub(super) fn asked(&self, place: usize) -> Option<Asked<'_>> {
        let (name, known) = self.workloads.get_index(place)?;
        (!known.host_network).then(|| Asked {
            cluster: &self.cluster,
            options: &self.options,
            own: self.options.workload(name),
            infers_ranges: self.infers_ranges,
        })
    }

    /// What an edge comes to at an end that is a workload.
    pub(super) fn judge(
        &self,
        Edge { id, evidence, peer }: Edge<'_>,
        asked: Asked<'_>,
        direction: Direction,
    ) -> Seen {
        let other = |name: &WorkloadName| !self.is_on_host(name);
        let mut seen = judge(id, evidence, asked, direction, other);
        if let Some(learned) = &mut seen.learned {
            learned.place = peer;
        }
        seen
    }

    pub(super) fn is_on_host(&self, name: &WorkloadName) -> bool {
        (self.workloads.get(name)).is_some_and(|workload| workload.host_network)
    }

    /// All policies and findings.
    pub(super) fn proposal(&self, taught: &dyn Taught) -> Proposal {
        let (making, mut findings) = Making::new(self, taught);
        let parts: Vec<Part> = (0..self.workloads.len())
            .into_par_iter()
            .map(|place| self.part(&making, place))
            .collect();
        let makes_policy: Vec<bool> = parts.iter().map(|part| part.makes_policy).collect();
        let (mut policies, mut not_established) = (Vec::new(), 0);
        for part in parts {
            policies.extend(part.policy);
            findings.extend(part.findings);
            not_established += part.not_established;
        }
        let (denials, said) = making.denials(&policies);
        policies.extend(denials);
        findings.extend(said);
        findings.extend((not_established > 0).then_some(Finding::NotEstablished {
            edges: not_established,
        }));
        findings.extend(reject::unheard(&self.options, &findings));
        findings.extend(remarks::of_others(&self.cluster, |name| {
            let place = self.workloads.get_index_of(name);
            place.is_some_and(|place| makes_policy[place])
        }));
        policies.par_sort_by(|a: &Policy, b| {
            (&a.workload.namespace, &a.name).cmp(&(&b.workload.namespace, &b.name))
        });
        Proposal {
            policies,
            findings: findings.into_iter().collect(),
        }
    }

    fn part(&self, making: &Making<'_>, place: usize) -> Part {
        let mut findings = BTreeSet::new();
        let lessons = making.taught.lessons(place);
        let not_established = lessons.counted(Counted::NotEstablished);
        let makes_policy = lessons.make_policy();
        let mut policy = making.policy(place, lessons, &mut findings);
        if let Some(policy) = policy.as_mut().filter(|_| self.bare) {
            policy.forget_evidence();
        }
        Part {
            policy,
            findings,
            makes_policy,
            not_established,
        }
    }
}
