//! Peers of rules as points: a workload is the point of its namespace and label values among all workloads that are
//! selected by the same keys, and one entry stands for a box of such points. Addresses are blocks.
//!
//! Every point of an entry's box is meant: an entry never selects a combination of labels that is nobody's, though
//! nobody may have it yet.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use ipnet::IpNet;

use super::atlas::{Atlas, Spot};
use super::boxes::{Point, Space};
use super::cover::Set;
use super::model::PolicyPeer;

/// The smallest things that a peer of a policy can be taken apart into.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Atom {
    /// The pods of one workload, by its place among all that are known.
    Pods(usize),
    /// One address.
    Address(IpAddr),
}

/// Atoms with the same ports that stand together in every list of peers that is as short as possible.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unit {
    /// Which set of ports they have.
    pub(super) class: usize,
    /// What they are.
    pub(super) what: What,
}

/// What a unit is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// A product of values, in a space.
    Point(usize, Point),
    /// All addresses of a block.
    Block(IpNet),
}

/// The units of a relation.
#[derive(Debug, Default)]
pub(super) struct Units<'a> {
    pub(super) units: Vec<Unit>,
    pub(super) spaces: Vec<Space<'a>>,
    /// The number of each atom's unit.
    pub(super) of_atom: Vec<usize>,
}

/// An atom with the number of its class and, for pods, where they lie.
pub(super) type Placed<'a> = (&'a Atom, usize, Option<&'a Spot>);

impl<'a> Units<'a> {
    /// The units of atoms.
    pub(super) fn of(atlas: &'a Atlas, atoms: &[Placed<'a>]) -> Self {
        let mut units = Self {
            of_atom: vec![usize::MAX; atoms.len()],
            ..Self::default()
        };
        let mut by_keys: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let mut addresses: BTreeMap<usize, Vec<(IpAddr, usize)>> = BTreeMap::new();
        for (number, (atom, class, spot)) in atoms.iter().enumerate() {
            match (atom, spot) {
                (Atom::Address(address), _) => {
                    let alike = addresses.entry(*class).or_default();
                    alike.push((*address, number));
                }
                (Atom::Pods(_), Some(spot)) => {
                    by_keys.entry(spot.keys).or_default().push(number);
                }
                (Atom::Pods(_), None) => {}
            }
        }
        for (keys, members) in by_keys {
            units.add_space((atlas, keys), &members, atoms);
        }
        for (class, alike) in addresses {
            units.add_blocks(class, alike);
        }
        units
    }

    fn add_space(
        &mut self,
        (atlas, keys): (&'a Atlas, u32),
        members: &[usize],
        atoms: &[Placed<'a>],
    ) {
        let points = members.iter().filter_map(|member| {
            let (_, class, spot) = atoms[*member];
            spot.map(|spot| (spot, class))
        });
        let (space, points) = Space::of(atlas, keys, points);
        let mut numbers: HashMap<&Point, usize, FixedState> = HashMap::default();
        for (member, point) in members.iter().zip(&points) {
            let unit = *numbers.entry(point).or_insert_with(|| {
                self.units.push(Unit {
                    class: atoms[*member].1,
                    what: What::Point(self.spaces.len(), point.clone()),
                });
                self.units.len() - 1
            });
            self.of_atom[*member] = unit;
        }
        self.spaces.push(space);
    }

    fn add_blocks(&mut self, class: usize, alike: Vec<(IpAddr, usize)>) {
        let first = self.units.len();
        let blocks = IpNet::aggregate(
            &alike
                .iter()
                .map(|(address, _)| IpNet::from(*address))
                .collect(),
        );
        for (address, number) in alike {
            let place = blocks.iter().position(|block| block.contains(&address));
            self.of_atom[number] = first + place.unwrap_or_default();
        }
        self.units.extend(blocks.into_iter().map(|block| Unit {
            class,
            what: What::Block(block),
        }));
    }

    /// The entry that stands for these units and no other, for a policy in `namespace`.
    pub(super) fn entry(
        &self,
        namespace: &str,
        units: impl Iterator<Item = usize>,
    ) -> Option<PolicyPeer> {
        let mut points: Vec<&[u32]> = Vec::new();
        let mut blocks: Vec<IpNet> = Vec::new();
        let mut space = None;
        for unit in units {
            match &self.units[unit].what {
                What::Point(number, point) => {
                    space = Some(&self.spaces[*number]);
                    points.push(point);
                }
                What::Block(block) => blocks.push(*block),
            }
        }
        match space {
            Some(space) => Some(space.entry(namespace, &points)),
            None => common_block(&blocks).map(PolicyPeer::Block),
        }
    }
}

/// The smallest block that holds all of some.
pub(super) fn common_block(blocks: &[IpNet]) -> Option<IpNet> {
    let (first, others) = blocks.split_first()?;
    let mut common = *first;
    while !others.iter().all(|block| common.contains(block)) {
        common = common.supernet()?;
    }
    Some(common)
}

/// The fewest blocks that hold exactly what some hold, as the numbers of those in each.
pub(super) fn aggregated(blocks: &[(usize, IpNet)]) -> Vec<Set> {
    let joined = IpNet::aggregate(&blocks.iter().map(|(_, block)| *block).collect());
    let within = |whole: &IpNet| -> Set {
        let inside = blocks.iter().filter(|(_, block)| whole.contains(block));
        inside.map(|(number, _)| *number).collect()
    };
    joined.iter().map(within).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_are_joined_up_to_the_ends_of_the_ranges() {
        let written = |addresses: &[&str]| {
            let blocks: Vec<(usize, IpNet)> = addresses
                .iter()
                .map(|address| IpNet::from(address.parse::<IpAddr>().unwrap()))
                .enumerate()
                .collect();
            let joined = aggregated(&blocks);
            let block = |set: &Set| {
                let blocks: Vec<IpNet> = set.iter().map(|number| blocks[number].1).collect();
                common_block(&blocks).unwrap().to_string()
            };
            joined.iter().map(block).collect::<Vec<_>>()
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

    #[test]
    fn blocks_of_two_families_have_nothing_in_common() {
        assert_eq!(common_block(&[net("10.0.0.1/32"), net("::1/128")]), None);
        assert_eq!(common_block(&[]), None);
    }
}
