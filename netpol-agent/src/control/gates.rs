//! What stands against enforcing a proposal.

use std::collections::BTreeSet;
use std::fmt;

use netpol_common::names::{ObjectName, WorkloadName};

use super::facts::{Facts, Settings};
use crate::graph::FlowGraph;
use crate::identity::Peer;
use crate::policy::Cluster;

/// The namespace of what a cluster cannot do without.
const SYSTEM: &str = "kube-system";

/// Something that stands against putting a proposal into force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Against {
    /// Not enough is known: what is missing.
    Incomplete(Vec<String>),
    /// More external addresses are to be expected.
    NeedsWidening,
    /// The cluster depends on it, and it is not known that what it needs was seen.
    Protected(Protected),
    /// No selector matches it, or one of its peers, and no other.
    Unselectable,
    /// An object cannot hold it.
    TooLarge,
    /// A NetworkPolicy of its name is somebody else's.
    NameConflict,
    /// It was rolled back, and nobody has said that it may be applied again.
    RolledBack,
    /// A person takes it off.
    TakenOff,
    /// The namespace is paused.
    Paused,
    /// What people wrote cannot be read.
    Unreadable,
}

/// Why the cluster depends on a workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protected {
    /// It is in `kube-system`.
    System,
    /// It is of netpol itself.
    Own,
    /// The API server calls it, as a webhook or an aggregated API, but was not seen to.
    Called,
}

impl Against {
    /// Whether the annotation `netpol.io/force` overrides it.
    #[must_use]
    pub fn yields_to_force(&self) -> bool {
        match self {
            Self::Incomplete(_) | Self::NeedsWidening | Self::Protected(_) => true,
            Self::Unselectable
            | Self::TooLarge
            | Self::NameConflict
            | Self::RolledBack
            | Self::TakenOff
            | Self::Paused
            | Self::Unreadable => false,
        }
    }

    /// The reason in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Incomplete(_) => "Incomplete",
            Self::NeedsWidening => "NeedsWidening",
            Self::Protected(_) => "Protected",
            Self::Unselectable => "Unselectable",
            Self::TooLarge => "TooLarge",
            Self::NameConflict => "NameConflict",
            Self::RolledBack => "RolledBack",
            Self::TakenOff => "TakenOff",
            Self::Paused => "Paused",
            Self::Unreadable => "Unreadable",
        }
    }
}

impl Protected {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::System, Self::Own, Self::Called];
}

/// Whether the annotation `netpol.io/force` overrides what [`Against::word`] calls by that word.
#[must_use]
pub fn yields_to_force(word: &str) -> bool {
    ["Incomplete", "NeedsWidening", "Protected"].contains(&word)
}

/// What still stands against it once `netpol.io/force` has been looked at. What that never overrides comes first: so the
/// word for the first tells whether forcing would help.
#[must_use]
pub(super) fn standing(mut against: Vec<Against>, force: bool) -> Vec<Against> {
    against.retain(|one| !(force && one.yields_to_force()));
    against.sort_by_key(Against::yields_to_force);
    against
}

/// Why the cluster depends on a workload, if it does and nothing vouches for what it needs.
#[must_use]
pub(super) fn protected(
    name: &WorkloadName,
    settings: &Settings,
    called: &BTreeSet<WorkloadName>,
    seen: &BTreeSet<WorkloadName>,
) -> Option<Protected> {
    if name.namespace == SYSTEM {
        return Some(Protected::System);
    }
    if name.namespace == settings.own_namespace {
        return Some(Protected::Own);
    }
    (called.contains(name) && !seen.contains(name)).then_some(Protected::Called)
}

/// The workloads behind services that the API server calls.
#[must_use]
pub(super) fn called(facts: &Facts<'_>, cluster: &Cluster) -> BTreeSet<WorkloadName> {
    let behind = |service: &ObjectName| {
        let selector = facts.index.service(service).map(|known| &known.selector);
        let selector = selector.filter(|selector| !selector.is_empty());
        let of = cluster.workloads.iter().filter(move |(name, workload)| {
            let matches = |labels: &crate::identity::objects::Labels| {
                let mut wanted = selector.into_iter().flatten();
                wanted.all(|(key, value)| labels.get(key) == Some(value))
            };
            selector.is_some()
                && name.namespace == service.namespace
                && workload.label_sets.iter().any(matches)
        });
        of.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    facts.called.iter().flat_map(behind).collect()
}

/// The workloads that the API server was seen to call: it, or the node of one of its addresses, was their client.
#[must_use]
pub(super) fn seen_called(graph: &FlowGraph, cluster: &Cluster) -> BTreeSet<WorkloadName> {
    let is_server = |peer: &Peer| match peer {
        Peer::ApiServer => true,
        Peer::Node(name) => {
            let addresses = cluster.nodes.get(name).into_iter().flatten();
            addresses
                .into_iter()
                .any(|address| cluster.api_server.contains(address))
        }
        Peer::External(address) => cluster.api_server.contains(address),
        Peer::Workload(_) => false,
    };
    let answered = |view: &Option<crate::graph::ViewEvidence>| {
        view.as_ref()
            .is_some_and(|view| view.counts.established > 0)
    };
    let calls = graph.edges.iter().filter(|(edge, evidence)| {
        is_server(&edge.client) && (answered(&evidence.server) || answered(&evidence.client))
    });
    calls
        .filter_map(|(edge, _)| match &edge.server {
            Peer::Workload(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete(missing) => write!(f, "it is not complete ({})", missing.join("; ")),
            Self::NeedsWidening => f.write_str(
                "it has more external addresses than are written one by one: choose how they are written",
            ),
            Self::Protected(Protected::System) => {
                f.write_str("it is in kube-system, which the cluster depends on")
            }
            Self::Protected(Protected::Own) => f.write_str("it is a part of netpol"),
            Self::Protected(Protected::Called) => f.write_str(
                "the API server calls it as a webhook or an aggregated API, but was not seen to",
            ),
            Self::Unselectable => f.write_str("no selector matches it, or one of its peers, and no other"),
            Self::TooLarge => f.write_str("an object cannot hold it"),
            Self::NameConflict => {
                f.write_str("a NetworkPolicy of its name is not ours: rename or delete that one")
            }
            Self::RolledBack => f.write_str(
                "it was rolled back: write status.rollback.id into spec.acknowledgedRollback to apply it again",
            ),
            Self::TakenOff => f.write_str("spec.rollBack takes it off"),
            Self::Paused => f.write_str("the namespace's annotation netpol.io/pause holds it"),
            Self::Unreadable => f.write_str("what spec or an annotation says cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn force_overrides_incompleteness_and_what_depends_on_it_only() {
        let yielding = [
            Against::Incomplete(Vec::new()),
            Against::NeedsWidening,
            Against::Protected(Protected::Called),
        ];
        let never = [
            Against::Unselectable,
            Against::TooLarge,
            Against::NameConflict,
            Against::RolledBack,
            Against::TakenOff,
            Against::Paused,
            Against::Unreadable,
        ];
        let all: Vec<Against> = yielding.iter().chain(&never).cloned().collect();
        let never_first: Vec<Against> = never.iter().chain(&yielding).cloned().collect();
        assert_eq!(standing(all.clone(), false), never_first);
        assert_eq!(standing(all, true), never);
        for one in never_first {
            assert_eq!(yields_to_force(one.word()), one.yields_to_force(), "{one}");
        }
    }
}
