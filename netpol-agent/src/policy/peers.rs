//! Peers of a rule: from workloads and addresses to the fewest entries that match exactly these.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netpol_common::names::WorkloadName;

use super::model::{PolicyPeer, Selector};

/// The smallest things that a peer of a policy can be taken apart into.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Atom {
    /// The pods of one workload.
    Pods(WorkloadName),
    /// One address.
    Address(IpAddr),
}

/// Pods by namespace and labels. Each field, and each key, is one dimension of a box.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Pods {
    namespaces: BTreeSet<String>,
    pods: Selector,
}

/// The entries that match exactly these workloads and addresses, for a policy in `namespace`.
pub(super) fn entries(
    namespace: &str,
    workloads: impl IntoIterator<Item = (String, Selector)>,
    addresses: &BTreeSet<IpAddr>,
) -> Vec<PolicyPeer> {
    let boxes: BTreeSet<Pods> = workloads
        .into_iter()
        .map(|(namespace, pods)| Pods {
            namespaces: [namespace].into(),
            pods,
        })
        .collect();
    let pods = merge(boxes).into_iter().map(|Pods { namespaces, pods }| {
        let own = namespaces.len() == 1 && namespaces.contains(namespace);
        PolicyPeer::Pods {
            namespaces: (!own).then_some(namespaces),
            pods,
        }
    });
    let mut entries: Vec<PolicyPeer> = pods
        .chain(blocks(addresses).into_iter().map(PolicyPeer::Block))
        .collect();
    entries.sort();
    entries
}

/// The fewest prefixes that hold exactly these addresses.
pub(super) fn blocks(addresses: &BTreeSet<IpAddr>) -> Vec<IpNet> {
    IpNet::aggregate(&addresses.iter().copied().map(IpNet::from).collect())
}

/// Joins boxes that differ in one dimension only, as long as there are such: their union is a box again, so that
/// nothing more is matched.
fn merge(mut boxes: BTreeSet<Pods>) -> BTreeSet<Pods> {
    loop {
        let before = boxes.len();
        let keys: BTreeSet<String> = boxes
            .iter()
            .flat_map(|pods| pods.pods.0.keys().cloned())
            .collect();
        for key in &keys {
            boxes = merge_along(boxes, |pods| pods.pods.0.get_mut(key));
        }
        boxes = merge_along(boxes, |pods| Some(&mut pods.namespaces));
        if boxes.len() == before {
            return boxes;
        }
    }
}

/// Joins boxes that are equal but for the dimension that `values` gives; boxes without it stay.
fn merge_along(
    boxes: BTreeSet<Pods>,
    values: impl Fn(&mut Pods) -> Option<&mut BTreeSet<String>>,
) -> BTreeSet<Pods> {
    let mut merged: BTreeMap<(bool, Pods), BTreeSet<String>> = BTreeMap::new();
    for mut pods in boxes {
        let taken = values(&mut pods).map(std::mem::take);
        merged
            .entry((taken.is_some(), pods))
            .or_default()
            .extend(taken.into_iter().flatten());
    }
    merged
        .into_iter()
        .map(|((_, mut pods), joined)| {
            if let Some(values) = values(&mut pods) {
                *values = joined;
            }
            pods
        })
        .collect()
}
