//! `--node-cidr`: a node as a peer is written as every node, so that new nodes need no new policy.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::blocks::Frontier;
use super::within::within;
use super::{Wide, beyond, plain, specs, wide};
use crate::identity::Peer;
use crate::policy::learn::Learned;
use crate::policy::model::WrittenAs;
use crate::policy::options::{Nodes, Options};
use crate::policy::widening::{Block, Widening};
use crate::policy::writer::Writer;

/// How many blocks all nodes of one address family may become.
const MOST_BLOCKS: usize = 64;

/// Writes all nodes' ranges instead of each node, and each workload on its nodes' network. An address of the peer
/// that lies in none of them is written beside them.
pub(super) fn widen(
    writer: &Writer<'_>,
    options: &Options,
    learned: &mut [Learned],
) -> Vec<Widening> {
    if options.nodes == Nodes::Addresses {
        return Vec::new();
    }
    let ranges = ranges(writer, options);
    let mut peers: BTreeSet<Peer> = BTreeSet::new();
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    for one in &mut *learned {
        let own = writer.addresses(one.peer());
        if !is_node(writer, one.peer()) || own.is_empty() || one.stand_ins.is_some() {
            continue;
        }
        let outside = own.iter().filter(|address| !holds(&ranges, **address));
        let mut written = wide(&ranges);
        written.extend(outside.copied().map(Wide::from));
        peers.insert(one.peer().clone());
        addresses.extend(own);
        one.stand_in(written, Some(WrittenAs::Nodes));
    }
    if peers.is_empty() {
        return Vec::new();
    }
    let replaced: Vec<&Learned> = learned.iter().filter(|one| is_replaced(one)).collect();
    let mut said = beside(writer, &peers, &ranges, &replaced);
    said.push(Widening::Blocks {
        beyond: beyond(&ranges, &addresses),
        within: within(writer, options, &ranges, true),
        written_as: WrittenAs::Nodes,
        blocks: ranges,
        ports: specs(replaced),
        peers,
    });
    said
}

/// Whether this pass replaced the peer: an earlier one may have replaced the same peer on other ports.
fn is_replaced(learned: &Learned) -> bool {
    learned.support.written_as.as_deref() == Some(&WrittenAs::Nodes)
}

/// Whether a peer is a node, or pods that have no addresses but their nodes'.
fn is_node(writer: &Writer<'_>, peer: &Peer) -> bool {
    !matches!(peer, Peer::ApiServer) && writer.stands_for_more(peer)
}

fn holds(ranges: &BTreeSet<Block>, address: IpAddr) -> bool {
    ranges.iter().any(|block| block.contains(address))
}

/// What is written beside the ranges.
fn beside(
    writer: &Writer<'_>,
    peers: &BTreeSet<Peer>,
    ranges: &BTreeSet<Block>,
    learned: &[&Learned],
) -> Vec<Widening> {
    let of = |peer: &Peer| {
        let mut addresses = writer.addresses(peer);
        addresses.retain(|address| !holds(ranges, *address));
        (!addresses.is_empty()).then(|| Widening::Addresses {
            peer: peer.clone(),
            addresses,
            ports: specs(learned.iter().copied().filter(|one| one.peer() == peer)),
        })
    };
    peers.iter().filter_map(of).collect()
}

/// The ranges of all nodes: those that were given, or the fewest blocks within the budget around their addresses that
/// hold no pod, no service and nothing of a range of theirs. Addresses that a node has in its pods' range, such as that of
/// their bridge, are no reason to write that.
fn ranges(writer: &Writer<'_>, options: &Options) -> BTreeSet<Block> {
    if let Nodes::Given(blocks) = &options.nodes {
        return plain(blocks.iter().copied());
    }
    let outside = writer.outsides.of(writer.cluster, options);
    let all = writer.cluster.nodes.values().flatten();
    let all = all.map(IpAddr::to_canonical);
    let all: BTreeSet<IpAddr> = all.filter(|own| !outside.ranges().hold(*own)).collect();
    let allowed = |block: &IpNet| outside.may_be_nodes(block);
    let mut blocks = Vec::new();
    for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        let own: BTreeSet<IpAddr> = all.iter().copied().filter(family).collect();
        let frontier = Frontier::new(&own, MOST_BLOCKS, &allowed);
        let fewest = frontier.and_then(|frontier| frontier.fewest(options.budget.beyond));
        blocks.extend(fewest.unwrap_or_else(|| own.into_iter().map(Into::into).collect()));
    }
    plain(blocks)
}
