//! The best blocks around addresses: for each number of blocks, the least that must be taken in beyond the addresses.
//!
//! Every block worth having is the smallest one around some run of the sorted addresses, so these form a binary tree:
//! a node is a block, its two halves are its children. What is least for a node with `k` blocks is either the block
//! itself or the best split of `k` between its children (dynamic programming over the tree, as for a knapsack), which
//! takes time proportional to the number of addresses times the number of blocks.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What is beyond the addresses: none, where no blocks do it.
type Cost = Option<u128>;

/// The best blocks around the addresses of one family, by how many there may be.
pub(super) struct Frontier {
    root: Node,
}

struct Node {
    block: IpNet,
    /// How many addresses the block holds beyond those meant, if it may be used.
    own: Cost,
    halves: Option<Box<(Node, Node)>>,
    /// The least beyond, with at most one, two, … blocks.
    least: Vec<Cost>,
}

impl Frontier {
    /// The best up to `most` blocks around addresses of one family, of blocks that are `allowed`; an address alone
    /// always is. `None` if there are no addresses.
    pub(super) fn new(
        addresses: &BTreeSet<IpAddr>,
        most: usize,
        allowed: &dyn Fn(&IpNet) -> bool,
    ) -> Option<Self> {
        let sorted: Vec<IpAddr> = addresses.iter().copied().collect();
        let root = Node::new(&sorted, most, allowed)?;
        Some(Self { root })
    }

    /// At most `blocks` blocks, if any do it, that take in the least; of those, the fewest.
    pub(super) fn least(&self, blocks: usize) -> Option<(Vec<IpNet>, u128)> {
        let last = blocks.min(self.root.least.len());
        let beyond = self.root.cost(last)?;
        Some((self.blocks(beyond), beyond))
    }

    /// The fewest blocks that take in no more than `most` addresses, of IPv6 networks of 64 bits.
    pub(super) fn fewest(&self, most: u64) -> Option<Vec<IpNet>> {
        let within = |cost: &&u128| units(self.root.block, **cost) <= u128::from(most);
        let costs = self.root.least.iter().flatten();
        let beyond = costs.clone().find(within)?;
        Some(self.blocks(*beyond))
    }

    fn blocks(&self, beyond: u128) -> Vec<IpNet> {
        let mut found = Vec::new();
        let number = self
            .root
            .least
            .iter()
            .position(|cost| *cost == Some(beyond));
        self.root
            .pick(number.map_or(0, |number| number + 1), &mut found);
        found
    }
}

/// An amount of addresses as the budget counts it.
pub(super) fn units(family: IpNet, addresses: u128) -> u128 {
    match family {
        IpNet::V4(_) => addresses,
        IpNet::V6(_) => addresses >> 64,
    }
}

impl Node {
    fn new(sorted: &[IpAddr], most: usize, allowed: &dyn Fn(&IpNet) -> bool) -> Option<Self> {
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let block = around(first, last);
        let size = 1u128
            .checked_shl(u32::from(block.max_prefix_len() - block.prefix_len()))
            .unwrap_or(u128::MAX);
        let usable = sorted.len() == 1 || allowed(&block);
        let own = usable.then(|| size.saturating_sub(sorted.len() as u128));
        let middle = sorted.partition_point(|address| bit(*address, block.prefix_len()) == 0);
        let halves = match sorted.len() {
            1 => None,
            _ => Some(Box::new((
                Self::new(&sorted[..middle], most, allowed)?,
                Self::new(&sorted[middle..], most, allowed)?,
            ))),
        };
        let mut node = Self {
            block,
            own,
            halves,
            least: Vec::new(),
        };
        node.least = (1..=most.min(sorted.len()))
            .map(|number| node.best(number))
            .collect();
        Some(node)
    }

    /// The least beyond with at most `number` blocks.
    fn best(&self, number: usize) -> Cost {
        let split = (1..number).filter_map(|left| self.split(left, number));
        split.chain(self.own).min()
    }

    /// The least beyond with at most `left` of `number` blocks in the first half.
    fn split(&self, left: usize, number: usize) -> Cost {
        let (first, second) = &**self.halves.as_ref()?;
        let (one, other) = (first.cost(left)?, second.cost(number - left)?);
        Some(one.saturating_add(other))
    }

    /// The least beyond with at most `number` blocks; more than there are addresses help nobody.
    fn cost(&self, number: usize) -> Cost {
        let last = number.min(self.least.len()).checked_sub(1)?;
        self.least[last]
    }

    /// The blocks that come to the least with at most `number` of them.
    fn pick(&self, number: usize, found: &mut Vec<IpNet>) {
        let least = self.cost(number);
        if least == self.own {
            found.push(self.block);
            return;
        }
        let left = (1..number).find(|left| self.split(*left, number) == least);
        if let (Some(left), Some(halves)) = (left, &self.halves) {
            halves.0.pick(left, found);
            halves.1.pick(number - left, found);
        }
    }
}

/// The smallest block around two addresses of one family.
fn around(first: IpAddr, last: IpAddr) -> IpNet {
    let shared = (bits(first) ^ bits(last)).leading_zeros();
    let length = u8::try_from(shared).unwrap_or(u8::MAX);
    let (address, length) = match first {
        IpAddr::V4(address) => (IpAddr::V4(address), length.min(32)),
        IpAddr::V6(address) => (IpAddr::V6(address), length.min(128)),
    };
    IpNet::new_assert(address, length).trunc()
}

/// The bit of an address behind a prefix of `length` bits.
fn bit(address: IpAddr, length: u8) -> u128 {
    (bits(address) << length.min(127)) >> 127
}

/// An address from the highest bit on.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(Ipv4Addr::to_bits(address)) << 96,
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}
