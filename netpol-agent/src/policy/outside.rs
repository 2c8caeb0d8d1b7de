//! What is outside the cluster: everything but the ranges of its pods, services and nodes, and but what is no
//! address of one host out there.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::cluster::Cluster;
use super::options::{Nodes, Options};
use super::widening::Block;

/// Never outside: "this" network and the unspecified address (RFC 1122), loopback, link-local (RFC 3927), multicast,
/// and what was reserved for ever with the broadcast address in it (RFC 1112).
const NEVER_V4: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Never outside: the unspecified address, loopback, link-local, multicast (RFC 4291). IPv4 in disguise is not among
/// them: the API server takes `::ffff:0:0/96` for IPv4, and rejects it as an exception of an IPv6 block.
const NEVER_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::UNSPECIFIED, 127),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// What is outside a cluster.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    /// What is not, without overlaps.
    inside: BTreeSet<IpNet>,
    /// For IPv4 and for IPv6: what stands in the way of knowing it.
    gaps: [Option<Gap>; 2],
}

/// Why it is not known what is outside.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Gap {
    /// No node tells the range of its pods, and none was given.
    NoPodRange,
    /// A pod has this address, which lies in no known range.
    Pod(IpAddr),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPodRange => f.write_str("no node tells the range of its pods"),
            Self::Pod(address) => write!(f, "the pod address {address} lies in no known range"),
        }
    }
}

impl Outside {
    /// What is outside by the inventory, and by the ranges that were given.
    pub(super) fn of(cluster: &Cluster, options: &Options) -> Self {
        let mut ranges: BTreeSet<IpNet> = cluster.pod_ranges.clone();
        ranges.extend(options.cluster_ranges.iter().map(IpNet::trunc));
        let gaps = [true, false].map(|v4| gap(cluster, &ranges, v4));
        if let Nodes::Given(blocks) = &options.nodes {
            ranges.extend(blocks.iter().map(IpNet::trunc));
        }
        let nodes = cluster.nodes.values().flatten();
        let services = cluster.services.iter();
        let services = services.flat_map(|service| &service.cluster_ips);
        let hosts = nodes.chain(services).chain(&cluster.api_server);
        ranges.extend(hosts.map(|address| IpNet::from(address.to_canonical())));
        ranges.extend(never());
        let inside = IpNet::aggregate(&ranges.into_iter().collect());
        Self {
            inside: inside.into_iter().collect(),
            gaps,
        }
    }

    /// Whether all of a block is outside.
    pub(super) fn holds_all(&self, block: &IpNet) -> bool {
        let apart = |own: &IpNet| !own.contains(block) && !block.contains(own);
        self.inside.iter().all(apart)
    }

