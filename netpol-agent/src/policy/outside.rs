//! What is outside the cluster: everything but the ranges of its pods, services and nodes, and but what is no
//! address of one host out there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netpol_common::names::ObjectName;

use super::cluster::Cluster;
use super::nets::Nets;
use super::options::{Nodes, Options, OptionsFor};
use super::widening::{Block, Within};

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
    /// What is not.
    inside: Nets,
    /// The ranges of pods and services: those that nodes tell, and those that were given and hold no node.
    ranges: Nets,
    /// The same, with every pod's and service's present address.
    no_nodes: Nets,
    /// The ranges that nodes tell and that were given, those that hold nodes too.
    known: Nets,
    /// What of the cluster lies inside blocks, as it was found before.
    within: Arc<Found>,
    /// For IPv4 and for IPv6: what stands in the way of knowing where pods may be.
    of_pods: [Option<Gap>; 2],
    /// For IPv4 and for IPv6: what stands in the way of knowing where nodes and services may be.
    of_others: [BTreeSet<Gap>; 2],
}

/// What is outside by each of several options, found out when it is first asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Outsides(Vec<(Given, OnceLock<Outside>)>);

/// Blocks, and whether they are meant for nodes.
type Asked = (BTreeSet<Block>, bool);

/// What of the cluster lies inside blocks, as it was found before: many workloads ask the same.
#[derive(Debug, Default)]
struct Found(Mutex<BTreeMap<Asked, Option<Box<Within>>>>);

/// What options tell of the cluster's ranges.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Given {
    ranges: BTreeSet<IpNet>,
    nodes: BTreeSet<IpNet>,
}

/// Why it is not known what is outside.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Gap {
    /// No node tells the range of its pods, and none was given that may be theirs.
    NoPodRange,
    /// A pod has this address, which lies in no known range.
    Pod(IpAddr),
    /// This node does not tell the range of its pods, though others do.
    PodsOf(String),
    /// A node has this address, which lies in no known range: nor does that of the next node.
    Node(String, IpAddr),
    /// A service has this address, which lies in no known range: nor does that of the next service.
    Service(ObjectName, IpAddr),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPodRange => f.write_str("no node tells the range of its pods"),
            Self::Pod(address) => write!(f, "the pod address {address} lies in no known range"),
            Self::PodsOf(node) => write!(f, "the node {node} does not tell the range of its pods"),
            Self::Node(node, address) => write!(
                f,
                "the address {address} of the node {node} lies in no known range, and the next node's may be any"
            ),
            Self::Service(service, address) => write!(
                f,
                "the address {address} of the service {service} lies in no known range, and the next service's may be any"
            ),
        }
    }
}

impl Given {
    fn of(options: &Options) -> Self {
        let nodes = match &options.nodes {
            Nodes::Given(blocks) => blocks.iter().map(IpNet::trunc).collect(),
            _ => BTreeSet::new(),
        };
        Self {
            ranges: options.cluster_ranges.iter().map(IpNet::trunc).collect(),
            nodes,
        }
    }
}

impl Outsides {
    /// Those that some options may ask for.
    pub(super) fn new(options: &OptionsFor) -> Self {
        let mut all: Vec<(Given, OnceLock<Outside>)> = Vec::new();
        for given in options.all().map(Given::of) {
            if all.iter().all(|(known, _)| *known != given) {
                all.push((given, OnceLock::new()));
            }
        }
        Self(all)
    }

    /// What is outside a cluster by some options: always the same cluster.
    pub(super) fn of(&self, cluster: &Cluster, options: &Options) -> Cow<'_, Outside> {
        let given = Given::of(options);
        match self.0.iter().find(|(known, _)| *known == given) {
            Some((_, outside)) => {
                Cow::Borrowed(outside.get_or_init(|| Outside::of(cluster, &given)))
            }
            None => Cow::Owned(Outside::of(cluster, &given)),
        }
    }
}

