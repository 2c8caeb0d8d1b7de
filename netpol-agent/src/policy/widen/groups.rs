//! Named groups of blocks: an external address inside a group is written as the whole group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::within::within;
use super::{beyond, plain, specs, wide};
use crate::identity::Peer;
use crate::policy::learn::Learned;
use crate::policy::model::WrittenAs;
use crate::policy::options::Options;
use crate::policy::widening::Widening;
use crate::policy::writer::Writer;

/// Writes its group instead of each external address that lies in one.
pub(super) fn widen(
    writer: &Writer<'_>,
    options: &Options,
    learned: &mut [Learned],
) -> Vec<Widening> {
    let mut seen: BTreeMap<&str, (BTreeSet<IpAddr>, Vec<usize>)> = BTreeMap::new();
    for (number, one) in learned.iter_mut().enumerate() {
        let Some(address) = one.external() else {
            continue;
        };
        let Some(name) = group_of(options, address) else {
            continue;
        };
        let blocks = plain(options.cidr_groups[name].iter().copied());
        one.stand_in(wide(&blocks), Some(WrittenAs::Group(name.to_owned())));
        let (addresses, numbers) = seen.entry(name).or_default();
        addresses.insert(address);
        numbers.push(number);
    }
    let groups = seen.into_iter().map(|(name, (addresses, numbers))| {
        let blocks = plain(options.cidr_groups[name].iter().copied());
        Widening::Blocks {
            written_as: WrittenAs::Group(name.to_owned()),
            beyond: beyond(&blocks, &addresses),
            within: within(writer, options, &blocks, false),
            blocks,
            peers: addresses.into_iter().map(Peer::External).collect(),
            ports: specs(numbers.into_iter().map(|number| &learned[number])),
        }
    });
    groups.collect()
}

/// The group with the longest prefix around an address; of several, the first by name.
fn group_of(options: &Options, address: IpAddr) -> Option<&str> {
    let mut best: Option<(u8, &str)> = None;
    for (name, blocks) in &options.cidr_groups {
        for block in blocks.iter().filter(|block| block.contains(&address)) {
            if best.is_none_or(|(longest, _)| block.prefix_len() > longest) {
                best = Some((block.prefix_len(), name));
            }
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts_then_the_first_name() {
        let group = |name: &str, blocks: &[&str]| {
            let blocks = blocks.iter().map(|block| block.parse().expect("a block"));
            (name.to_owned(), blocks.collect())
        };
        let groups = [
            group("a", &["203.0.113.0/24", "198.51.100.0/24"]),
            group("b", &["203.0.113.0/25"]),
            group("c", &["203.0.113.0/25", "203.0.112.0/22"]),
        ];
        let options = Options {
            cidr_groups: groups.into(),
            ..Options::default()
        };
        let of = |address: &str| group_of(&options, address.parse().expect("an address"));
        assert_eq!(of("203.0.113.5"), Some("b"));
        assert_eq!(of("203.0.113.200"), Some("a"));
        assert_eq!(of("203.0.112.1"), Some("c"));
        assert_eq!(of("192.0.2.1"), None);
    }
}
