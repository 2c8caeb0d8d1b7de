//! What a policy lets in beyond what was seen: each thing with its size, so that a person can judge it.

mod within;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;

use super::model::{PortSpec, WrittenAs};
use super::text::list;
use crate::identity::Peer;

pub use within::{Few, Within};

/// What a policy lets in beyond what was seen.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Widening {
    /// Everything at a node's or kube-apiserver's addresses, not only the peer that was seen.
    Addresses {
        /// The peer that was seen.
        peer: Peer,
        /// Its addresses.
        addresses: BTreeSet<IpAddr>,
        /// On these ports.
        ports: Vec<PortSpec>,
    },
    /// Blocks of addresses instead of the addresses that were seen.
    Blocks {
        /// What they are.
        written_as: WrittenAs,
        /// The peers that were seen.
        peers: BTreeSet<Peer>,
        /// The blocks.
        blocks: BTreeSet<Block>,
        /// How many addresses they hold besides the peers'.
        beyond: Addresses,
        /// On these ports.
        ports: Vec<PortSpec>,
        /// What of the cluster lies inside, if anything does.
        within: Option<Box<Within>>,
    },
    /// Every pod of a namespace instead of the workloads that were seen.
    Namespace {
        /// The namespace.
        namespace: String,
        /// Its workloads at present that were not seen.
        others: BTreeSet<WorkloadName>,
        /// On these ports.
        ports: Vec<PortSpec>,
    },
    /// A range of ports instead of the ports that were seen.
    PortRange {
        /// Whose ports they are.
        server: WorkloadName,
        /// The other ends: clients where the policy is the server's, else the server.
        peers: BTreeSet<Peer>,
        /// The protocol.
        protocol: Protocol,
        /// The range, less the ports in it that are known to be something else.
        ranges: Vec<(u16, u16)>,
        /// Why this range.
        estimate: Estimate,
        /// How many of its ports were never seen.
        beyond: usize,
    },
    /// A service's own address, where policies match before it is translated: all that stands behind it.
    Service {
        /// The service.
        service: ObjectName,
        /// Its address.
        address: IpAddr,
        /// On these ports of the service.
        ports: Vec<PortSpec>,
    },
    /// DNS over the other protocol, or to resolvers that were not seen in use.
    Dns {
        /// The other end.
        peer: Peer,
        /// On these ports.
        ports: Vec<PortSpec>,
    },
}

/// Addresses less some of them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Block {
    /// The addresses.
    pub block: IpNet,
    /// Blocks inside that are left out.
    pub except: BTreeSet<IpNet>,
}

/// A number of addresses.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Addresses {
    /// Of IPv4.
    pub v4: u64,
    /// Of IPv6; the largest number stands for itself and more.
    pub v6: u128,
}

/// How the bounds of a range of ports were found.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Estimate {
    /// How many different ports were seen.
    pub ports: usize,
    /// How many of them at most within one hour.
    pub within_an_hour: usize,
    /// The lowest and the highest that was seen.
    pub seen: (u16, u16),
    /// The well-known range that they fit; else the bounds are those seen, widened by the mean gap.
    pub known: Option<&'static str>,
}

impl From<IpNet> for Block {
    fn from(block: IpNet) -> Self {
        Self {
            block,
            except: BTreeSet::new(),
        }
    }
}

impl Block {
    /// Whether another block is this one or a part of it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let left_out = |out: &IpNet| {
            let apart = !out.contains(&other.block) && !other.block.contains(out);
            apart || other.except.iter().any(|less| less.contains(out))
        };
        self.block.contains(&other.block) && self.except.iter().all(left_out)
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let holds = |block: &IpNet| block.contains(&address);
        holds(&self.block) && !self.except.iter().any(holds)
    }

    /// How many addresses it holds.
    #[must_use]
    pub fn size(&self) -> Addresses {
        let except = IpNet::aggregate(&self.except.iter().copied().collect());
        let sum: u128 = except.iter().map(size).fold(0, u128::saturating_add);
        let left = size(&self.block).saturating_sub(sum);
        match self.block {
            IpNet::V4(_) => Addresses {
                v4: u64::try_from(left).unwrap_or(u64::MAX),
                v6: 0,
            },
            IpNet::V6(_) => Addresses { v4: 0, v6: left },
        }
    }
}

/// How many addresses a block holds.
fn size(block: &IpNet) -> u128 {
    let bits = u32::from(block.max_prefix_len() - block.prefix_len());
    1u128.checked_shl(bits).unwrap_or(u128::MAX)
}

