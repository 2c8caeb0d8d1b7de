//! The smallest change to the policies that allows a connection.
//!
//! Changes that allow nothing else come first, then the smaller ones: a port of a rule, a peer of a rule, a rule, a
//! policy. Each is tried: what it allows and what it would deny is asked of the compiled evaluator.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use netpol_common::names::WorkloadName;
use serde::Serialize;

use super::ends::{Spot, Who};
use super::widened::{self, Other};
use super::{Question, Scene, pairs, words};
use crate::policy::evaluate::{Compiled, PortRange, PortSet, Way};

/// How much of what a change allows besides is listed.
const LISTED: usize = 10;

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
    /// How large it is.
    pub(super) size: usize,
}

/// One side of the question.
pub(super) struct Side<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) question: &'a Question<'a>,
    pub(super) way: Way,
    /// The namespace of the pods whose side it is.
    pub(super) namespace: String,
    pub(super) own: &'a [Spot],
    pub(super) other: &'a [Spot],
    pub(super) peers: Vec<NetworkPolicyPeer>,
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
        if allowed(question, way, (from, to), compiled) {
            continue;
        }
        let policies = change.policies.clone();
        let scene = Scene {
            policies: &policies,
            ..*scene
        };
        let (own, other) = match way {
            Way::Egress => (from, to),
            Way::Ingress => (to, from),
        };
        let side = Side {
            scene,
            question,
            way,
            namespace: namespace(&scene, own)?,
            own,
            other,
            peers: Vec::new(),
        };
        let peers = side.peers()?;
        let (best, extra) = Side { peers, ..side }.best()?;
        change.steps.extend(best.steps);
        change.also_allows.extend(extra);
        change.policies = best.policies;
    }
    Some(change)
}

/// Whether one side allows every pair that is asked.
fn allowed(
    question: &Question<'_>,
    way: Way,
    (from, to): BothEnds<'_>,
    compiled: &Compiled,
) -> bool {
    let to_port = (question.protocol, question.port);
    let passes = |client: &Spot, server: &Spot| {
        let ports = compiled.ports(way, client.place, server.place);
        ports.contains(to_port.0, to_port.1)
    };
    let pairs = pairs::alike(from, to);
    pairs.iter().all(|pair| passes(pair.client, pair.server))
}

/// The namespace of the pods among some spots.
fn namespace(scene: &Scene<'_>, spots: &[Spot]) -> Option<String> {
    spots.iter().find_map(|spot| match &spot.who {
        Who::Pod(id) => Some(scene.world.pod(*id).pod.name.namespace.clone()),
        Who::Node(_) | Who::Outside => None,
    })
}

impl Side<'_> {
    /// The best change of this side, and what it allows besides.
    fn best(&self) -> Option<(Candidate, Vec<String>)> {
        let before = Compiled::new(self.scene.world, self.scene.policies, self.scene.reading);
        let tried = self.candidates().into_iter().filter_map(|candidate| {
            let extra = self.tried(&candidate, &before)?;
            Some((candidate, extra))
        });
        let best =
            tried.min_by_key(|(candidate, extra)| (!extra.is_empty(), candidate.size, extra.len()));
        best.map(|(candidate, extra)| (candidate, said(self.way, &extra)))
    }

    /// What a change allows besides what is asked; `None`, if it does not allow that, or denies something.
    fn tried(
        &self,
        candidate: &Candidate,
        before: &Compiled,
    ) -> Option<BTreeMap<(WorkloadName, Other), PortSet>> {
        let after = Compiled::new(self.scene.world, &candidate.policies, self.scene.reading);
        let from = self.question.from.spots(&self.scene, &after);
        let to = self.question.to.spots(&self.scene, &after);
        if !allowed(self.question, self.way, (&from, &to), &after) {
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

    pub(super) fn workloads(&self, spots: &[Spot]) -> BTreeSet<WorkloadName> {
        let workload = |spot: &Spot| match &spot.who {
            Who::Pod(id) => Some(self.scene.world.pod(*id).workload.clone()),
            Who::Node(_) | Who::Outside => None,
        };
        spots.iter().filter_map(workload).collect()
    }

    pub(super) fn nets(&self) -> BTreeSet<IpNet> {
        let outside = self
            .other
            .iter()
            .filter(|spot| !matches!(spot.who, Who::Pod(_)));
        outside.map(|spot| IpNet::from(spot.address)).collect()
    }

    fn others(&self) -> BTreeSet<Other> {
        let workloads = self.workloads(self.other).into_iter().map(Other::Workload);
        workloads
            .chain(self.nets().into_iter().map(Other::Net))
            .collect()
    }
}

/// What a change allows besides, in words.
fn said(way: Way, extra: &BTreeMap<(WorkloadName, Other), PortSet>) -> Vec<String> {
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
