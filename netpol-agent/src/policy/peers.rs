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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selector(labels: &[(&str, &str)]) -> Selector {
        labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn pods(of: &[(&str, &[(&str, &str)])]) -> Vec<PolicyPeer> {
        let workloads = of
            .iter()
            .map(|(namespace, labels)| ((*namespace).to_owned(), selector(labels)));
        entries("own", workloads, &BTreeSet::new())
    }

    #[test]
    fn values_of_one_key_are_joined() {
        let joined = pods(&[("own", &[("app", "a")]), ("own", &[("app", "b")])]);
        let values = ["a", "b"].map(str::to_owned).into();
        let expected = Selector([("app".to_owned(), values)].into());
        assert_eq!(
            joined,
            [PolicyPeer::Pods {
                namespaces: None,
                pods: expected
            }]
        );
    }

    #[test]
    fn a_cross_product_is_joined_only_if_all_of_it_is_meant() {
        let three = [("x", "a"), ("x", "b"), ("y", "a")].map(|(one, two)| [("p", one), ("q", two)]);
        let mut all: Vec<(&str, &[(&str, &str)])> =
            three.iter().map(|labels| ("n", &labels[..])).collect();
        assert_eq!(pods(&all).len(), 2);
        let fourth = [("p", "y"), ("q", "b")];
        all.push(("n", &fourth));
        assert_eq!(pods(&all).len(), 1);
    }

    #[test]
    fn other_keys_or_namespaces_with_other_labels_are_not_joined() {
        assert_eq!(
            pods(&[("own", &[("app", "a")]), ("own", &[("name", "b")])]).len(),
            2
        );
        assert_eq!(
            pods(&[
                ("own", &[("app", "a")]),
                ("own", &[("app", "b"), ("tier", "x")])
            ])
            .len(),
            2
        );
        assert_eq!(
            pods(&[("m", &[("app", "a")]), ("n", &[("app", "b")])]).len(),
            2
        );
        assert_eq!(
            pods(&[("m", &[("app", "a")]), ("n", &[("app", "a")])]).len(),
            1
        );
    }

    #[test]
    fn blocks_are_joined_up_to_the_ends_of_the_ranges() {
        let written = |addresses: &[&str]| {
            let addresses = addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
            blocks(&addresses)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            written(&["10.0.0.1", "10.0.0.2"]),
            ["10.0.0.1/32", "10.0.0.2/32"]
        );
        assert_eq!(written(&["10.0.0.2", "10.0.0.3"]), ["10.0.0.2/31"]);
        assert_eq!(
            written(&["255.255.255.254", "255.255.255.255", "0.0.0.0"]),
            ["0.0.0.0/32", "255.255.255.254/31"]
        );
        assert_eq!(
            written(&["ffff::ffff", "ffff::fffe", "::"]),
            ["::/128", "ffff::fffe/127"]
        );
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(
            written(&[last, "10.0.0.1"]),
            ["10.0.0.1/32".to_owned(), format!("{last}/128")]
        );
    }

    proptest! {
        #[test]
        fn blocks_hold_exactly_the_addresses(last in prop::collection::btree_set(any::<u8>(), 0..40)) {
            let addresses: BTreeSet<IpAddr> = last.iter().map(|last| [10, 0, 0, *last].into()).collect();
            let blocks = blocks(&addresses);
            let held: Vec<IpAddr> = blocks.iter().flat_map(|block| {
                let IpNet::V4(block) = block else { panic!("{block} is not IPv4") };
                let network = u32::from(block.network());
                (network..=u32::from(block.broadcast())).map(|address| IpAddr::V4(address.into()))
            }).collect();
            prop_assert_eq!(held, addresses.into_iter().collect::<Vec<_>>());
            for pair in blocks.windows(2) {
                prop_assert!(pair[0].supernet() != pair[1].supernet() || pair[0].prefix_len() != pair[1].prefix_len());
            }
        }
    }
}