impl Outside {
    /// What is outside by the inventory, and by the ranges that were given.
    fn of(cluster: &Cluster, given: &Given) -> Self {
        let told = || cluster.pod_ranges.values().flatten().copied();
        let known = || told().chain(given.ranges.iter().copied());
        let nodes = || cluster.nodes.values().flatten().map(IpAddr::to_canonical);
        let has_node = |range: &IpNet| nodes().any(|address| range.contains(&address));
        let of_pods = known_to_hold_pods(cluster, given);
        let others: Nets = known().chain(given.nodes.iter().copied()).collect();
        let without_nodes = given.ranges.iter().filter(|range| !has_node(range));
        let ranges: Vec<IpNet> = told().chain(without_nodes.copied()).collect();
        let pods = cluster.pod_addresses.iter().map(|(address, _)| *address);
        let pods = pods.chain(service_addresses(cluster).map(|(_, address)| address));
        let pods = pods.map(IpNet::from);
        let hosts = nodes().chain(cluster.api_server.iter().map(IpAddr::to_canonical));
        let hosts = hosts.map(IpNet::from).chain(never());
        let given = known().chain(given.nodes.iter().copied());
        Self {
            inside: given.chain(pods.clone()).chain(hosts).collect(),
            no_nodes: ranges.iter().copied().chain(pods).collect(),
            ranges: ranges.into_iter().collect(),
            known: known().collect(),
            within: Arc::default(),
            of_pods,
            of_others: [true, false].map(|v4| gaps_of_others(cluster, &others, v4)),
        }
    }

    /// Whether all of a block is outside.
    pub(super) fn holds_all(&self, block: &IpNet) -> bool {
        !self.inside.overlap(block)
    }

    /// Whether a block holds neither pods nor services, nor a part of a range of theirs.
    pub(super) fn may_be_nodes(&self, block: &IpNet) -> bool {
        !self.no_nodes.overlap(block)
    }

    /// The ranges of pods and services.
    pub(super) fn ranges(&self) -> &Nets {
        &self.ranges
    }

    /// Every range that nodes tell and that was given, also of pods and nodes together.
    pub(super) fn known(&self) -> &Nets {
        &self.known
    }

    /// What of the cluster lies inside blocks that are meant for nodes or not, found out when it is first asked for.
    pub(super) fn within(
        &self,
        blocks: &BTreeSet<Block>,
        for_nodes: bool,
        find: impl FnOnce() -> Option<Box<Within>>,
    ) -> Option<Box<Within>> {
        let known = self.within.0.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known
            .entry((blocks.clone(), for_nodes))
            .or_insert_with(find)
            .clone()
    }

