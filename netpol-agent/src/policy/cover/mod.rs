//! The fewest rules that allow exactly the pairs of a relation between peers and ports.
//!
//! A rule allows each of its peers on each of its ports, so rules are rectangles in the relation, and a set of rules
//! is a cover of it by rectangles, which may overlap. It is to have as few rules as possible; of such covers, the
//! fewest entries of peers, then the fewest entries of ports. That is a hard problem (it contains the least biclique
//! cover), so the search is exact where the relation is small and bounded in steps elsewhere, and tells how far from
//! the least its answer may be. Steps are counted, not timed: the same relation always gives the same cover.
//!
//! [`Relation`] knows nothing of labels and port numbers: [`Peers`] tells which units one entry can stand for.

mod concepts;
mod forced;
mod plain;
mod search;
mod set;
mod tidy;

#[cfg(test)]
mod tests;

pub(super) use forced::{Lines, bits};
pub(super) use set::{CAPACITY, Set};

/// How many steps the search of one relation may take.
const STEPS: usize = 20_000;
/// How often pairs may be compared in all steps of a search together: a step compares each with each, so that the
/// search of a relation with more than 30 pairs has fewer steps.
const COMPARISONS: usize = STEPS * 30 * 30;

/// Which units one entry of a list of peers can stand for.
pub(super) trait Peers {
    /// The largest sets of units that one entry can stand for, all of `within`; `None` if there are too many.
    fn largest(&self, within: &Set) -> Option<Vec<Set>>;
    /// The least set of units that one entry can stand for and that holds all of `units`, which one entry can.
    fn hull(&self, units: &Set) -> Set;
}

/// Units of peers, and the columns of ports that each is related to. It is connected: no two parts of it share
/// neither a unit nor a column.
pub(super) struct Relation<'a> {
    /// The columns of each unit.
    pub(super) rows: Vec<Set>,
    pub(super) columns: Columns,
    pub(super) peers: &'a dyn Peers,
}

/// Ports that belong together, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// Whether a column continues the one before it, so that one entry can stand for both.
    pub(super) joined: Vec<bool>,
    /// How many entries each needs if it stands alone.
    pub(super) weights: Vec<usize>,
}

/// One rule: every unit of its boxes on every column of its runs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Rectangle {
    pub(super) boxes: Vec<Set>,
    pub(super) runs: Vec<Set>,
}

/// A number of rules, of entries of peers, and of entries of ports: what is to be least, in this order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Cost {
    pub(super) rules: usize,
    pub(super) peers: usize,
    pub(super) ports: usize,
}

/// A cover, and what no cover is below.
#[derive(Clone, Debug)]
pub(super) struct Cover {
    pub(super) rectangles: Vec<Rectangle>,
    pub(super) cost: Cost,
    /// Equal to `cost` if the cover is proved to be the least.
    pub(super) bound: Cost,
}

/// How many steps the search of a relation with so many pairs may take.
fn steps(pairs: usize) -> usize {
    STEPS.min(COMPARISONS / (pairs * pairs).max(1))
}

impl Relation<'_> {
    /// A least cover as far as the search goes.
    pub(super) fn cover(&self) -> Cover {
        let pairs: usize = self.rows.iter().map(Set::len).sum();
        self.cover_within(steps(pairs))
    }

    fn cover_within(&self, steps: usize) -> Cover {
        let found = match concepts::concepts(self) {
            Some(concepts) => search::search(self, &concepts, steps),
            None => None,
        };
        let (mut rectangles, bound) = found.unwrap_or_else(|| plain::cover(self));
        tidy::tidy(self, &mut rectangles);
        let cost = self.cost(&rectangles);
        Cover {
            rectangles,
            cost,
            bound: bound.min(cost),
        }
    }

    fn cost(&self, rectangles: &[Rectangle]) -> Cost {
        let runs = rectangles.iter().flat_map(|one| &one.runs);
        Cost {
            rules: rectangles.len(),
            peers: rectangles.iter().map(|one| one.boxes.len()).sum(),
            ports: runs.map(|run| self.columns.weight_of(run)).sum(),
        }
    }
}

impl Columns {
    /// Columns in order as the longest runs.
    pub(super) fn chunks(&self, columns: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut runs: Vec<Vec<usize>> = Vec::new();
        for column in columns {
            match runs.last_mut() {
                Some(run) if self.joined[column] && run.last() == Some(&(column - 1)) => {
                    run.push(column);
                }
                _ => runs.push(vec![column]),
            }
        }
        runs
    }

    /// How many entries a run needs.
    pub(super) fn weight(&self, run: &[usize]) -> usize {
        match run {
            [column] => self.weights[*column],
            _ => 1,
        }
    }

    /// The longest runs within a set of columns.
    fn runs(&self, within: &Set) -> Vec<Set> {
        let chunks = self.chunks(within.iter()).into_iter();
        chunks.map(|run| run.into_iter().collect()).collect()
    }

    /// The columns from the first to the last of some that are of one run.
    fn hull(&self, columns: &Set) -> Set {
        let (first, last) = (columns.iter().next(), columns.iter().last());
        first
            .zip(last)
            .map(|(first, last)| (first..=last).collect())
            .unwrap_or_default()
    }

    fn weight_of(&self, run: &Set) -> usize {
        self.weight(&run.iter().collect::<Vec<_>>())
    }
}

impl Cost {
    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            rules: self.rules + more.rules,
            peers: self.peers + more.peers,
            ports: self.ports + more.ports,
        }
    }
}

impl Rectangle {
    /// The units of all its boxes.
    pub(super) fn units(&self) -> Set {
        union(&self.boxes)
    }

    /// The columns of all its runs.
    pub(super) fn columns(&self) -> Set {
        union(&self.runs)
    }
}

fn union<'a>(sets: impl IntoIterator<Item = &'a Set>) -> Set {
    sets.into_iter()
        .fold(Set::default(), |all, set| all.or(set))
}
