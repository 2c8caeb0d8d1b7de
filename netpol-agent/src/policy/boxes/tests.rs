//! The largest boxes and the smallest around some points, against all boxes that there are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

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
