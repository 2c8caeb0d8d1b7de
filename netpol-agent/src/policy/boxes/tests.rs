//! The largest boxes and the smallest around some points, against all boxes that there are.

use std::collections::BTreeSet;

use netpol_common::names::WorkloadName;
use proptest::prelude::*;

use super::*;
use crate::policy::model::Selector;

/// How many values each dimension has.
const SIZES: [u32; 3] = [3, 3, 2];

type Points = BTreeSet<Vec<u32>>;

fn any_points() -> impl Strategy<Value = Points> {
    let point = (0..SIZES[0], 0..SIZES[1], 0..SIZES[2]);
    prop::collection::btree_set(point.prop_map(|(a, b, c)| vec![a, b, c]), 1..16)
}

/// Every box of which all points are there.
fn boxes(points: &Points) -> Vec<Points> {
    let sides = SIZES.map(|size| 1u32..1 << size);
    let [first, second, third] = sides;
    let all = first.flat_map(|a| {
        let third = third.clone();
        second
            .clone()
            .flat_map(move |b| third.clone().map(move |c| [a, b, c]))
    });
    let whole = all.map(|sides| {
        let mut held = vec![Vec::new()];
        for (side, size) in sides.into_iter().zip(SIZES) {
            let values = (0..size).filter(|value| side >> value & 1 == 1);
            let values: Vec<u32> = values.collect();
            held = held
                .iter()
                .flat_map(|point: &Vec<u32>| {
                    let longer = values.iter().map(|value| [&point[..], &[*value]].concat());
                    longer.collect::<Vec<_>>()
                })
                .collect();
        }
        held.into_iter().collect::<Points>()
    });
    whole.filter(|one| one.is_subset(points)).collect()
}

