//! Properties of the index over random clusters and random histories.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use jiff::{SignedDuration, Timestamp};
use netpol_agent::identity::objects::{NamespacedName, Object, Pod};
use netpol_agent::identity::{Index, Peer, Resolution, Sighting};
use netpol_common::names::WorkloadName;
use netpol_common::record::Endpoint;
use netpol_common::words::Protocol;
use proptest::prelude::*;

use crate::sightings::at;

/// One pod's life: its address, and when it was created and deleted, in seconds.
#[derive(Clone, Debug)]
struct Life {
    name: String,
    address: u8,
    from: i64,
    /// `None`: it is still there.
    to: Option<i64>,
}

fn second(second: i64) -> Timestamp {
    at("10:00:00")
        .saturating_add(SignedDuration::from_secs(second))
        .expect("a time of that day")
}

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 1, 0, number).into()
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (0_u8..4, 0_i64..100, 1_i64..60, any::<bool>());
    proptest::collection::vec(life, 1..12).prop_map(|lives| {
        let numbered = lives.into_iter().enumerate();
        numbered
            .map(|(number, (address, from, length, gone))| Life {
                name: format!("p{number}"),
                address,
                from,
                to: gone.then_some(from + length),
            })
            .collect()
    })
}

impl Life {
    fn pod(&self) -> Object {
        Object::Pod(Pod {
            name: NamespacedName {
                namespace: "t".to_owned(),
                name: self.name.clone(),
            },
            uid: self.name.clone(),
            ips: vec![address(self.address)],
            created: Some(second(self.from)),
            ..Pod::default()
        })
    }

    fn had(&self, number: u8, at: i64) -> bool {
        self.address == number && self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// An index that saw the lives in the order given; of each pod its beginning before its end.
fn seen(lives: &[Life], order: &[usize]) -> Index {
    let mut index = Index::default();
    let mut begun = BTreeSet::new();
    for each in order {
        let life = &lives[*each];
        if begun.insert(*each) {
            index.apply(life.pod(), second(life.from));
        } else if let Some(to) = life.to {
            index.delete(&life.pod().key(), second(to));
        }
    }
    index
}

/// Each number twice, shuffled.
fn order(length: usize) -> impl Strategy<Value = Vec<usize>> {
    let twice: Vec<usize> = (0..length).chain(0..length).collect();
    Just(twice).prop_shuffle()
}

fn client(index: &Index, number: u8, at: i64) -> Resolution {
    index.resolve(&Sighting {
        client: Endpoint::Ip(address(number)),
        server: Endpoint::Ip(Ipv4Addr::new(203, 0, 113, 1).into()),
        protocol: Protocol::Tcp,
        port: 80,
        span: Some((second(at), second(at))),
        view: None,
    })
}

/// Who the sighting says the client is, if it can be told.
fn told(resolution: &Resolution) -> Option<&Peer> {
    match resolution {
        Resolution::Edges(edges) => edges.first().map(|(id, _)| &id.client),
        Resolution::Unresolved(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tells_the_one_owner_of_the_time_or_none(
        (lives, order) in lives().prop_flat_map(|lives| { let length = lives.len(); (Just(lives), order(length)) }),
    ) {
        let index = seen(&lives, &order);
        for number in 0..4 {
            for at in (0..170).step_by(3) {
                let owners: Vec<&Life> = lives.iter().filter(|life| life.had(number, at)).collect();
                let resolution = client(&index, number, at);
                let expected = match owners.as_slice() {
                    [one] => Some(Peer::Workload(WorkloadName::new("t", "Pod", &one.name))),
                    [] if lives.iter().all(|life| life.address / 4 != number / 4) => {
                        Some(Peer::External(address(number)))
                    }
                    _ => None,
                };
                prop_assert_eq!(told(&resolution), expected.as_ref(), "{} at {}: {:?}", number, at, resolution);
            }
        }
    }

    #[test]
    fn the_order_of_events_of_different_pods_does_not_matter(
        (lives, one, other) in lives().prop_flat_map(|lives| {
            let length = lives.len();
            (Just(lives), order(length), order(length))
        }),
    ) {
        let (one, other) = (seen(&lives, &one), seen(&lives, &other));
        for number in 0..4 {
            for at in (0..170).step_by(7) {
                prop_assert_eq!(client(&one, number, at), client(&other, number, at));
            }
        }
    }

    #[test]
    fn pruning_changes_nothing_after_its_time(lives in lives(), before in 0_i64..160) {
        let order: Vec<usize> = (0..lives.len()).chain(0..lives.len()).collect();
        let whole = seen(&lives, &order);
        let mut pruned = whole.clone();
        pruned.prune(second(before));
        for number in 0..4 {
            for at in before + 1..165 {
                let (whole, pruned) = (client(&whole, number, at), client(&pruned, number, at));
                prop_assert!(told(&whole) == told(&pruned) || told(&whole).is_none());
            }
        }
    }

    #[test]
    fn a_list_after_missed_events_never_names_a_pod_before_its_creation(lives in lives(), cut in 0_i64..160) {
        let mut index = Index::default();
        let there = |life: &&Life| life.from <= cut && life.to.is_none_or(|to| cut < to);
        index.reset(lives.iter().filter(there).map(Life::pod).collect(), second(cut));
        index.reset(lives.iter().filter(|life| life.to.is_none()).map(Life::pod).collect(), second(200));
        for number in 0..4 {
            for at in (0..200).step_by(5) {
                let resolution = client(&index, number, at);
                let Some(Peer::Workload(workload)) = told(&resolution) else { continue };
                let life = lives.iter().find(|life| life.name == workload.name).expect("one of them");
                prop_assert!(life.from <= at && life.address == number, "{:?} at {}", life, at);
            }
        }
    }
}
