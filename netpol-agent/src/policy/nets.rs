//! Blocks of addresses without overlaps, in order, so that what lies in one is found without asking them all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Some blocks, as few as hold the same, by the first address of each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Nets(BTreeMap<IpAddr, IpNet>);

impl Nets {
    /// Whether an address lies in one of them.
    pub(super) fn hold(&self, address: IpAddr) -> bool {
        self.overlap(&IpNet::from(address))
    }

    /// Whether one of them has an address in common with a block.
    pub(super) fn overlap(&self, block: &IpNet) -> bool {
        // Of what does not overlap, the last to begin is the last to end; and IPv4 comes before IPv6.
        let last = self.0.range(..=block.broadcast()).next_back();
        last.is_some_and(|(_, last)| last.broadcast() >= block.network())
    }

    /// Those of which a block holds all.
    pub(super) fn inside(&self, block: &IpNet) -> impl Iterator<Item = &IpNet> {
        let from_start = self.0.range(block.network()..=block.broadcast());
        from_start
            .map(|(_, own)| own)
            .filter(|own| block.contains(*own))
    }

    /// Those that have an address in common with a block.
    pub(super) fn at<'a>(&'a self, block: &IpNet) -> impl Iterator<Item = &'a IpNet> + use<'a> {
        let around = self.0.range(..block.network()).next_back();
        let around = around.filter(|(_, own)| own.contains(block));
        let inside = self.0.range(block.network()..=block.broadcast());
        around.into_iter().chain(inside).map(|(_, own)| own)
    }
}

impl FromIterator<IpNet> for Nets {
    fn from_iter<T: IntoIterator<Item = IpNet>>(blocks: T) -> Self {
        let blocks: Vec<IpNet> = blocks.into_iter().map(|block| block.trunc()).collect();
        let blocks = IpNet::aggregate(&blocks).into_iter();
        Self(blocks.map(|block| (block.network(), block)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_asked_of_all_blocks_is_answered_by_those_near() {
        let all = [
            "10.0.0.0/25",
            "10.0.0.128/25",
            "10.0.2.0/23",
            "10.1.0.7/32",
            "255.255.255.255/32",
            "::/127",
            "2001:db8::/32",
        ];
        let nets: Nets = all.map(net).into_iter().collect();
        let asked = [
            "0.0.0.0/0",
            "9.255.255.255/32",
            "10.0.0.0/8",
            "10.0.0.0/22",
            "10.0.0.0/24",
            "10.0.0.64/26",
            "10.0.1.0/24",
            "10.0.2.9/32",
            "10.1.0.6/31",
            "10.1.0.6/32",
            "255.255.255.255/32",
            "::/0",
            "::1/128",
            "::2/128",
            "2001:db8:1::/48",
            "2001:db9::/32",
        ];
        let joined: Vec<IpNet> = IpNet::aggregate(&all.map(net).to_vec());
        assert_eq!(joined.len(), all.len() - 1);
        for block in asked.map(net) {
            let inside: Vec<&IpNet> = joined.iter().filter(|own| block.contains(*own)).collect();
            let at = |own: &&IpNet| block.contains(*own) || own.contains(&block);
            let at: Vec<&IpNet> = joined.iter().filter(at).collect();
            let mut found: Vec<&IpNet> = nets.inside(&block).collect();
            let mut found_at: Vec<&IpNet> = nets.at(&block).collect();
            found.sort();
            found_at.sort();
            assert_eq!((found, found_at), (inside, at.clone()), "{block}");
            assert_eq!(nets.overlap(&block), !at.is_empty(), "{block}");
            let is_held = joined.iter().any(|own| own.contains(&block.network()));
            assert_eq!(nets.hold(block.network()), is_held, "{block}");
        }
        assert!(!Nets::default().overlap(&net("0.0.0.0/0")));
    }
}
