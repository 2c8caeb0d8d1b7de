//! The smallest change to the policies that allows a connection.
//!
//! A change is made of edits: a port more in a rule, peers more in a rule, a rule more in a policy, a policy more.
//! Changes that allow nothing else come first, then those of fewer edits, then those whose edits are the smaller ones, in
//! that order of kinds. Each is tried: what it allows and what it would deny is asked of the compiled evaluator. Changes
//! of three edits and more are looked for only where fewer do not do.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;
use serde::Serialize;

use super::candidates::{self, Edit};
use super::ends::{Spot, Who};
use super::pairs::Pair;
use super::widened::{self, Other};
use super::{Question, Scene, pairs, words};
use crate::policy::evaluate::{Compiled, PortRange, PortSet, Way};

/// How much of what a change allows besides is listed.
const LISTED: usize = 10;
/// How many changes of one size are tried.
const TRIED: usize = 64;
/// So many edits at most, where fewer do but allow something else besides.
const MOST_FOR_EXACTNESS: usize = 2;

/// A change to the policies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What to do; together they allow the connection.
    pub steps: Vec<Step>,
    /// What they allow besides, as far as this cluster and these policies go.
    pub also_allows: Vec<String>,
    /// All policies after the change.
    #[serde(skip)]
    pub policies: Vec<NetworkPolicy>,
}

impl Eq for Change {}

/// A change to one policy.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What to do.
    pub what: String,
    /// What to put in there.
    pub yaml: String,
}

/// Spots of the clients and of the servers.
pub(super) type BothEnds<'s> = (&'s [Spot], &'s [Spot]);

/// A change of one side that was not tried yet.
pub(super) struct Candidate {
    pub(super) policies: Vec<NetworkPolicy>,
    pub(super) steps: Vec<Step>,
}

/// How large a change is: how many edits, and how large they are.
pub(super) type Size = (usize, usize);

/// What a change allows besides what is asked.
pub(super) type Extra = BTreeMap<(WorkloadName, Other), PortSet>;

/// One side of the question.
pub(super) struct Side<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) question: &'a Question<'a>,
    pub(super) way: Way,
    /// The namespace of the pods whose side it is.
    pub(super) namespace: String,
    pub(super) own: &'a [Spot],
    pub(super) other: &'a [Spot],
    /// What it denies.
    pub(super) denied: Vec<Pair<'a>>,
}

/// The change that allows what is asked, unless there is an end that no policy can name.
pub(super) fn smallest(
    scene: &Scene<'_>,
    question: &Question<'_>,
    (from, to): BothEnds<'_>,
    compiled: &Compiled,
) -> Option<Change> {
    let mut change = Change {
        steps: Vec::new(),
        also_allows: Vec::new(),
        policies: scene.policies.to_vec(),
    };
    for way in [Way::Egress, Way::Ingress] {
        let policies = change.policies.clone();
        let scene = Scene {
            policies: &policies,
            ..*scene
        };
        let Some(side) = Side::denying(scene, question, way, (from, to), compiled) else {
            continue;
        };
        let (best, _, extra) = side.best()?;
        change.steps.extend(best.steps);
        change.also_allows.extend(said(way, &extra));
        change.policies = best.policies;
    }
    Some(change)
}

/// The pairs that one side denies.
fn denied<'s>(
    question: &Question<'_>,
    way: Way,
    (from, to): BothEnds<'s>,
    compiled: &Compiled,
) -> Vec<Pair<'s>> {
    let passes = |pair: &Pair<'_>| {
        let ports = compiled.ports(way, pair.client.place, pair.server.place);
        ports.contains(question.protocol, question.port)
    };
    let mut pairs = pairs::alike(from, to);
    pairs.retain(|pair| !passes(pair));
    pairs
}

/// The namespace of the pods among some spots.
fn namespace(scene: &Scene<'_>, spots: &[Spot]) -> Option<String> {
    spots.iter().find_map(|spot| match &spot.who {
        Who::Pod(id) => Some(scene.world.pod(*id).pod.name.namespace.clone()),
        Who::Node(_) | Who::Outside => None,
    })
}

impl<'a> Side<'a> {
    /// A side that denies something of what is asked.
    pub(super) fn denying(
        scene: Scene<'a>,
        question: &'a Question<'a>,
        way: Way,
        (from, to): BothEnds<'a>,
        compiled: &Compiled,
    ) -> Option<Self> {
        let denied = denied(question, way, (from, to), compiled);
        let (own, other) = match way {
            Way::Egress => (from, to),
            Way::Ingress => (to, from),
        };
        (!denied.is_empty()).then_some(())?;
        Some(Self {
            namespace: namespace(&scene, own)?,
            scene,
            question,
            way,
            own,
            other,
            denied,
        })
    }