    /// Everything outside, of the families of some addresses and as far as it is known.
    pub(super) fn blocks(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<Block> {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let used = |block: &IpNet| addresses.iter().any(|address| block.contains(address));
        let known = all.into_iter().zip(&self.of_pods).zip(&self.of_others);
        let known = known.filter(|((_, pods), others)| pods.is_none() && others.is_empty());
        known
            .map(|((block, _), _)| block)
            .filter(used)
            .map(|block| Block {
                block,
                except: self.inside.inside(&block).copied().collect(),
            })
            .collect()
    }

    /// Why it is not known what is outside, for the families of some addresses.
    pub(super) fn gaps(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<Gap> {
        let used = |v4: bool| addresses.iter().any(|address| address.is_ipv4() == v4);
        let families = [true, false].into_iter().enumerate();
        let families = families.filter(|(_, v4)| used(*v4));
        let gaps = families
            .flat_map(|(number, _)| self.of_pods[number].iter().chain(&self.of_others[number]));
        gaps.cloned().collect()
    }

    /// Why it is not known where pods may be, for the family of an address.
    pub(super) fn gap_of_pods(&self, address: IpAddr) -> Option<&Gap> {
        self.of_pods[usize::from(address.is_ipv6())].as_ref()
    }
}

/// What is no address of a host outside.
fn never() -> impl Iterator<Item = IpNet> {
    let v4 = NEVER_V4.into_iter();
    let v4 = v4.map(|(address, length)| IpNet::new_assert(IpAddr::V4(address), length));
    let v6 = NEVER_V6.into_iter();
    v4.chain(v6.map(|(address, length)| IpNet::new_assert(IpAddr::V6(address), length)))
}

fn service_addresses(cluster: &Cluster) -> impl Iterator<Item = (&ObjectName, IpAddr)> + Clone {
    let services = cluster.services.iter();
    services.flat_map(|service| {
        let addresses = service.cluster_ips.iter();
        addresses.map(|address| (&service.name, address.to_canonical()))
    })
}

/// What stands in the way of knowing the ranges of pods, for IPv4 and for IPv6.
fn known_to_hold_pods(cluster: &Cluster, given: &Given) -> [Option<Gap>; 2] {
    let told = cluster.pod_ranges.values().flatten();
    let known: Nets = told.chain(&given.ranges).copied().collect();
    [true, false].map(|v4| gap_of_pods(cluster, &given.ranges, &known, v4))
}

/// What stands in the way of knowing the ranges of pods of one family. Pods come and go, so that their addresses alone
/// tell nothing of what others will have: each node tells a range of its own, or one was given for all.
fn gap_of_pods(cluster: &Cluster, given: &BTreeSet<IpNet>, known: &Nets, v4: bool) -> Option<Gap> {
    let pods = cluster.pod_addresses.iter().map(|(address, _)| *address);
    let mut pods = pods.filter(|address| address.is_ipv4() == v4).peekable();
    let has_pods = pods.peek().is_some();
    if let Some(stray) = pods.find(|address| !known.hold(*address)) {
        return Some(Gap::Pod(stray));
    }
    let is_own = |range: &&IpNet| range.addr().is_ipv4() == v4;
    let tells = |node: &String| {
        let ranges = cluster.pod_ranges.get(node);
        ranges.is_some_and(|ranges| ranges.iter().any(|range| is_own(&range)))
    };
    let is_told = cluster.pod_ranges.keys().any(tells);
    let may_have = has_pods || is_told || cluster.pod_addresses.is_empty();
    let mut given = given.iter().filter(is_own);
    if !may_have || given.any(|range| may_be_of_pods(cluster, range)) {
        return None;
    }
    let silent = cluster.nodes.keys().find(|node| !tells(node));
    match is_told {
        true => silent.map(|node| Gap::PodsOf(node.clone())),
        false => Some(Gap::NoPodRange),
    }
}

/// Whether a range that was given may be that of pods: it holds some, or nothing that tells that it is of something
/// else.
fn may_be_of_pods(cluster: &Cluster, range: &IpNet) -> bool {
    let mut nodes = cluster.nodes.values().flatten();
    let mut services = service_addresses(cluster);
    cluster.pods_in(range).next().is_some()
        || !nodes.any(|address| range.contains(&address.to_canonical()))
            && !services.any(|(_, address)| range.contains(&address))
}

/// The first node and the first service of one family whose address lies in no known range. Their present addresses are
/// left out all the same, but not those of the next.
fn gaps_of_others(cluster: &Cluster, known: &Nets, v4: bool) -> BTreeSet<Gap> {
    let stray = |address: &IpAddr| address.is_ipv4() == v4 && !known.hold(*address);
    let node = cluster.nodes.iter().find_map(|(name, addresses)| {
        let mut addresses = addresses.iter().map(IpAddr::to_canonical);
        let address = addresses.find(stray)?;
        Some(Gap::Node(name.clone(), address))
    });
    let service = service_addresses(cluster).find(|(_, address)| stray(address));
    let service = service.map(|(name, address)| Gap::Service(name.clone(), address));
    node.into_iter().chain(service).collect()
}

#[cfg(test)]
mod tests {
    use netpol_common::names::WorkloadName;

    use super::*;
    use crate::identity::objects::{Labels, Service};

    fn service_at(text: &str) -> Service {
        Service {
            name: ObjectName::new("n", "web"),
            cluster_ips: vec![address(text)],
            external_ips: Vec::new(),
            selector: Labels::new(),
            ports: Vec::new(),
            keeps_client: false,
            created: None,
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// A cluster of one node, which tells these ranges, and of pods.
    fn cluster(ranges: &[&str], pods: &[&str]) -> Cluster {
        let ranges: BTreeSet<IpNet> = ranges.iter().map(|range| net(range)).collect();
        let told = (!ranges.is_empty()).then(|| ("one".to_owned(), ranges));
        let pod = |pod: &&str| (address(pod), WorkloadName::new("n", "Deployment", "web"));
        Cluster {
            nodes: [("one".to_owned(), BTreeSet::new())].into(),
            pod_ranges: told.into_iter().collect(),
            pod_addresses: pods.iter().map(pod).collect(),
            ..Cluster::default()
        }
    }

    fn outside(cluster: &Cluster, ranges: &[&str]) -> Outside {
        let options = Options {
            cluster_ranges: ranges.iter().map(|range| net(range)).collect(),
            ..Options::default()
        };
        Outsides::default().of(cluster, &options).into_owned()
    }

    /// Why it is not known what is outside: of IPv4, and of IPv6.
    fn gaps(cluster: &Cluster, ranges: &[&str]) -> [Vec<Gap>; 2] {
        let outside = outside(cluster, ranges);
        assert_eq!(outside.gaps(&BTreeSet::new()), BTreeSet::new());
        assert_eq!(outside.blocks(&BTreeSet::new()), BTreeSet::new());
        ["198.51.100.1", "2001:db8::1"].map(address).map(|address| {
            let gaps = outside.gaps(&[address].into());
            let known = outside.blocks(&[address].into());
            assert_eq!(known.is_empty(), !gaps.is_empty());
            assert!(known.iter().all(|block| block.contains(address)));
            let of_pods = outside.gap_of_pods(address);
            assert!(of_pods.is_none_or(|gap| gaps.contains(gap)));
            let of_others = |gap: &&Gap| matches!(gap, Gap::Node(..) | Gap::Service(..));
            let others = gaps.iter().filter(of_others).count();
            assert_eq!(gaps.len(), others + usize::from(of_pods.is_some()));
            gaps.into_iter().collect()
        })
    }

    #[test]
    fn what_is_outside_is_known_of_a_family_by_the_ranges_of_its_pods() {
        let gaps = |ranges: &[&str], pods: &[&str]| gaps(&cluster(ranges, pods), &[]);
        let none = || vec![Gap::NoPodRange];
        assert_eq!(gaps(&[], &[]), [none(), none()]);
        assert_eq!(gaps(&["10.0.0.0/8"], &[]), [vec![], none()]);
        assert_eq!(gaps(&["fd00::/8"], &[]), [none(), vec![]]);
        assert_eq!(gaps(&["10.0.0.0/8"], &["10.1.1.1"]), [vec![], vec![]]);
        assert_eq!(gaps(&["fd00::/8"], &["fd00::1"]), [vec![], vec![]]);
        let stray = |pod| vec![Gap::Pod(address(pod))];
        assert_eq!(
            gaps(&["10.0.0.0/8"], &["10.1.1.1", "11.1.1.1"]),
            [stray("11.1.1.1"), vec![]]
        );
        assert_eq!(
            gaps(&["10.0.0.0/8"], &["10.1.1.1", "fd00::1"]),
            [vec![], stray("fd00::1")]
        );
        assert_eq!(gaps(&[], &["fd00::1"]), [vec![], stray("fd00::1")]);
    }

    #[test]
    fn every_node_tells_the_range_of_its_pods_or_one_was_given() {
        let mut both = cluster(&["10.0.0.0/24", "fd00::/64"], &[]);
        both.nodes.insert("two".to_owned(), BTreeSet::new());
        let silent = || vec![Gap::PodsOf("two".to_owned())];
        assert_eq!(gaps(&both, &[]), [silent(), silent()]);
        assert_eq!(gaps(&both, &["10.0.0.0/16"]), [vec![], silent()]);
        let v4 = BTreeSet::from([net("10.0.1.0/24")]);
        both.pod_ranges.insert("two".to_owned(), v4);
        assert_eq!(gaps(&both, &[]), [vec![], silent()]);
        // Of a family that pods do not have, nobody has to tell.
        let (ranges, pods) = (["10.0.0.0/24"], ["10.0.0.1"]);
        assert_eq!(gaps(&cluster(&ranges, &pods), &[]), [vec![], vec![]]);
    }

    #[test]
    fn a_range_of_services_or_nodes_is_none_of_pods() {
        let service = service_at("10.96.0.1");
        let mut cluster = cluster(&[], &[]);
        cluster.services = vec![service];
        cluster.nodes = [("one".to_owned(), [address("192.0.2.1")].into())].into();
        let [v4, _] = gaps(&cluster, &["10.96.0.0/12", "192.0.2.0/24"]);
        assert_eq!(v4, [Gap::NoPodRange]);
        let [v4, _] = gaps(&cluster, &["10.96.0.0/12", "192.0.2.0/24", "10.0.0.0/16"]);
        assert_eq!(v4, []);
        let web = WorkloadName::new("n", "Deployment", "web");
        cluster.pod_addresses = [(address("10.97.0.1"), web)].into();
        let [v4, _] = gaps(&cluster, &["10.96.0.0/12", "192.0.2.0/24"]);
        assert_eq!(v4, []);
    }

    #[test]
    fn the_ranges_of_nodes_and_services_must_be_known_too() {
        let mut cluster = cluster(&["10.0.0.0/24", "fd00::/64"], &[]);
        let nodes = ["192.0.2.1", "10.0.0.1"].map(address);
        cluster.nodes = [("one".to_owned(), nodes.into())].into();
        let service = service_at("10.96.0.1");
        let name = service.name.clone();
        cluster.services = vec![service];
        let node = || Gap::Node("one".to_owned(), address("192.0.2.1"));
        let service = || Gap::Service(name.clone(), address("10.96.0.1"));
        assert_eq!(gaps(&cluster, &[]), [vec![node(), service()], vec![]]);
        let found = gaps(&cluster, &["192.0.2.0/24"]);
        assert_eq!(found, [vec![service()], vec![]]);
        let found = gaps(&cluster, &["192.0.2.0/24", "10.96.0.0/12"]);
        assert_eq!(found, [vec![], vec![]]);
        let options = Options {
            nodes: Nodes::Given([net("192.0.2.0/24")].into()),
            ..Options::default()
        };
        let outsides = Outsides::new(&options.clone().into());
        let outside = outsides.of(&cluster, &options);
        assert!(matches!(outside, Cow::Borrowed(_)));
        let found = outside.gaps(&[address("198.51.100.1")].into());
        assert_eq!(found, [service()].into());
    }

    #[test]
    fn the_cluster_and_what_is_no_host_are_not_outside() {
        let mut cluster = cluster(&["10.0.0.0/8", "fd00::/8"], &["203.0.113.9"]);
        cluster.api_server = [address("192.0.2.3")].into();
        cluster.nodes = [("one".to_owned(), [address("192.0.2.1")].into())].into();
        let ranges = ["192.0.2.1/32", "203.0.113.9/32"];
        let outside = outside(&cluster, &ranges);
        let is_outside = |block: &str| outside.holds_all(&net(block));
        for block in ["11.0.0.0/8", "2001:db8::/32"] {
            assert!(is_outside(block), "{block}");
        }
        for block in [
            "10.1.0.0/16",
            "10.0.0.0/7",
            "192.0.2.0/30",
            "203.0.113.8/31",
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
            "203.0.113.9",
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

    #[test]
    fn where_pods_and_services_are_is_no_nodes_range() {
        let mut cluster = cluster(&["10.0.0.0/24"], &["192.0.2.9"]);
        cluster.nodes = [("one".to_owned(), [address("192.0.2.1")].into())].into();
        cluster.services = vec![service_at("192.0.2.17")];
        let outside = outside(&cluster, &["192.0.2.0/24", "198.51.100.0/24"]);
        for (block, may_be) in [
            ("192.0.2.0/29", true),
            ("192.0.2.0/28", false),
            ("192.0.2.16/28", false),
            ("192.0.2.32/27", true),
            ("10.0.0.8/29", false),
            ("198.51.100.8/29", false),
        ] {
            assert_eq!(outside.may_be_nodes(&net(block)), may_be, "{block}");
        }
        let ranges = outside.ranges().at(&net("0.0.0.0/0"));
        let ranges: Vec<String> = ranges.map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.0.0.0/24", "198.51.100.0/24"]);
        let known = outside.known().at(&net("192.0.2.128/25"));
        let known: Vec<String> = known.map(ToString::to_string).collect();
        assert_eq!(
            known,
            ["192.0.2.0/24"],
            "nobody said that pods are not there too"
        );
    }
}
