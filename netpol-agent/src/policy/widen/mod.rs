//! Peers and ports that are written wider than they were seen, as options ask for.
//!
//! Each pass replaces what stands in a rule for some of what a workload learned, and says what that lets in beyond
//! it. A pass leaves alone what an earlier one replaced. What nobody asked for costs nothing here.

mod aws;
mod blocks;
mod external;
mod groups;
mod namespaces;
mod nodes;
mod ranges;
mod rules;
mod sightings;
mod within;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use netpol_common::names::WorkloadName;

use super::finding::Finding;
use super::learn::Learned;
use super::model::{Direction, PortSpec, WrittenAs};
use super::options::Options;
use super::outside::Gap;
use super::ports::{self, Ports};
use super::widening::{Addresses, Block, Widening};
use super::writer::Writer;
use crate::identity::{EdgeId, Peer};

pub(super) use rules::{holds, rules};
pub(super) use sightings::{AllSightings, writers_of};

/// What may stand in a rule instead of a peer.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Wide {
    /// Every pod of a namespace.
    Namespace(String),
    /// Addresses.
    Block(Block),
}

/// What is to be said of one direction of a policy.
pub(super) enum Told {
    /// It is wider than what was seen.
    Wider(Widening),
    /// It is not known what is outside the cluster.
    Unknown(Gap),
    /// It allows a rejected edge all the same.
    Allowed(EdgeId),
}

impl Told {
    /// The finding about a workload.
    pub(super) fn of(self, workload: &WorkloadName, direction: Direction) -> Finding {
        let workload = workload.clone();
        match self {
            Self::Wider(what) => Finding::Widening {
                workload,
                direction,
                what,
            },
            Self::Unknown(gap) => Finding::OutsideUnknown {
                workload,
                direction,
                gap,
            },
            Self::Allowed(edge) => Finding::RejectedStillAllowed {
                workload,
                direction,
                edge,
            },
        }
    }
}

/// Widens what a workload learned in one direction, and says how.
pub(super) fn widen(
    writer: &Writer<'_>,
    options: &Options,
    of: (&WorkloadName, Direction),
    learned: &mut Vec<Learned>,
) -> Vec<Told> {
    let mut said = ranges::widen(writer, options, of, learned);
    said.extend(aws::widen(writer, options, of.1, learned));
    said.extend(namespaces::widen(writer, options, learned));
    said.extend(nodes::widen(writer, options, learned));
    said.extend(groups::widen(writer, options, learned));
    let mut told: Vec<Told> = said.into_iter().map(Told::Wider).collect();
    told.extend(external::widen(writer, options, learned));
    told
}

impl Learned {
    /// Writes other things instead of the peer.
    fn stand_in(&mut self, wide: impl Into<Arc<[Wide]>>, written_as: Option<WrittenAs>) {
        self.stand_ins = Some(wide.into());
        self.support.written_as = written_as.map(Arc::new);
    }

    /// The external address that the peer is, unless something else is written already.
    fn external(&self) -> Option<IpAddr> {
        match self.peer() {
            Peer::External(address) if self.stand_ins.is_none() => Some(address.to_canonical()),
            _ => None,
        }
    }
}

/// The ports of several things that were learned.
fn specs<'a>(learned: impl IntoIterator<Item = &'a Learned>) -> Vec<PortSpec> {
    let ports: Ports = learned.into_iter().flat_map(Learned::each_port).collect();
    ports::specs(&ports)
}

fn wide(blocks: &BTreeSet<Block>) -> Vec<Wide> {
    blocks.iter().cloned().map(Wide::Block).collect()
}

/// How many addresses blocks that do not overlap hold beyond some.
fn beyond(blocks: &BTreeSet<Block>, seen: &BTreeSet<IpAddr>) -> Addresses {
    let all = blocks.iter().map(Block::size);
    let all = all.fold(Addresses::default(), Addresses::plus);
    let inside = |address: &&IpAddr| blocks.iter().any(|block| block.contains(**address));
    all.less(seen.iter().filter(inside))
}

/// Blocks without exceptions, none inside another.
fn plain(blocks: impl IntoIterator<Item = IpNet>) -> BTreeSet<Block> {
    let blocks = blocks.into_iter().map(|block| block.trunc()).collect();
    let blocks = IpNet::aggregate(&blocks).into_iter();
    blocks.map(Block::from).collect()
}

#[cfg(test)]
mod tests;
