//! Which blocks an address lies in: the address space, cut wherever a block begins or ends.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use k8s_openapi::api::networking::v1::IPBlock;

use super::intern::Interner;

/// A block of addresses as inclusive ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ranges {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

/// Both families' tables.
#[derive(Clone, Debug)]
pub(super) struct AddressTable {
    v4: Table,
    v6: Table,
    /// Sets of blocks, by number; each a sorted list of the blocks' numbers.
    pub(super) sets: Vec<Vec<u32>>,
    /// Whether any block is of IPv6.
    pub(super) holds_v6: bool,
}

/// Neighbouring ranges that cover a family; each starts where the one before ends.
#[derive(Clone, Debug)]
struct Table {
    starts: Vec<u128>,
    sets: Vec<u32>,
    /// The blocks that hold the whole family.
    unknown: u32,
    last: u128,
}

impl Ranges {
    /// What a block holds; nothing if it is not of the form of a CIDR.
    pub(super) fn of(block: &IPBlock) -> Self {
        let Ok(cidr) = block.cidr.parse::<IpNet>() else {
            return Self::default();
        };
        let except = block.except.iter().flatten();
        let except = except.filter_map(|cidr| cidr.parse::<IpNet>().ok());
        let except = except.filter(|inner| inner.addr().is_ipv4() == cidr.addr().is_ipv4());
        let mut holes: Vec<(u128, u128)> = except.map(bounds).collect();
        holes.sort_unstable();
        let ranges = without(bounds(cidr), &holes);
        match cidr {
            IpNet::V4(_) => Self {
                v4: ranges,
                ..Self::default()
            },
            IpNet::V6(_) => Self {
                v6: ranges,
                ..Self::default()
            },
        }
    }
}

impl AddressTable {
    /// The table of some blocks, each with its number.
    pub(super) fn new(blocks: &[(u32, Ranges)]) -> Self {
        let mut sets = Interner::new();
        let v4 = Table::new(blocks, |block| &block.v4, u128::from(u32::MAX), &mut sets);
        let v6 = Table::new(blocks, |block| &block.v6, u128::MAX, &mut sets);
        Self {
            v4,
            v6,
            sets: sets.into_values(),
            holds_v6: blocks.iter().any(|(_, ranges)| !ranges.v6.is_empty()),
        }
    }

    /// The number of the set of blocks that hold an address. Of the unspecified address, which stands for one that is
    /// not known, those that hold its whole family.
    pub(super) fn set(&self, address: IpAddr) -> u32 {
        let (table, number) = match address {
            IpAddr::V4(address) => (&self.v4, u128::from(address.to_bits())),
            IpAddr::V6(address) => (&self.v6, address.to_bits()),
        };
        if number == 0 {
            return table.unknown;
        }
        table.sets[table.starts.partition_point(|start| *start <= number) - 1]
    }

    /// The ranges of IPv4, and of IPv6 if that is wanted, in order, those that `class` says are alike joined; as
    /// prefixes.
    pub(super) fn prefixes(&self, six: bool, class: impl Fn(u32) -> u32) -> Vec<(IpNet, u32)> {
        let mut prefixes = Vec::new();
        for (first, last, class) in self.v4.joined(&class) {
            let [first, last] = [first, last]
                .map(|number| Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)));
            let nets = Ipv4Subnets::new(first, last, 0);
            prefixes.extend(nets.map(|net| (IpNet::V4(net), class)));
        }
        for (first, last, class) in self.v6.joined(&class).into_iter().filter(|_| six) {
            let [first, last] = [first, last].map(Ipv6Addr::from_bits);
            let nets = Ipv6Subnets::new(first, last, 0);
            prefixes.extend(nets.map(|net| (IpNet::V6(net), class)));
        }
        prefixes
    }
}

impl Table {
    fn new(
        blocks: &[(u32, Ranges)],
        of_family: impl Fn(&Ranges) -> &Vec<(u128, u128)>,
        last: u128,
        sets: &mut Interner<Vec<u32>>,
    ) -> Self {
        let whole = blocks
            .iter()
            .filter(|(_, ranges)| *of_family(ranges) == [(0, last)]);
        let unknown = sets.number(whole.map(|(number, _)| *number).collect());
        let mut turns: Vec<(u128, bool, u32)> = Vec::new();
        for (number, ranges) in blocks {
            for (first, end) in of_family(ranges) {
                turns.push((*first, true, *number));
                turns.extend(end.checked_add(1).map(|after| (after, false, *number)));
            }
        }
        turns.sort_unstable();
        let mut table = Self {
            starts: vec![0],
            sets: vec![sets.number(Vec::new())],
            unknown,
            last,
        };
        let mut within: BTreeSet<u32> = BTreeSet::new();
        for at in turns.chunk_by(|one, other| one.0 == other.0) {
            for (_, enters, number) in at {
                if *enters {
                    within.insert(*number);
                } else {
                    within.remove(number);
                }
            }
            let start = at[0].0;
            if start <= last {
                table.push(start, sets.number(within.iter().copied().collect()));
            }
        }
        table
    }

    fn push(&mut self, start: u128, set: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.sets.pop();
        }
        if self.sets.last() != Some(&set) {
            self.starts.push(start);
            self.sets.push(set);
        }
    }

    /// The ranges with their classes, neighbours of one class joined.
    fn joined(&self, class: impl Fn(u32) -> u32) -> Vec<(u128, u128, u32)> {
        let mut joined: Vec<(u128, u128, u32)> = Vec::new();
        for (at, (start, set)) in self.starts.iter().zip(&self.sets).enumerate() {
            let end = self.starts.get(at + 1).map_or(self.last, |next| next - 1);
            let class = class(*set);
            match joined.last_mut() {
                Some((_, last, before)) if *before == class => *last = end,
                _ => joined.push((*start, end, class)),
            }
        }
        joined
    }
}

/// The first and last address of a block as numbers.
fn bounds(net: IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(net) => (
            u128::from(net.network().to_bits()),
            u128::from(net.broadcast().to_bits()),
        ),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
    }
}

/// A range less holes, which are sorted and may overlap.
fn without((first, last): (u128, u128), holes: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut left = Vec::new();
    let mut next = Some(first);
    for (start, end) in holes
        .iter()
        .filter(|(start, end)| *start <= last && *end >= first)
    {
        if let Some(next) = next.filter(|next| next < start) {
            left.push((next, start - 1));
        }
        next = next.and_then(|next| end.checked_add(1).map(|after| after.max(next)));
    }
    left.extend(next.filter(|next| *next <= last).map(|next| (next, last)));
    left
}