    /// Everything outside, of the families of some addresses and as far as it is known.
    pub(super) fn blocks(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<Block> {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let used = |block: &IpNet| addresses.iter().any(|address| block.contains(address));
        let known = all
            .into_iter()
            .zip(self.gaps)
            .filter(|(_, gap)| gap.is_none());
        known
            .map(|(block, _)| block)
            .filter(used)
            .map(|block| Block {
                block,
                except: self
                    .inside
                    .iter()
                    .filter(|own| block.contains(*own))
                    .copied()
                    .collect(),
            })
            .collect()
    }

    /// Why it is not known what is outside, for the families of some addresses.
    pub(super) fn gaps(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<Gap> {
        let of = |(v4, gap): (bool, Option<Gap>)| {
            let used = addresses.iter().any(|address| address.is_ipv4() == v4);
            gap.filter(|_| used)
        };
        [true, false]
            .into_iter()
            .zip(self.gaps)
            .filter_map(of)
            .collect()
    }
}

/// What is no address of a host outside.
fn never() -> impl Iterator<Item = IpNet> {
    let v4 = NEVER_V4.into_iter();
    let v4 = v4.map(|(address, length)| IpNet::new_assert(IpAddr::V4(address), length));
    let v6 = NEVER_V6.into_iter();
    v4.chain(v6.map(|(address, length)| IpNet::new_assert(IpAddr::V6(address), length)))
}

/// What stands in the way of knowing the ranges of one family: pods come and go, so that their addresses alone tell
/// nothing of what others will have.
fn gap(cluster: &Cluster, ranges: &BTreeSet<IpNet>, v4: bool) -> Option<Gap> {
    let of_family = |address: &&IpAddr| address.is_ipv4() == v4;
    let known = |address: &&IpAddr| ranges.iter().any(|range| range.contains(*address));
    let mut pods = cluster.pod_addresses.iter().filter(of_family);
    if let Some(stray) = pods.find(|address| !known(address)) {
        return Some(Gap::Pod(*stray));
    }
    let has_range = ranges.iter().any(|range| range.addr().is_ipv4() == v4);
    let has_pods = cluster
        .pod_addresses
        .iter()
        .any(|address| address.is_ipv4() == v4);
    let may_have = has_pods || cluster.pod_addresses.is_empty();
    (may_have && !has_range).then_some(Gap::NoPodRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn cluster(ranges: &[&str], pods: &[&str]) -> Cluster {
        Cluster {
            pod_ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            pod_addresses: pods.iter().map(|pod| address(pod)).collect(),
            ..Cluster::default()
        }
    }

    fn outside(cluster: &Cluster) -> Outside {
        Outside::of(cluster, &Options::default())
    }

    #[test]
    fn what_is_outside_is_known_of_a_family_by_the_ranges_of_its_pods() {
        let (v4, v6) = (address("198.51.100.1"), address("2001:db8::1"));
        let gaps = |ranges: &[&str], pods: &[&str]| {
            let outside = outside(&cluster(ranges, pods));
            let of = |address| outside.gaps(&[address].into()).into_iter().next();
            for address in [v4, v6] {
                let known = outside.blocks(&[address].into());
                assert_eq!(known.is_empty(), of(address).is_some());
                assert!(known.iter().all(|block| block.contains(address)));
            }
            assert_eq!(outside.gaps(&BTreeSet::new()), BTreeSet::new());
            assert_eq!(outside.blocks(&BTreeSet::new()), BTreeSet::new());
            [of(v4), of(v6)]
        };
        let none = Some(Gap::NoPodRange);
        assert_eq!(gaps(&[], &[]), [none, none]);
        assert_eq!(gaps(&["10.0.0.0/8"], &[]), [None, none]);
        assert_eq!(gaps(&["fd00::/8"], &[]), [none, None]);
        assert_eq!(gaps(&["10.0.0.0/8"], &["10.1.1.1"]), [None, None]);
        assert_eq!(gaps(&["fd00::/8"], &["fd00::1"]), [None, None]);
        let stray = |pod| Some(Gap::Pod(address(pod)));
        assert_eq!(
            gaps(&["10.0.0.0/8"], &["10.1.1.1", "11.1.1.1"]),
            [stray("11.1.1.1"), None]
        );
        assert_eq!(
            gaps(&["10.0.0.0/8"], &["10.1.1.1", "fd00::1"]),
            [None, stray("fd00::1")]
        );
        assert_eq!(gaps(&[], &["fd00::1"]), [None, stray("fd00::1")]);
    }

    #[test]
    fn the_cluster_and_what_is_no_host_are_not_outside() {
        let mut cluster = cluster(&["10.0.0.0/8", "fd00::/8"], &[]);
        cluster.api_server = [address("192.0.2.3")].into();
        cluster.nodes = [("one".to_owned(), [address("192.0.2.1")].into())].into();
        let outside = outside(&cluster);
        let is_outside = |block: &str| outside.holds_all(&block.parse().unwrap());
        for block in ["11.0.0.0/8", "2001:db8::/32"] {
            assert!(is_outside(block), "{block}");
        }
        for block in [
            "10.1.0.0/16",
            "10.0.0.0/7",
            "192.0.2.0/30",
            "0.0.0.0/0",
            "::/0",
            "fd00::/9",
        ] {
            assert!(!is_outside(block), "{block}");
        }
        let whole = outside.blocks(&[address("8.8.8.8"), address("2001:db8::1")].into());
        let is_held = |one| whole.iter().any(|block| block.contains(one));
        for host in ["8.8.8.8", "192.0.2.0", "192.0.2.2", "2001:db8::1"].map(address) {
            assert!(
                is_outside(&IpNet::from(host).to_string()) && is_held(host),
                "{host}"
            );
        }
        let never = [
            "10.1.1.1",
            "192.0.2.1",
            "192.0.2.3",
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "fd00::1",
            "::1",
            "fe80::1",
            "ff02::1",
        ];
        for host in never.map(address) {
            assert!(
                !is_outside(&IpNet::from(host).to_string()) && !is_held(host),
                "{host}"
            );
        }
    }
}
