//! What changes from one set of policies to another over the same cluster: what becomes allowed, what denied.
//!
//! The change is that of pods: a pair of workloads is listed if it changes for any pod of the one and any pod of the
//! other, so that nothing hides behind a pod that keeps what others lose. Unlike in
//! [`connectivity`](super::connectivity), what changes between two pods of one workload is listed too.
//!
//! Both ends have a say in a connection. Where a change at one end changes nothing because the other end denies the
//! connection before and after, it is *latent*: no difference yet, but one as soon as the other end changes.

pub(super) mod blocks;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::WorkloadName;

use super::connectivity::{Kind, Party};
use super::evaluate::{Compiled, Place, PodId, PortSet, Reading, Way, World};

/// What changes from one set of policies to another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Difference {
    /// What only the second allows.
    pub allowed: Vec<Change>,
    /// What only the first allows.
    pub denied: Vec<Change>,
    /// What changes at one end and is denied by the other before and after.
    pub latent: Vec<Latent>,
}

/// Ports on which one party may newly, or no longer, open connections to another.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Change {
    /// Who opens connections.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// On which ports.
    pub ports: PortSet,
}

/// A change at one end of what the other end denies anyway.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Latent {
    /// At which end: the server's (ingress) or the client's (egress).
    pub way: Way,
    /// Whether that end newly allows it; else it no longer does.
    pub allows: bool,
    /// Between whom, and on which ports.
    pub change: Change,
}

/// What changes from `before` to `after`.
#[must_use]
pub fn diff(
    world: &World,
    before: &[NetworkPolicy],
    after: &[NetworkPolicy],
    reading: Reading,
) -> Difference {
    let [before, after] = [before, after].map(|policies| Compiled::new(world, policies, reading));
    let named = before.names_v6() || after.names_v6();
    let six = named || world.families().iter().any(IpAddr::is_ipv6);
    let workloads: Vec<Workload> = world
        .workloads()
        .map(|(name, pods)| Workload::new(name, &before, &after, pods))
        .collect();
    let mut comparison = Comparison {
        before: &before,
        after: &after,
        known: BTreeMap::new(),
        found: Difference::default(),
    };
    for from in &workloads {
        for to in workloads
            .iter()
            .filter(|to| to.name != from.name || from.meets_itself)
        {
            comparison.workloads(from, to);
        }
    }
    for way in Way::ALL {
        let blocks = blocks::common(&before.blocks(way, six), &after.blocks(way, six));
        for workload in &workloads {
            comparison.outside(way, workload, &blocks);
        }
    }
    comparison.finish()
}

impl Difference {
    /// Whether exactly the same connections are allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty()
    }
}

/// A workload with the kinds of its pods, each with their place under the second set of policies.
struct Workload {
    name: WorkloadName,
    kinds: Vec<(Kind, Place)>,
    /// Whether it has, or may have, more than one pod.
    meets_itself: bool,
}

impl Workload {
    fn new(
        name: &WorkloadName,
        before: &Compiled,
        after: &Compiled,
        pods: impl Iterator<Item = PodId> + Clone,
    ) -> Self {
        Self {
            name: name.clone(),
            meets_itself: name.kind != "Pod" || pods.clone().nth(1).is_some(),
            kinds: Kind::of_both(before, after, pods),
        }
    }
}

/// What changes between two places.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Gap {
    allowed: PortSet,
    denied: PortSet,
    /// By direction: what changes there only, newly allowed and no longer.
    latent: [[PortSet; 2]; 2],
}

struct Comparison<'a> {
    before: &'a Compiled,
    after: &'a Compiled,
    known: BTreeMap<[[u32; 2]; 2], Gap>,
    found: Difference,
}

