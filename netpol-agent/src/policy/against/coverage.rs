//! Whether policies that are there allow an edge at one of its ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netpol_common::names::WorkloadName;

use crate::identity::{EdgeId, Peer};
use crate::policy::Cluster;
use crate::policy::evaluate::{Compiled, Place, RuleId, Way, World};
use crate::policy::model::Direction;

/// Policies that are there, asked about edges.
pub(crate) struct Coverage<'a> {
    cluster: &'a Cluster,
    compiled: &'a Compiled,
    /// The kinds of pods of each workload, each with whether it is IPv4's.
    kinds: BTreeMap<WorkloadName, BTreeSet<Spot>>,
}

/// Whether it is IPv4's, and where.
type Spot = (bool, Place);

/// What the policies say of an edge at one of its ends.
pub(crate) struct Judged {
    /// Whether they isolate that end and allow the edge, whichever pods take part.
    pub(crate) covered: bool,
    /// The rules that allow it, for whichever pods.
    pub(crate) by: BTreeSet<RuleId>,
    /// Whether nothing denies it, whichever pods take part.
    pub(crate) allowed: bool,
}

impl<'a> Coverage<'a> {
    pub(crate) fn new(cluster: &'a Cluster, world: &World, compiled: &'a Compiled) -> Self {
        let mut kinds: BTreeMap<WorkloadName, BTreeSet<Spot>> = BTreeMap::new();
        for (id, member) in world.pods() {
            let places = compiled.places(id).iter();
            let spots = places.map(|(address, place)| (address.is_ipv4(), place.kind()));
            kinds
                .entry(member.workload.clone())
                .or_default()
                .extend(spots);
        }
        Self {
            cluster,
            compiled,
            kinds,
        }
    }

    /// Whether every pod of a workload is isolated in a direction.
    pub(crate) fn isolated(&self, workload: &WorkloadName, way: Way) -> bool {
        let spots = self.kinds.get(workload).into_iter().flatten();
        let mut spots = spots.peekable();
        spots.peek().is_some() && spots.all(|(_, place)| self.compiled.isolated(way, *place))
    }

    /// What the policies say of an edge at the end that `direction` is of.
    pub(crate) fn judge(
        &self,
        workload: &WorkloadName,
        direction: Direction,
        edge: &EdgeId,
    ) -> Judged {
        let other = match direction {
            Direction::Ingress => &edge.client,
            Direction::Egress => &edge.server,
        };
        let others = self.spots(other);
        let mut judged = Judged {
            covered: true,
            by: BTreeSet::new(),
            allowed: true,
        };
        let mut pairs = 0;
        for (v4, own) in self.kinds.get(workload).into_iter().flatten() {
            for (_, other) in others.iter().filter(|(other_v4, _)| other_v4 == v4) {
                pairs += 1;
                let (protocol, port) = (edge.protocol, edge.port);
                let side = match direction {
                    Direction::Ingress => {
                        self.compiled.verdict(*other, *own, protocol, port).ingress
                    }
                    Direction::Egress => self.compiled.verdict(*own, *other, protocol, port).egress,
                };
                judged.allowed &= side.allowed;
                judged.covered &= side.isolated && !side.by.is_empty();
                judged.by.extend(side.by);
            }
        }
        judged.covered &= pairs > 0;
        judged
    }

    /// Where a peer is; where its node is, for what uses its node's network.
    fn spots(&self, peer: &Peer) -> BTreeSet<Spot> {
        match peer {
            Peer::Workload(name) if self.cluster.is_pods(peer) => {
                self.kinds.get(name).cloned().unwrap_or_default()
            }
            _ => {
                let addresses = self.cluster.addresses(peer).into_iter();
                let spot =
                    |address: IpAddr| (address.is_ipv4(), self.compiled.outside(address).kind());
                addresses.map(spot).collect()
            }
        }
    }
}
