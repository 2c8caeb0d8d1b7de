//! Covers of relations that are too large to be searched: one rule for units with equal columns, or one for columns
//! with equal units, whichever costs less.

use std::collections::BTreeMap;

use super::{Cost, Rectangle, Relation, Set};

/// A cover, and a lower bound of its cost: every rule has an entry of each kind.
pub(super) fn cover(relation: &Relation<'_>) -> (Vec<Rectangle>, Cost) {
    let by_rows = by_rows(relation);
    let by_columns = by_columns(relation);
    let bound = bound(relation);
    match relation.cost(&by_columns) < relation.cost(&by_rows) {
        true => (by_columns, bound),
        false => (by_rows, bound),
    }
}

fn by_rows(relation: &Relation<'_>) -> Vec<Rectangle> {
    let mut alike: BTreeMap<Set, Set> = BTreeMap::new();
    for (unit, row) in relation.rows.iter().enumerate() {
        alike.entry(*row).or_default().insert(unit);
    }
    let rectangles = alike.into_iter();
    rectangles
        .map(|(columns, units)| rectangle(relation, units, columns))
        .collect()
}

fn by_columns(relation: &Relation<'_>) -> Vec<Rectangle> {
    let mut alike: BTreeMap<Set, Set> = BTreeMap::new();
    for column in 0..relation.columns.weights.len() {
        alike
            .entry(units_of(relation, column))
            .or_default()
            .insert(column);
    }
    let rectangles = alike.into_iter();
    rectangles
        .map(|(units, columns)| rectangle(relation, units, columns))
        .collect()
}

fn units_of(relation: &Relation<'_>, column: usize) -> Set {
    let rows = relation.rows.iter().enumerate();
    rows.filter(|(_, row)| row.contains(column))
        .map(|(unit, _)| unit)
        .collect()
}

/// The units on the columns, with few entries: the entry that stands for most units that none yet does comes next.
fn rectangle(relation: &Relation<'_>, units: Set, columns: Set) -> Rectangle {
    let single = |unit| [unit].into_iter().collect();
    let largest = relation.peers.largest(&units);
    let largest = largest.unwrap_or_else(|| units.iter().map(single).collect());
    let mut open = units;
    let mut boxes = Vec::new();
    while let Some(next) = largest
        .iter()
        .max_by_key(|one| one.and(&open).len())
        .filter(|_| !open.is_empty())
    {
        open = open.less(next);
        boxes.push(*next);
    }
    Rectangle {
        boxes,
        runs: relation.columns.runs(&columns),
    }
}

/// Pairs of which no two can share a rule, as many as are found by taking the first first.
fn bound(relation: &Relation<'_>) -> Cost {
    let mut apart: Vec<(usize, usize)> = Vec::new();
    for (unit, row) in relation.rows.iter().enumerate() {
        for column in row.iter() {
            let shares = |(other, its): &(usize, usize)| {
                row.contains(*its) && relation.rows[*other].contains(column)
            };
            if !apart.iter().any(shares) {
                apart.push((unit, column));
            }
        }
    }
    Cost {
        rules: apart.len(),
        peers: apart.len(),
        ports: apart.len(),
    }
}
