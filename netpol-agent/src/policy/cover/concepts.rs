//! The largest rectangles of a relation: no unit and no column can be added to one of them.
//!
//! They are the formal concepts of the relation. Every rule is within one of them, so a least cover needs no others.

use std::collections::BTreeSet;

use super::{CAPACITY, Relation, Set};

/// With more of them than this, the relation is not searched.
const MOST: usize = 128;

// The search keeps sets of them.
const _: () = assert!(MOST <= CAPACITY);

/// A largest rectangle, and the entries that its rule may have.
pub(super) struct Concept {
    pub(super) units: Set,
    pub(super) columns: Set,
    pub(super) boxes: Vec<Set>,
    pub(super) runs: Vec<Set>,
}

/// All of them, in the order of their columns; `None` if there are too many.
pub(super) fn concepts(relation: &Relation<'_>) -> Option<Vec<Concept>> {
    let mut all: BTreeSet<Set> = BTreeSet::new();
    let rows: BTreeSet<Set> = relation.rows.iter().copied().collect();
    for row in rows {
        let common: Vec<Set> = all.iter().map(|columns| columns.and(&row)).collect();
        all.extend(common.into_iter().filter(|columns| !columns.is_empty()));
        all.insert(row);
        if all.len() > MOST {
            return None;
        }
    }
    all.into_iter()
        .map(|columns| concept(relation, columns))
        .collect()
}

fn concept(relation: &Relation<'_>, columns: Set) -> Option<Concept> {
    let rows = relation.rows.iter().enumerate();
    let units: Set = rows
        .filter(|(_, row)| columns.is_within(row))
        .map(|(unit, _)| unit)
        .collect();
    Some(Concept {
        units,
        columns,
        boxes: relation.peers.largest(&units)?,
        runs: relation.columns.runs(&columns),
    })
}
