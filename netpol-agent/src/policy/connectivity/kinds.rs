//! The pods of a workload, those that policies treat alike taken together.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::evaluate::{Compiled, Place, PodId};

/// Pods that policies treat alike at addresses of one family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Kind {
    /// Their place, but for the pod and its node.
    pub(crate) place: Place,
    /// Whether the addresses are of IPv4.
    v4: bool,
    /// The numbers of the nodes that they are on; `None` of a pod that is on none yet.
    nodes: BTreeSet<Option<u32>>,
    /// Whether policies see only their nodes.
    as_node: bool,
}

impl Kind {
    /// The kinds that pods are of.
    pub(crate) fn of(compiled: &Compiled, pods: impl Iterator<Item = PodId>) -> Vec<Self> {
        Self::of_both(compiled, compiled, pods)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect()
    }

    /// The kinds that pods are of under two sets of policies at once, which are compiled over one world.
    pub(crate) fn of_both(
        one: &Compiled,
        other: &Compiled,
        pods: impl Iterator<Item = PodId>,
    ) -> Vec<(Self, Place)> {
        let mut kinds: BTreeMap<(bool, bool, Place, Place), BTreeSet<Option<u32>>> =
            BTreeMap::new();
        for pod in pods {
            for ((address, place), (_, second)) in one.places(pod).iter().zip(other.places(pod)) {
                let key = (
                    address.is_ipv4(),
                    place.is_node(),
                    place.kind(),
                    second.kind(),
                );
                kinds.entry(key).or_default().insert(place.on_node());
            }
        }
        let kind = |((v4, as_node, place, second), nodes)| {
            let kind = Self {
                place,
                v4,
                nodes,
                as_node,
            };
            (kind, second)
        };
        kinds.into_iter().map(kind).collect()
    }

    /// Whether both have addresses of one family.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.v4 == other.v4
    }

    /// Whether a connection to a server can be between a pod and its own node and is one that no policy denies.
    pub(crate) fn may_be_exempt(&self, server: &Self, compiled: &Compiled) -> bool {
        let both_ways = compiled.own_node_both_ways();
        self.is_on_a_node_of(server) || (both_ways && server.is_on_a_node_of(self))
    }

    /// Whether every connection to a server is such a one.
    pub(crate) fn is_exempt(&self, server: &Self, compiled: &Compiled) -> bool {
        let one_node = self.nodes.len() == 1 && self.nodes == server.nodes;
        one_node && self.may_be_exempt(server, compiled)
    }

    /// Whether these are nodes on some of which others are.
    fn is_on_a_node_of(&self, others: &Self) -> bool {
        let mut nodes = self.nodes.intersection(&others.nodes);
        self.as_node && nodes.any(Option::is_some)
    }
}