    /// The best change of this side, how large it is, and what it allows besides; none, if there is an end that no policy
    /// can name, since what would let it in would let in everybody.
    pub(super) fn best(&self) -> Option<(Candidate, Size, Extra)> {
        self.can_be_named().then_some(())?;
        let before = Compiled::new(self.scene.world, self.scene.policies, self.scene.reading);
        let edits = self.edits();
        let mut best: Option<(Candidate, Size, Extra)> = None;
        for many in 1..=self.denied.len() {
            if best.is_some() && many > MOST_FOR_EXACTNESS {
                break;
            }
            let mut sized: BTreeMap<Size, Vec<Vec<&Edit>>> = BTreeMap::new();
            for cover in candidates::covers(&edits, self.denied.len(), many) {
                sized
                    .entry(candidates::size(&cover))
                    .or_default()
                    .push(cover);
            }
            for (size, covers) in sized {
                let tried = covers.iter().take(TRIED).filter_map(|cover| {
                    let candidate = self.candidate(cover, &edits)?;
                    let extra = self.tried(&candidate, &before)?;
                    Some((candidate, size, extra))
                });
                let Some(found) = tried.min_by_key(|(.., extra)| extra.len()) else {
                    continue;
                };
                if found.2.is_empty() {
                    return Some(found);
                }
                best.get_or_insert(found);
            }
        }
        best.or_else(|| {
            let rules = candidates::rules_for_all(&edits, self.denied.len());
            let candidate = self.candidate(&rules, &edits)?;
            let extra = self.tried(&candidate, &before)?;
            Some((candidate, candidates::size(&rules), extra))
        })
    }

    /// What a change allows besides what is asked; `None`, if it does not allow that, or denies something.
    pub(super) fn tried(&self, candidate: &Candidate, before: &Compiled) -> Option<Extra> {
        let after = Compiled::new(self.scene.world, &candidate.policies, self.scene.reading);
        let from = self.question.from.spots(&self.scene, &after);
        let to = self.question.to.spots(&self.scene, &after);
        if !denied(self.question, self.way, (&from, &to), &after).is_empty() {
            return None;
        }
        let both = (before, &after);
        let changed = widened::changed(&self.scene, &self.namespace, self.way, both);
        if changed.lost {
            return None;
        }
        let asked: PortSet = [PortRange::one(self.question.protocol, self.question.port)]
            .into_iter()
            .collect();
        let (own, others) = (self.workloads(self.own), self.others());
        let beyond = changed
            .gained
            .into_iter()
            .filter_map(|((owner, other), gained)| {
                let meant = own.contains(&owner) && others.contains(&other);
                let beyond = if meant {
                    gained.difference(&asked)
                } else {
                    gained
                };
                (!beyond.is_empty()).then_some(((owner, other), beyond))
            });
        Some(beyond.collect())
    }

    pub(super) fn workloads<'s>(
        &self,
        spots: impl IntoIterator<Item = &'s Spot>,
    ) -> BTreeSet<WorkloadName> {
        let workload = |spot: &Spot| match &spot.who {
            Who::Pod(id) => Some(self.scene.world.pod(*id).workload.clone()),
            Who::Node(_) | Who::Outside => None,
        };
        spots.into_iter().filter_map(workload).collect()
    }

    fn others(&self) -> BTreeSet<Other> {
        let workloads = self.workloads(self.other).into_iter().map(Other::Workload);
        let nets = nets(self.other).into_iter().map(Other::Net);
        workloads.chain(nets).collect()
    }
}

/// The addresses of those that are no pods to policies.
pub(super) fn nets<'s>(spots: impl IntoIterator<Item = &'s Spot>) -> BTreeSet<IpNet> {
    let outside = spots
        .into_iter()
        .filter(|spot| !matches!(spot.who, Who::Pod(_)));
    outside.map(|spot| IpNet::from(spot.address)).collect()
}

/// What a change allows besides, in words.
fn said(way: Way, extra: &Extra) -> Vec<String> {
    let preposition = match way {
        Way::Ingress => "from",
        Way::Egress => "to",
    };
    let each = extra.iter().take(LISTED).map(|((owner, other), ports)| {
        let other = match other {
            Other::Workload(name) => name.to_string(),
            Other::Net(net) => net.to_string(),
        };
        format!(
            "{} of {owner} {preposition} {other}: {ports}",
            words::way(way)
        )
    });
    let mut all: Vec<String> = each.collect();
    if let Some(more @ 1..) = extra.len().checked_sub(LISTED) {
        all.push(format!("and {more} more"));
    }
    all
}
