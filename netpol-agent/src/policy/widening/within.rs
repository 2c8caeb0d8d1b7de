//! What of the cluster lies inside blocks of addresses: unless a network plugin says otherwise, a block matches pods by
//! their addresses too.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use netpol_common::names::{ObjectName, WorkloadName};

use crate::policy::text::list;

/// How many things of a kind are named.
const FEW: usize = 4;

/// What of the cluster lies inside blocks.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Within {
    /// Ranges of pods and services, of which at least a part lies inside; those that hold nodes too only where the blocks
    /// are not meant for nodes.
    pub ranges: Few<IpNet>,
    /// Workloads of which a pod has an address there.
    pub workloads: Few<WorkloadName>,
    /// Nodes, unless the blocks are meant for nodes.
    pub nodes: Few<String>,
    /// Services that have their own address there.
    pub services: Few<ObjectName>,
    /// Whether the API server has an address there that is no node's.
    pub api_server: bool,
}

/// Some of several things, and how many more there are.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Few<T> {
    /// The first of them.
    pub first: BTreeSet<T>,
    /// How many there are besides.
    pub more: usize,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            first: BTreeSet::new(),
            more: 0,
        }
    }
}

impl<T: Ord> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let all: BTreeSet<T> = all.into_iter().collect();
        let more = all.len().saturating_sub(FEW);
        let first = all.into_iter().take(FEW).collect();
        Self { first, more }
    }
}

impl<T: fmt::Display> Few<T> {
    /// What they are, and their names; nothing if there are none.
    fn in_words(&self, one: &str) -> Option<String> {
        let names = list(&self.first);
        match (self.first.len(), self.more) {
            (0, _) => None,
            (1, 0) => Some(format!("the {one} {names}")),
            (_, 0) => Some(format!("the {one}s {names}")),
            (_, more) => Some(format!("the {one}s {names} and {more} more")),
        }
    }
}

impl Within {
    /// Whether there is nothing.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            self.ranges.in_words("range"),
            self.workloads.in_words("workload"),
            self.nodes.in_words("node"),
            self.services.in_words("service"),
            self.api_server.then(|| "kube-apiserver".to_owned()),
        ];
        f.write_str(&list(all.into_iter().flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_named_and_the_others_counted() {
        let nodes = |all: u16| -> Few<String> { (0..all).map(|n| format!("n{n}")).collect() };
        let words = |all| nodes(all).in_words("node");
        assert_eq!(words(0), None);
        assert_eq!(words(1).unwrap(), "the node n0");
        assert_eq!(words(4).unwrap(), "the nodes n0, n1, n2, n3");
        assert_eq!(words(6).unwrap(), "the nodes n0, n1, n2, n3 and 2 more");
        assert!(Within::default().is_empty());
        let some = Within {
            nodes: nodes(1),
            api_server: true,
            ..Within::default()
        };
        assert_eq!(some.to_string(), "the node n0, kube-apiserver");
    }
}
