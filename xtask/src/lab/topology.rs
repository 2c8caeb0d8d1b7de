//! Nodes and wires: two nodes and an external host on one network.

use std::net::IpAddr;
use std::process::Command;

use anyhow::Result;

use super::netns;
use crate::command;

/// One of the lab's nodes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Node {
    /// The node `n1`.
    One,
    /// The node `n2`.
    Two,
}

/// The address family of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The external host as clients: an address of its own.
pub const EXTERNAL_CLIENT: [&str; 2] = ["198.51.100.9", "2001:db8:100::9"];
/// The external host as a server.
pub const EXTERNAL_SERVER: [&str; 2] = ["198.51.100.7", "2001:db8:100::7"];
/// An external address that answers nothing.
pub const EXTERNAL_SILENT: &str = "198.51.100.99";
/// The router that the external host is for the nodes.
const ROUTER: [&str; 2] = ["172.30.0.1", "fd00:30::1"];
/// Where load-balancer addresses come from; they lead to the first node.
const LOAD_BALANCERS: &str = "203.0.113.0/24";

/// Kernel parameters of every namespace: addresses are usable at once, ICMP errors come for every packet.
const QUIET: [(&str, &str); 5] = [
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
];

/// Kernel parameters of nodes: they route, drop what comes from the wrong side (RFC 3704), and let services of one
/// node work over a bridge.
const ROUTING: [(&str, &str); 6] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "1"),
    ("net/ipv4/conf/default/rp_filter", "1"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/bridge/bridge-nf-call-ip6tables", "1"),
];

impl Node {
    /// Both.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    /// The node's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "n1",
            Self::Two => "n2",
        }
    }

    /// 1 or 2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The other node.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// The node's addresses on the nodes' network, one per family.
    #[must_use]
    pub fn addresses(self) -> [IpAddr; 2] {
        let number = u16::from(self.number());
        [
            IpAddr::from([172, 30, 0, 10 + self.number()]),
            IpAddr::from([0xfd00, 0x30, 0, 0, 0, 0, 0, 0x10 + number]),
        ]
    }

    /// The ranges of its pods, one per family.
    #[must_use]
    pub fn pod_cidrs(self) -> [String; 2] {
        let number = self.number();
        [
            format!("10.1.{number}.0/24"),
            format!("fd00:10:1:{number}::/64"),
        ]
    }

    /// The addresses of its pod with that number, one per family.
    #[must_use]
    pub fn pod_addresses(self, pod: u8) -> [IpAddr; 2] {
        let number = self.number();
        [
            IpAddr::from([10, 1, number, pod]),
            IpAddr::from([0xfd00, 0x10, 1, u16::from(number), 0, 0, 0, u16::from(pod)]),
        ]
    }
}

impl Family {
    /// Picks the address of this family out of a pair.
    pub fn of<T: Copy>(self, pair: [T; 2]) -> T {
        match self {
            Self::V4 => pair[0],
            Self::V6 => pair[1],
        }
    }
}

/// The names of the namespaces of a lab.
#[derive(Clone, Debug)]
pub(super) struct Names<'a> {
    /// The lab's tag.
    pub(super) tag: &'a str,
}

impl Names<'_> {
    pub(super) fn node(&self, node: Node) -> String {
        format!("{}{}", self.tag, node.name())
    }

    pub(super) fn external(&self) -> String {
        format!("{}x", self.tag)
    }

    pub(super) fn pod(&self, number: u32) -> String {
        format!("{}p{number}", self.tag)
    }
}

/// Makes a namespace with the parameters that all have.
pub(super) fn make_namespace(name: &str) -> Result<()> {
    netns::add(name)?;
    netns::sysctl(name, &QUIET)
}

/// Makes the two nodes, the external host and the network between them.
pub(super) fn make(names: &Names<'_>) -> Result<()> {
    make_external(&names.external())?;
    for node in Node::ALL {
        make_node(names, node)?;
    }
    for node in Node::ALL {
        route_to_peer(names, node)?;
    }
    silence(&names.external())
}

fn make_external(name: &str) -> Result<()> {
    make_namespace(name)?;
    netns::sysctl(name, &ROUTING[..2])?;
    ip(name, "link add lan type bridge")?;
    ip(name, "link set lan up")?;
    ip(name, &format!("addr add {}/24 dev lan", ROUTER[0]))?;
    ip(name, &format!("addr add {}/64 dev lan nodad", ROUTER[1]))?;
    for address in [EXTERNAL_CLIENT[0], EXTERNAL_SERVER[0]] {
        ip(name, &format!("addr add {address}/32 dev lo"))?;
    }
    for address in [EXTERNAL_CLIENT[1], EXTERNAL_SERVER[1]] {
        ip(name, &format!("addr add {address}/128 dev lo nodad"))?;
    }
    ip(name, &format!("addr add {EXTERNAL_SILENT}/32 dev lo"))
}

fn make_node(names: &Names<'_>, node: Node) -> Result<()> {
    let (name, external) = (names.node(node), names.external());
    make_namespace(&name)?;
    netns::sysctl(&name, &ROUTING)?;
    let port = format!("port{}", node.number());
    ip(
        &external,
        &format!("link add {port} type veth peer name eth0 netns {name}"),
    )?;
    ip(&external, &format!("link set {port} master lan up"))?;
    ip(&name, "link set eth0 up")?;
    let [v4, v6] = node.addresses();
    ip(&name, &format!("addr add {v4}/24 dev eth0"))?;
    ip(&name, &format!("addr add {v6}/64 dev eth0 nodad"))?;
    ip(&name, &format!("route add default via {}", ROUTER[0]))?;
    ip(&name, &format!("route add default via {}", ROUTER[1]))
}

/// Routes to the other node's pods, and from the external host to this node's pods and, for the first node, to the
/// load balancers' addresses.
fn route_to_peer(names: &Names<'_>, node: Node) -> Result<()> {
    let peer = node.other();
    for (cidr, via) in peer.pod_cidrs().iter().zip(peer.addresses()) {
        ip(&names.node(node), &format!("route add {cidr} via {via}"))?;
        ip(&names.external(), &format!("route add {cidr} via {via}"))?;
    }
    if node == Node::One {
        let via = node.addresses()[0];
        ip(
            &names.external(),
            &format!("route add {LOAD_BALANCERS} via {via}"),
        )?;
    }
    Ok(())
}

/// Makes the external host drop what is for its silent address.
fn silence(external: &str) -> Result<()> {
    let rules = format!(
        "table ip silent {{
  chain in {{
    type filter hook input priority 0;
    ip daddr {EXTERNAL_SILENT} drop
  }}
}}
"
    );
    netns::nft(external, &rules)
}

/// Runs `ip -n <namespace> <words>`.
pub(super) fn ip(namespace: &str, words: &str) -> Result<()> {
    let mut arguments = vec!["-n", namespace];
    arguments.extend(words.split(' '));
    command::run(Command::new("ip").args(arguments))
}
