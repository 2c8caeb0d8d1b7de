//! `--external aggregate`: few blocks around external addresses; `--external any`: everything outside the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netpol_common::words::Protocol;

use super::blocks::{Frontier, units};
use super::{Told, beyond, plain, specs, wide};
use crate::identity::Peer;
use crate::policy::learn::Learned;
use crate::policy::model::WrittenAs;
use crate::policy::options::{External, Options};
use crate::policy::outside::{Gap, Outside};
use crate::policy::widening::{Block, Widening};
use crate::policy::writer::Writer;

/// Addresses, and the numbers of what was learned of them.
type Found = (BTreeSet<IpAddr>, Vec<usize>);

/// Writes blocks instead of external addresses, as asked for.
pub(super) fn widen(writer: &Writer<'_>, options: &Options, learned: &mut [Learned]) -> Vec<Told> {
    if options.external == External::Seen || !learned.iter().any(|one| one.external().is_some()) {
        return Vec::new();
    }
    let outside = writer.outsides.of(writer.cluster, options);
    match options.external {
        External::Any => any(&outside, learned),
        _ => aggregate(&outside, options, learned),
    }
}

/// For each port, the blocks within the budget that take in the least; where there are none, all stays as it is. So
/// does what would be wider in a family of which it is not known where pods may be.
fn aggregate(outside: &Outside, options: &Options, learned: &mut [Learned]) -> Vec<Told> {
    let mut by_port: BTreeMap<(Protocol, (u16, u16)), Found> = BTreeMap::new();
    for (number, one) in learned.iter().enumerate() {
        if let Some(address) = one.external() {
            let port = (one.support.edge.protocol, one.ports());
            let (addresses, numbers) = by_port.entry(port).or_default();
            addresses.insert(address);
            numbers.push(number);
        }
    }
    let mut by_blocks: BTreeMap<BTreeSet<Block>, Found> = BTreeMap::new();
    let mut gaps: BTreeSet<Gap> = BTreeSet::new();
    for (mut addresses, mut numbers) in by_port.into_values() {
        let is_unknown = |address: &IpAddr| outside.gap_of_pods(*address).is_some();
        let unknown: BTreeSet<IpAddr> = addresses.extract_if(.., |one| is_unknown(one)).collect();
        numbers.retain(|number| {
            let address = learned[*number].external();
            !address.is_some_and(|address| is_unknown(&address))
        });
        let wanted = blocks(outside, options, &unknown);
        if wanted.is_some_and(|wanted| !beyond(&wanted, &unknown).is_none()) {
            let gap = |address: &IpAddr| outside.gap_of_pods(*address).cloned();
            gaps.extend(unknown.iter().filter_map(gap));
        }
        let Some(blocks) = blocks(outside, options, &addresses) else {
            continue;
        };
        let wider = !beyond(&blocks, &addresses).is_none();
        for number in &numbers {
            learned[*number].stand_in(wide(&blocks), wider.then_some(WrittenAs::Blocks));
        }
        if wider {
            let (seen, all) = by_blocks.entry(blocks).or_default();
            seen.extend(addresses);
            all.extend(numbers);
        }
    }
    let said = by_blocks.into_iter().map(|(blocks, (seen, numbers))| {
        Told::Wider(Widening::Blocks {
            written_as: WrittenAs::Blocks,
            beyond: beyond(&blocks, &seen),
            blocks,
            peers: seen.into_iter().map(Peer::External).collect(),
            ports: specs(numbers.into_iter().map(|number| &learned[number])),
            within: None,
        })
    });
    gaps.into_iter().map(Told::Unknown).chain(said).collect()
}

/// The best blocks of each family, if they are within the budget.
fn blocks(
    outside: &Outside,
    options: &Options,
    addresses: &BTreeSet<IpAddr>,
) -> Option<BTreeSet<Block>> {
    let budget = options.budget;
    let mut blocks = Vec::new();
    for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        let own: BTreeSet<IpAddr> = addresses.iter().copied().filter(family).collect();
        let allowed = |block: &IpNet| outside.holds_all(block);
        let Some(frontier) = Frontier::new(&own, budget.blocks, &allowed) else {
            continue;
        };
        let (best, beyond) = frontier.least(budget.blocks)?;
        let within = |block: &IpNet| units(*block, beyond) <= u128::from(budget.beyond);
        if !best.iter().all(within) {
            return None;
        }
        blocks.extend(best);
    }
    Some(plain(blocks))
}

/// Everything outside the cluster, of the families that were seen. What was seen in a part that is never written so
/// stays as it is, and so does all where the cluster's own ranges are not known.
fn any(outside: &Outside, learned: &mut [Learned]) -> Vec<Told> {
    let seen: BTreeSet<IpAddr> = learned.iter().filter_map(Learned::external).collect();
    let mut said: Vec<Told> = outside.gaps(&seen).into_iter().map(Told::Unknown).collect();
    for block in outside.blocks(&seen) {
        let (mut addresses, mut numbers) = Found::default();
        for (number, one) in learned.iter().enumerate() {
            if let Some(address) = one.external().filter(|address| block.contains(*address)) {
                addresses.insert(address);
                numbers.push(number);
            }
        }
        if numbers.is_empty() {
            continue;
        }
        let blocks = BTreeSet::from([block]);
        for number in &numbers {
            learned[*number].stand_in(wide(&blocks), Some(WrittenAs::Outside));
        }
        said.push(Told::Wider(Widening::Blocks {
            written_as: WrittenAs::Outside,
            beyond: beyond(&blocks, &addresses),
            blocks,
            peers: addresses.into_iter().map(Peer::External).collect(),
            ports: specs(numbers.into_iter().map(|number| &learned[number])),
            within: None,
        }));
    }
    said
}