impl Addresses {
    /// The sum of two numbers.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            v4: self.v4.saturating_add(other.v4),
            v6: self.v6.saturating_add(other.v6),
        }
    }

    /// As many less as there are addresses.
    #[must_use]
    pub fn less<'a>(self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Self {
        let mut left = self;
        for address in addresses {
            match address {
                IpAddr::V4(_) => left.v4 = left.v4.saturating_sub(1),
                IpAddr::V6(_) => left.v6 = left.v6.saturating_sub(1),
            }
        }
        left
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses {
                peer,
                addresses,
                ports,
            } => {
                let (addresses, ports) = (list(addresses), list(ports));
                write!(
                    f,
                    "of {peer} stands as its addresses {addresses}: allows everything there on {ports}"
                )
            }
            Self::Blocks {
                written_as,
                peers,
                blocks,
                beyond,
                ports,
                within,
            } => {
                let (seen, blocks, ports) = (number(peers), list(blocks), list(ports));
                let what = in_words(written_as);
                write!(
                    f,
                    "of {seen} is written as {what} {blocks}: allows {beyond} beyond what was seen on {ports}"
                )?;
                match within {
                    Some(within) => write!(f, "; of the cluster itself these hold {within}"),
                    None => Ok(()),
                }
            }
            Self::Namespace {
                namespace,
                others,
                ports,
            } => {
                write!(
                    f,
                    "of the namespace {namespace} as a whole on {}: allows all its pods, ",
                    list(ports)
                )?;
                match others.len() {
                    0 => f.write_str("of which all present workloads were seen"),
                    _ => write!(
                        f,
                        "also of the workloads {}, which were not seen",
                        list(others)
                    ),
                }
            }
            Self::PortRange {
                server,
                peers,
                protocol,
                ranges,
                estimate,
                beyond,
            } => {
                let (peers, ranges) = (list(peers), list(ranges.iter().map(range)));
                write!(
                    f,
                    "with {peers} takes {server} to choose {protocol} ports from a range: allows {ranges}, {beyond} \
                     ports beyond those seen ({estimate})"
                )
            }
            Self::Service {
                service,
                address,
                ports,
            } => write!(
                f,
                "by the service {service} names its address {address}: allows all that stands behind it on {}",
                list(ports)
            ),
            Self::Dns { peer, ports } => {
                write!(
                    f,
                    "of DNS with {peer} on {} is allowed, though not seen",
                    list(ports)
                )
            }
        }
    }
}

/// One peer by name, more of them by number.
fn number(peers: &BTreeSet<Peer>) -> String {
    match (peers.len(), peers.first()) {
        (1, Some(peer)) => peer.to_string(),
        (number, Some(Peer::Node(_) | Peer::Workload(_))) => {
            format!("{number} nodes and their pods")
        }
        (number, _) => format!("{number} addresses"),
    }
}

fn in_words(written_as: &WrittenAs) -> String {
    match written_as {
        WrittenAs::Group(name) => format!("the group {name},"),
        WrittenAs::Nodes => "every node,".to_owned(),
        WrittenAs::Outside => "everything outside the cluster,".to_owned(),
        _ => "blocks,".to_owned(),
    }
}

fn range((first, last): &(u16, u16)) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.block.fmt(f)?;
        match self.except.is_empty() {
            true => Ok(()),
            false => write!(f, " except {}", list(&self.except)),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.v6 >> 64;
        let v6 = match (self.v6, networks) {
            (0, _) => None,
            (some, 0) => Some(format!("{some} IPv6 addresses")),
            (_, networks) => Some(format!("{networks} IPv6 networks of 64 bits")),
        };
        let v4 = (self.v4 > 0 || v6.is_none()).then(|| match self.v4 {
            1 => "1 address".to_owned(),
            more => format!("{more} addresses"),
        });
        let parts: Vec<String> = v4.into_iter().chain(v6).collect();
        f.write_str(&parts.join(" and "))
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ports,
            within_an_hour,
            seen: (low, high),
            known,
        } = self;
        write!(
            f,
            "{ports} ports seen between {low} and {high}, up to {within_an_hour} within an hour; "
        )?;
        match known {
            Some(name) => write!(f, "they spread as ports of {name} do"),
            None => f.write_str(
                "they fit no well-known range, so its ends are those seen and the mean gap beyond",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(block: &str, except: &[&str]) -> Block {
        let net = |text: &&str| text.parse().expect("a block");
        Block {
            block: net(&block),
            except: except.iter().map(net).collect(),
        }
    }

    #[test]
    fn a_block_covers_what_it_holds_all_of() {
        let all = block("10.0.0.0/8", &[]);
        let some = block("10.0.0.0/8", &["10.1.0.0/16", "10.9.0.0/16"]);
        for inner in ["10.0.0.0/8", "10.1.2.0/24", "10.2.0.0/16"] {
            assert!(all.covers(&block(inner, &[])), "{inner}");
        }
        for outer in ["0.0.0.0/0", "11.0.0.0/8", "2001:db8::/32"] {
            assert!(!all.covers(&block(outer, &[])), "{outer}");
        }
        assert!(some.covers(&block("10.2.0.0/16", &[])));
        for held in [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.0.0.0/15",
            "10.8.0.0/15",
        ] {
            assert!(!some.covers(&block(held, &[])), "{held}");
        }
        assert!(some.covers(&block("10.0.0.0/15", &["10.1.0.0/16"])));
        assert!(!some.covers(&block("10.0.0.0/15", &["10.1.0.0/17"])));
        assert!(some.covers(&some));
        assert!(!some.covers(&block("10.0.0.0/8", &["10.1.0.0/16"])));
    }
}
