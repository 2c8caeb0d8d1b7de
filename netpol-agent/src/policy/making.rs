//! The policy of one workload, from what it learned.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netpol_common::names::WorkloadName;

use super::common::Common;
use super::deny;
use super::dns;
use super::entities;
use super::finding::{Finding, Inexpressible};
use super::learn::Learned;
use super::lessons::{Counted, Lessons, Taught};
use super::model::{Direction, Policy};
use super::options::Dns;
use super::profile;
use super::proposer::Proposer;
use super::reject;
use super::remarks;
use super::rules::rules;
use super::widen;
use super::writer::Writer;
use crate::identity::{EdgeId, Peer};

/// Policies in the making: what is known of the cluster and its workloads, and what the policies have in common.
pub(super) struct Making<'p> {
    pub(super) proposer: &'p Proposer<'p>,
    pub(super) taught: &'p dyn Taught,
    pub(super) common: Common,
}

impl<'p> Making<'p> {
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            cluster: &self.proposer.cluster,
            workloads: &self.proposer.workloads,
            atlas: &self.proposer.atlas,
            taught: self.taught,
            sightings: self.common.sightings.as_ref(),
            outsides: &self.proposer.outsides,
        }
    }

    /// What DNS is allowed to a workload, as a client.
    pub(super) fn dns(&self, name: &WorkloadName) -> Dns {
        self.proposer.options.workload(name).dns
    }

    /// What makes a rule of one direction: what was learned, with the DNS traffic that is allowed though it was not seen.
    /// Besides, what of that traffic a person rejected.
    pub(super) fn learned(
        &self,
        name: &WorkloadName,
        mut learned: Vec<Learned>,
        direction: Direction,
    ) -> (Vec<Learned>, Vec<Arc<EdgeId>>) {
        let (cluster, common) = (&self.proposer.cluster, &self.common);
        let seen = learned.len();
        learned.extend(dns::pairs(cluster, &learned, |edge| {
            let client = match &edge.client {
                Peer::Workload(client) => client,
                _ => name,
            };
            self.dns(client) != Dns::Seen
        }));
        let always = self.dns(name) == Dns::Always;
        if !common.resolvers.is_empty() && (always || direction == Direction::Ingress) {
            let (clients, resolvers) = (&common.clients, &common.resolvers);
            learned.extend(dns::always(clients, resolvers, name, direction, &learned));
        }
        let is_on_host = self.proposer.is_on_host(name);
        if direction == Direction::Ingress && !common.denied.is_empty() && !is_on_host {
            let own = cluster.resolvers.iter().filter(|(own, _)| own == name);
            learned.extend(own.flat_map(|(_, port)| deny::asked(&common.denied, name, *port)));
        }
        if learned.len() > seen {
            learned.sort_by(|a, b| a.support.edge.cmp(&b.support.edge));
        }
        let own = self.proposer.options.workload(name);
        let rejected = learned.extract_if(.., |one| own.rejects(&one.support.edge));
        let rejected = rejected.map(|one| one.support.edge).collect();
        if let Some(left_out) = self.proposer.left_out.get(name) {
            let edge = |one: &Learned| (direction, Arc::clone(&one.support.edge));
            learned.retain(|one| !left_out.contains(&edge(one)));
        }
        (learned, rejected)
    }

    /// The policy of the workload at a place, unless it learned nothing, cannot be selected or one of its edges cannot
    /// be written.
    pub(super) fn policy(
        &self,
        place: usize,
        lessons: Cow<'_, Lessons>,
        findings: &mut BTreeSet<Finding>,
    ) -> Option<Policy> {
        let (name, known) = self.proposer.workloads.get_index(place)?;
        remark(name, &lessons, findings);
        // Of what only the graph knows there is nothing to select, and nothing more to say.
        if !lessons.make_policy() || !known.is_in_inventory {
            return None;
        }
        let mut lessons = lessons.into_owned();
        let writer = self.writer();
        let mut said = BTreeSet::new();
        let options = self.proposer.options.workload(name);
        let [ingress, egress] = Direction::ALL.map(|direction| {
            let learned = lessons.side_mut(direction).take();
            let (mut learned, mut rejected) = self.learned(name, learned, direction);
            findings.extend(rejected.iter().map(|edge| Finding::Rejected {
                edge: EdgeId::clone(edge),
            }));
            rejected.extend(lessons.rejected(direction).cloned());
            let mut wider = widen::widen(&writer, options, (name, direction), &mut learned);
            wider.extend(reject::still_allowed(
                &writer, &rejected, &learned, direction,
            ));
            said.extend(wider.into_iter().map(|told| told.of(name, direction)));
            learned
        });
        let both = [(Direction::Ingress, &ingress), (Direction::Egress, &egress)];
        let mut hindered = BTreeSet::new();
        for (direction, learned) in both {
            hinder(name, direction, learned, &writer, &mut hindered);
        }
        if let Some(Err(unselectable)) = &known.selector {
            hindered.insert(remarks::unselectable(name, unselectable));
        }
        if !hindered.is_empty() {
            findings.extend(hindered);
            return None;
        }
        findings.extend(said);
        for (direction, learned) in both {
            let remarks = remarks::of_direction(name, direction, learned, &writer, options);
            findings.extend(remarks);
        }
        let entities = both.map(|(_, learned)| entities::rules(&writer, learned));
        let both = [(Direction::Ingress, ingress), (Direction::Egress, egress)];
        let [ingress, egress] = both.map(|(direction, learned)| {
            let rules = widen::rules(&writer, learned, |narrow| {
                rules(&writer, &name.namespace, narrow)
            });
            findings.extend(remarks::of_excess(name, direction, rules.excess));
            rules.rules
        });
        let mut policy = Policy {
            workload: name.clone(),
            name: known.policy.clone()?,
            subject: known.selector.clone()?.ok()?,
            ingress,
            egress,
            entities: entities.into_iter().flatten().collect(),
            already: BTreeMap::new(),
            coverage: None,
        };
        findings.extend(profile::fit(&mut policy, options.cni));
        Some(policy)
    }
}

/// What is to be said of a workload's edges.
fn remark(name: &WorkloadName, lessons: &Lessons, findings: &mut BTreeSet<Finding>) {
    for direction in Direction::ALL {
        let told = lessons.told(direction).iter();
        findings.extend(told.flat_map(|(_, told)| &told.findings).cloned());
    }
    let edges = lessons.counted(Counted::OwnNode);
    if edges > 0 {
        let workload = name.clone();
        findings.insert(Finding::OwnNode { workload, edges });
    }
}

/// The edges of a workload that cannot be written, and the peers that cannot be selected.
fn hinder(
    workload: &WorkloadName,
    direction: Direction,
    learned: &[Learned],
    writer: &Writer<'_>,
    findings: &mut BTreeSet<Finding>,
) {
    for alike in learned.chunk_by(Learned::has_same_peer) {
        let [first, ..] = alike else { continue };
        let written = writer.atoms_of(first);
        for one in alike {
            let edge = &one.support.edge;
            let reason = match &written {
                _ if edge.port == 0 => Inexpressible::PortZero,
                Err(reason) if one.stand_ins.is_none() => reason.clone(),
                _ => continue,
            };
            if let (Inexpressible::Unselectable, Peer::Workload(name)) = (&reason, one.peer())
                && let Some(Err(unselectable)) = writer.selector(name)
            {
                findings.insert(remarks::unselectable(name, unselectable));
            }
            findings.insert(Finding::Withheld {
                workload: workload.clone(),
                direction,
                edge: EdgeId::clone(edge),
                reason,
            });
        }
    }
}
