//! What one side of connections gains and loses between two sets of policies.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use netpol_common::names::WorkloadName;

use super::Scene;
use crate::policy::diff::blocks;
use crate::policy::evaluate::{Compiled, Place, PortSet, Way};

/// The other end of what changed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Other {
    Workload(WorkloadName),
    Net(IpNet),
}

/// What changed at one side.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    /// What is allowed only afterwards, by the workload whose side it is and by the other end.
    pub(super) gained: BTreeMap<(WorkloadName, Other), PortSet>,
    /// Whether anything is allowed only before.
    pub(super) lost: bool,
}

/// A place before and after.
type Both = (Place, Place);

/// What pods of a namespace gain and lose in a direction.
pub(super) fn changed(
    scene: &Scene<'_>,
    namespace: &str,
    way: Way,
    (before, after): (&Compiled, &Compiled),
) -> Changed {
    let own = own(scene, namespace, (before, after));
    let others = others(scene, way, (before, after));
    let mut changed = Changed::default();
    for (own, owners) in &own {
        for (other, names) in &others {
            let ports = |compiled: &Compiled, own: Place, other: Place| {
                let (client, server) = match way {
                    Way::Ingress => (other, own),
                    Way::Egress => (own, other),
                };
                compiled.ports(way, client, server).clone()
            };
            let (then, now) = (ports(before, own.0, other.0), ports(after, own.1, other.1));
            changed.lost |= !then.is_subset(&now);
            let gained = now.difference(&then);
            if !gained.is_empty() {
                for (owner, name) in owners
                    .iter()
                    .flat_map(|owner| names.iter().map(move |name| (owner, name)))
                {
                    let known = changed
                        .gained
                        .entry((owner.clone(), name.clone()))
                        .or_default();
                    *known = known.union(&gained);
                }
            }
        }
    }
    changed
}

/// The kinds of pods in a namespace that policies select, each with the workloads that have such pods.
fn own(
    scene: &Scene<'_>,
    namespace: &str,
    (before, after): (&Compiled, &Compiled),
) -> BTreeMap<Both, BTreeSet<WorkloadName>> {
    let mut own: BTreeMap<Both, BTreeSet<WorkloadName>> = BTreeMap::new();
    let pods = scene.world.pods();
    for (id, member) in pods.filter(|(_, member)| member.pod.name.namespace == namespace) {
        if is_node(scene, member.pod.host_network) {
            continue;
        }
        if let (Some((_, then)), Some((_, now))) =
            (before.places(id).first(), after.places(id).first())
        {
            let workloads = own.entry((then.kind(), now.kind())).or_default();
            workloads.insert(member.workload.clone());
        }
    }
    own
}

/// The kinds of pods and of addresses that may be at the other end.
fn others(
    scene: &Scene<'_>,
    way: Way,
    (before, after): (&Compiled, &Compiled),
) -> BTreeMap<Both, BTreeSet<Other>> {
    let mut others: BTreeMap<Both, BTreeSet<Other>> = BTreeMap::new();
    let pods = scene.world.pods();
    for (id, member) in pods.filter(|(_, member)| !is_node(scene, member.pod.host_network)) {
        for ((_, then), (_, now)) in before.places(id).iter().zip(after.places(id)) {
            let names = others.entry((then.kind(), now.kind())).or_default();
            names.insert(Other::Workload(member.workload.clone()));
        }
    }
    // By the places that blocks have, not by their first addresses: the first of all stands for one that is not known.
    let blocks = [before, after].map(|compiled| compiled.blocks(way, true));
    for (net, then, now) in blocks::common(&blocks[0], &blocks[1]) {
        let both = (then.kind(), now.kind());
        others.entry(both).or_default().insert(Other::Net(net));
    }
    others
}

fn is_node(scene: &Scene<'_>, host_network: bool) -> bool {
    host_network && scene.reading.host_network_is_node
}