impl Comparison<'_> {
    fn workloads(&mut self, from: &Workload, to: &Workload) {
        let mut whole = Gap::default();
        for (client, after_client) in &from.kinds {
            let meeting = to.kinds.iter().filter(|(server, _)| server.meets(client));
            for (server, after_server) in meeting {
                if !client.is_exempt(server, self.before) {
                    let gap =
                        self.gap((client.place, server.place), (*after_client, *after_server));
                    whole.add(gap);
                }
            }
        }
        let [from, to] = [from, to].map(|workload| Party::Workload(workload.name.clone()));
        self.note(&from, &to, whole);
    }

    /// What changes between a workload and everything outside. Blocks with the same change are joined.
    fn outside(&mut self, way: Way, workload: &Workload, blocks: &[(IpNet, Place, Place)]) {
        let mut nets: BTreeMap<[PortSet; 2], Vec<IpNet>> = BTreeMap::new();
        for (net, before, after) in blocks {
            let mut whole = Gap::default();
            for (kind, after_kind) in &workload.kinds {
                let gap = match way {
                    Way::Ingress => self.gap((*before, kind.place), (*after, *after_kind)),
                    Way::Egress => self.gap((kind.place, *before), (*after_kind, *after)),
                };
                whole.add(gap);
            }
            nets.entry([whole.allowed, whole.denied])
                .or_default()
                .push(*net);
        }
        for ([allowed, denied], nets) in nets {
            let gap = Gap {
                allowed,
                denied,
                ..Gap::default()
            };
            for net in IpNet::aggregate(&nets) {
                let (own, other) = (Party::Workload(workload.name.clone()), Party::Block(net));
                match way {
                    Way::Ingress => self.note(&other, &own, gap.clone()),
                    Way::Egress => self.note(&own, &other, gap.clone()),
                }
            }
        }
    }

    /// What changes between a client and a server.
    fn gap(&mut self, before: (Place, Place), after: (Place, Place)) -> &Gap {
        let key = [
            self.before.sets(before.0, before.1),
            self.after.sets(after.0, after.1),
        ];
        let (old, new) = (self.before, self.after);
        self.known.entry(key).or_insert_with(|| {
            let both = [
                old.allowed(before.0, before.1),
                new.allowed(after.0, after.1),
            ];
            let allowed = both[1].difference(&both[0]);
            let denied = both[0].difference(&both[1]);
            let latent = Way::ALL.map(|way| {
                let first = old.ports(way, before.0, before.1);
                let second = new.ports(way, after.0, after.1);
                let gained = second.difference(first).difference(&allowed);
                [gained, first.difference(second).difference(&denied)]
            });
            Gap {
                allowed,
                denied,
                latent,
            }
        })
    }

    fn note(&mut self, from: &Party, to: &Party, gap: Gap) {
        let change = |ports: PortSet| {
            let some = !ports.is_empty();
            some.then(|| Change {
                from: from.clone(),
                to: to.clone(),
                ports,
            })
        };
        self.found.allowed.extend(change(gap.allowed));
        self.found.denied.extend(change(gap.denied));
        for (way, [gained, lost]) in Way::ALL.into_iter().zip(gap.latent) {
            for (allows, ports) in [(true, gained), (false, lost)] {
                let latent = change(ports).map(|change| Latent {
                    way,
                    allows,
                    change,
                });
                self.found.latent.extend(latent);
            }
        }
    }

    fn finish(mut self) -> Difference {
        self.found.allowed.sort();
        self.found.denied.sort();
        let key = |latent: &Latent| (latent.change.clone(), latent.way, latent.allows);
        self.found.latent.sort_by_cached_key(key);
        self.found
    }
}

impl Gap {
    fn add(&mut self, other: &Self) {
        let mine = [&mut self.allowed, &mut self.denied].into_iter();
        let mine = mine.chain(self.latent.iter_mut().flatten());
        let theirs = [&other.allowed, &other.denied].into_iter();
        let theirs = theirs.chain(other.latent.iter().flatten());
        for (own, other) in mine.zip(theirs).filter(|(_, other)| !other.is_empty()) {
            *own = own.union(other);
        }
    }
}

#[cfg(test)]
mod tests;