/// Workloads of some namespaces, each selected by an application and a tier, as an atlas, and where each lies.
fn spots(points: &[[&str; 3]]) -> (Atlas, Vec<Spot>) {
    let of = |[namespace, app, tier]: &[&str; 3]| {
        let labels = [("app", *app), ("tier", *tier)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let name = WorkloadName::new(*namespace, "Deployment", "w");
        (name, Selector::from_iter(labels))
    };
    let all: Vec<(WorkloadName, Selector)> = points.iter().map(of).collect();
    let mut atlas = Atlas::of(all.iter().map(|(name, selector)| (name, selector)));
    let spots = all
        .iter()
        .map(|(name, selector)| atlas.spot(name, selector).expect("it is known"));
    let spots = spots.collect();
    (atlas, spots)
}

/// How many values each dimension has after those that are interchangeable are one.
fn values(points: &[([&str; 3], usize)]) -> Vec<usize> {
    let places: Vec<[&str; 3]> = points.iter().map(|(place, _)| *place).collect();
    let (atlas, spots) = spots(&places);
    let classes = points.iter().map(|(_, class)| *class);
    let (space, _) = Space::of(&atlas, 0, spots.iter().zip(classes));
    space.values.iter().map(Vec::len).collect()
}

#[test]
fn values_that_are_interchangeable_are_one() {
    let all = [
        ["a", "x", "1"],
        ["a", "x", "2"],
        ["a", "y", "1"],
        ["a", "y", "2"],
    ];
    assert_eq!(values(&all.map(|place| (place, 0))), [1, 1, 1]);
    // One of another class keeps the applications apart, and the tiers.
    assert_eq!(
        values(&[(all[0], 1), (all[1], 0), (all[2], 0), (all[3], 0)]),
        [1, 2, 2]
    );
    // The applications are one as soon as the tiers are, which come after them.
    let last = [(["a", "x", "1"], 0), (["a", "y", "2"], 0)];
    assert_eq!(values(&last), [1, 2, 2]);
    let late = [
        (["a", "x", "1"], 0),
        (["a", "x", "2"], 0),
        (["b", "y", "1"], 1),
        (["b", "y", "2"], 1),
    ];
    assert_eq!(values(&late), [2, 2, 1]);
}

#[test]
fn points_that_no_change_of_one_value_leads_between_are_apart() {
    let points: [&[u32]; 4] = [&[0, 0, 0], &[0, 1, 0], &[1, 2, 0], &[2, 1, 0]];
    let numbered: Vec<(usize, &[u32])> = points.into_iter().enumerate().collect();
    let clusters = Cluster::of(&numbered);
    let units: Vec<Vec<usize>> = clusters
        .iter()
        .map(|cluster| cluster.units().collect())
        .collect();
    assert_eq!(units, [&[0, 1, 3][..], &[2]]);
}

/// As many boxes are looked at as may be, and with one more there are too many.
#[test]
fn as_many_boxes_are_made_as_may_be() {
    // Of points whose values sum up to the same, modulo how many there are, no two join.
    let largest = |count: usize| {
        let values = |number: u32| (0..6).map(move |place| number >> (2 * place) & 3);
        let points = (0..1 << 12).filter(|number| values(*number).sum::<u32>().is_multiple_of(4));
        let points = points.take(count).enumerate();
        let points = points.map(|(unit, number)| (unit, Some(values(number).collect())));
        let cluster = Cluster {
            points: points.collect(),
            is_line: false,
        };
        cluster.largest(&Set::below(count)).map(|boxes| boxes.len())
    };
    assert_eq!([largest(MOST), largest(MOST + 1)], [Some(MOST), None]);
}

proptest! {
    #[test]
    fn largest_boxes_are_those_in_no_other(points in any_points(), left_out in prop::collection::vec(prop::bool::weighted(0.2), 16)) {
        let points: Vec<Vec<u32>> = points.into_iter().collect();
        let numbered: Vec<(usize, &[u32])> = points.iter().map(Vec::as_slice).enumerate().collect();
        let within: Set = (0..points.len()).filter(|number| !left_out[*number]).collect();
        let mut found: Vec<Points> = Vec::new();
        for cluster in Cluster::of(&numbered) {
            let largest = cluster.largest(&within).expect("few boxes");
            found.extend(largest.iter().map(|units| units.iter().map(|unit| points[unit].clone()).collect()));
            let own: Vec<&Vec<u32>> = cluster.units().map(|unit| &points[unit]).collect();
            let values = |dimension: usize| own.iter().map(|point| point[dimension]).collect::<BTreeSet<u32>>();
            let wide = (0..SIZES.len()).filter(|dimension| values(*dimension).len() > 1);
            prop_assert_eq!(cluster.is_line(), wide.count() <= 1);
            prop_assert!(!cluster.is_line() || largest.len() <= 1, "{:?}", largest);
        }
        found.sort();
        let inside: Points = within.iter().map(|unit| points[unit].clone()).collect();
        let all = boxes(&inside);
        let mut largest: Vec<Points> = all.iter().filter(|one| !all.iter().any(|other| *one != other && one.is_subset(other))).cloned().collect();
        largest.sort();
        prop_assert_eq!(found, largest);
    }

    #[test]
    fn a_hull_is_the_smallest_box(points in any_points(), chosen in prop::collection::vec(any::<bool>(), 16)) {
        let points: Vec<Vec<u32>> = points.into_iter().collect();
        let numbered: Vec<(usize, &[u32])> = points.iter().map(Vec::as_slice).enumerate().collect();
        for cluster in Cluster::of(&numbered) {
            let own: Vec<usize> = cluster.units().collect();
            let chosen: Set = own.iter().copied().filter(|unit| chosen[*unit]).collect();
            if chosen.is_empty() {
                continue;
            }
            let is_between = |unit: &usize| (0..SIZES.len()).all(|dimension| {
                chosen.iter().any(|other| points[other][dimension] == points[*unit][dimension])
            });
            let expected: Set = own.into_iter().filter(is_between).collect();
            prop_assert_eq!(cluster.hull(&chosen), expected);
        }
    }
}
