//! Takes from a cover what it does not need, so that no rule, entry, label value or end of a range can go.

use super::{Rectangle, Relation, Set, union};

/// Drops entries that others cover, and draws in those that reach further than they must.
pub(super) fn tidy(relation: &Relation<'_>, rectangles: &mut Vec<Rectangle>) {
    for number in 0..rectangles.len() {
        for place in (0..rectangles[number].boxes.len()).rev() {
            let needed = needed_units(relation, rectangles, number, place);
            let boxes = &mut rectangles[number].boxes;
            match needed.is_empty() {
                true => drop(boxes.remove(place)),
                false => boxes[place] = relation.peers.hull(&needed),
            }
        }
        for place in (0..rectangles[number].runs.len()).rev() {
            let needed = needed_columns(relation, rectangles, number, place);
            let runs = &mut rectangles[number].runs;
            match needed.is_empty() {
                true => drop(runs.remove(place)),
                false => runs[place] = relation.columns.hull(&needed),
            }
        }
    }
    // A unit that needs the rule has a column that does, so that both lists are empty or none is.
    rectangles.retain(|one| !one.boxes.is_empty());
}

/// The units of a box that are covered by nothing else on some column.
fn needed_units(
    relation: &Relation<'_>,
    rectangles: &[Rectangle],
    number: usize,
    place: usize,
) -> Set {
    let own = &rectangles[number];
    let elsewhere = union(without(&own.boxes, place));
    let columns = own.columns();
    let units = own.boxes[place].less(&elsewhere);
    let covered = covered(relation, rectangles, number);
    units
        .iter()
        .filter(|unit| !columns.is_within(&covered[*unit]))
        .collect()
}

/// The columns of a run that some unit has by nothing else.
fn needed_columns(
    relation: &Relation<'_>,
    rectangles: &[Rectangle],
    number: usize,
    place: usize,
) -> Set {
    let own = &rectangles[number];
    let elsewhere = union(without(&own.runs, place));
    let columns = own.runs[place].less(&elsewhere);
    let covered = covered(relation, rectangles, number);
    let units = own.units();
    columns
        .iter()
        .filter(|column| units.iter().any(|unit| !covered[unit].contains(*column)))
        .collect()
}

/// The columns on which each unit is covered by rectangles other than one.
fn covered(relation: &Relation<'_>, rectangles: &[Rectangle], except: usize) -> Vec<Set> {
    let mut covered = vec![Set::default(); relation.rows.len()];
    let others = rectangles.iter().enumerate();
    for (_, other) in others.filter(|(number, _)| *number != except) {
        let columns = other.columns();
        for unit in other.units().iter() {
            covered[unit] = covered[unit].or(&columns);
        }
    }
    covered
}

fn without(sets: &[Set], place: usize) -> impl Iterator<Item = &Set> {
    let numbered = sets.iter().enumerate();
    numbered
        .filter(move |(number, _)| *number != place)
        .map(|(_, set)| set)
}
