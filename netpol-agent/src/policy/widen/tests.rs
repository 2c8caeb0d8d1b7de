//! The best blocks, against every set of blocks that there is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::blocks::Frontier;

/// Every block inside 10.0.0.0/28.
fn all_blocks() -> Vec<IpNet> {
    let lengths = 28u8..=32;
    let all = lengths.flat_map(|length| {
        let step = 1usize << (32 - length);
        (0..16u8)
            .step_by(step)
            .map(move |last| IpNet::new([10, 0, 0, last].into(), length).unwrap())
    });
    all.collect()
}

fn addresses(last: &BTreeSet<u8>) -> BTreeSet<IpAddr> {
    last.iter().map(|last| [10, 0, 0, *last].into()).collect()
}

/// The least that at most `left` of the blocks take in beyond the addresses, by trying all sets of them.
fn brute(blocks: &[IpNet], last: &BTreeSet<u8>, left: usize) -> Option<usize> {
    fn search(
        blocks: &[IpNet],
        held: &BTreeSet<u8>,
        last: &BTreeSet<u8>,
        left: usize,
    ) -> Option<usize> {
        let done = last.is_subset(held).then(|| held.difference(last).count());
        if left == 0 || done.is_some() {
            return done;
        }
        let missing = *last.difference(held).next()?;
        let around = blocks
            .iter()
            .filter(|block| block.contains(&IpAddr::from([10, 0, 0, missing])));
        let tried = around.filter_map(|block| {
            let inside = (0..16).filter(|last| block.contains(&IpAddr::from([10, 0, 0, *last])));
            let held = held.iter().copied().chain(inside).collect();
            search(blocks, &held, last, left - 1)
        });
        tried.min()
    }
    search(blocks, &BTreeSet::new(), last, left)
}

proptest! {
    /// No other blocks hold the addresses and take in less; and no fewer blocks take in as little.
    #[test]
    fn blocks_are_the_best(
        last in prop::collection::btree_set(0u8..16, 1..9),
        most in 1usize..6,
        banned in prop::collection::btree_set(0u8..16, 0..4),
    ) {
        let all = all_blocks();
        let allowed = |block: &IpNet| {
            let holds = |last: &u8| block.contains(&IpAddr::from([10, 0, 0, *last]));
            block.prefix_len() == 32 || !banned.iter().any(holds)
        };
        let usable: Vec<IpNet> = all.iter().copied().filter(|block| allowed(block)).collect();
        let frontier = Frontier::new(&addresses(&last), most, &allowed).unwrap();
        let found = frontier.least(most);
        let best = brute(&usable, &last, most);
        prop_assert_eq!(found.as_ref().map(|(_, beyond)| *beyond), best.map(|best| best as u128));
        if let Some((blocks, beyond)) = found {
            prop_assert!(blocks.len() <= most);
            let held: BTreeSet<u8> = (0..16).filter(|last| blocks.iter().any(|block| block.contains(&IpAddr::from([10, 0, 0, *last])))).collect();
            prop_assert!(last.is_subset(&held));
            prop_assert_eq!(held.len() - last.len(), beyond as usize);
            prop_assert!(blocks.len() == 1 || brute(&usable, &last, blocks.len() - 1) != best);
        }
    }
}

#[test]
fn the_fewest_blocks_within_a_budget() {
    let addresses: BTreeSet<IpAddr> = ["10.0.0.1", "10.0.0.2", "10.0.7.1"]
        .map(|a| a.parse().unwrap())
        .into();
    let frontier = Frontier::new(&addresses, 8, &|_| true).unwrap();
    let written = |beyond| {
        frontier
            .fewest(beyond)
            .map(|blocks| blocks.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(written(65_536), Some(vec!["10.0.0.0/21".to_owned()]));
    assert_eq!(
        written(100),
        Some(vec!["10.0.0.0/30".to_owned(), "10.0.7.1/32".to_owned()])
    );
    assert_eq!(written(1).map(|blocks| blocks.len()), Some(3));
}

#[test]
fn ipv6_is_counted_in_networks() {
    let addresses: BTreeSet<IpAddr> = ["2001:db8::1", "2001:db8::ffff"]
        .map(|a| a.parse().unwrap())
        .into();
    let frontier = Frontier::new(&addresses, 1, &|_| true).unwrap();
    let block: IpNet = "2001:db8::/112".parse().unwrap();
    assert_eq!(frontier.fewest(0), Some(vec![block]));
    let all: BTreeSet<IpAddr> = ["::1", "ffff::1"].map(|a| a.parse().unwrap()).into();
    let frontier = Frontier::new(&all, 1, &|_| true).unwrap();
    assert_eq!(
        frontier.fewest(u64::MAX - 1),
        None,
        "::/0 holds 2^64 networks"
    );
}
