//! Blocks of two sets of policies, cut alike.

use ipnet::IpNet;

use crate::policy::evaluate::{Block, Place};

/// The coarsest blocks that lie in one block of each list, with their places in both. Each list covers the same
/// families, in order and without overlap; since blocks are prefixes, of two that meet one lies in the other.
pub(in crate::policy) fn common(one: &[Block], other: &[Block]) -> Vec<(IpNet, Place, Place)> {
    let mut common = Vec::with_capacity(one.len().max(other.len()));
    let (mut first, mut second) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let smaller = if a.net.prefix_len() >= b.net.prefix_len() {
            a.net
        } else {
            b.net
        };
        common.push((smaller, a.place, b.place));
        let ends = |block: &Block| block.net.broadcast() == smaller.broadcast();
        let (a_ends, b_ends) = (ends(a), ends(b));
        first.next_if(|_| a_ends);
        second.next_if(|_| b_ends);
    }
    common
}
