//! Relations of which the least cover is forced, so that it is known without a search.
//!
//! Units lie on lines: one entry stands for any units of one line, and none for units of two. Most relations are like
//! that, and in most of them every rule is forced. The proof takes largest rectangles that cover the relation, and of
//! each a pair of a unit and a column such that no two of these pairs can share a rule (a fooling set). Then no cover
//! has fewer rules. A pair that can share a rule with one of them only must be covered by the rule of that one, so
//! the rule is drawn in to what these pairs have in common. If that is the largest rectangle itself, every cover with
//! as few rules has exactly one within each of the rectangles. What only one of them can cover is then forced too.

use super::Columns;

/// How many columns, and rules, there may be.
const WIDTH: usize = u64::BITS as usize;

/// A relation of units on lines, those with the same columns on the same line being one.
pub(crate) struct Lines<'a> {
    /// The columns of each class, as bits: no two classes have the same.
    pub(crate) rows: &'a [u64],
    /// The classes on each line.
    pub(crate) lines: &'a [Vec<usize>],
    pub(crate) columns: &'a Columns,
}

/// A rule that is forced.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Forced {
    /// Its columns, as bits.
    pub(crate) columns: u64,
    /// The lines on it, each with the classes there: one entry each.
    pub(crate) entries: Vec<(usize, Vec<usize>)>,
}

/// Rules in which every least cover has one rule each, and what they can cover.
struct Open {
    /// The columns of each.
    rules: Vec<u64>,
    /// The rules that each class can be on.
    within: Vec<u64>,
    /// The rules that have each column.
    bearing: Vec<u64>,
}

impl Lines<'_> {
    /// The rules of the only cover that may be the least; `None` if that is not proved.
    pub(crate) fn cover(&self) -> Option<Vec<Forced>> {
        if self.columns.weights.len() > WIDTH {
            return None;
        }
        self.cover_by(self.of_columns())
            .or_else(|| self.cover_by(self.of_rows()))
    }

    fn cover_by(&self, mut rules: Vec<u64>) -> Option<Vec<Forced>> {
        rules.sort_unstable();
        rules.dedup();
        if rules.len() > WIDTH {
            return None;
        }
        self.drop_covered(&mut rules);
        if !self.is_only(&rules) {
            return None;
        }
        let open = Open::of(self, rules);
        let lines = self.lines.iter();
        let chosen: Vec<u64> = lines.map(|line| open.chosen(self.rows, line)).collect();
        let narrow = open.narrow(self, &chosen)?;
        Some(self.tidy(narrow, &open.within, &chosen))
    }

    /// For each column, what all that have it have in common.
    fn of_columns(&self) -> Vec<u64> {
        let common = |column: usize| {
            let bearers = self.rows.iter().filter(|row| has(**row, column));
            bearers.fold(u64::MAX, |common, row| common & row)
        };
        (0..self.columns.weights.len()).map(common).collect()
    }

    fn of_rows(&self) -> Vec<u64> {
        self.rows.to_vec()
    }

    /// Drops rules that the others cover.
    fn drop_covered(&self, rules: &mut Vec<u64>) {
        let mut number = 0;
        while number < rules.len() {
            let own = rules[number];
            let others = rules.iter().enumerate();
            let others: Vec<u64> = others
                .filter(|(other, columns)| *other != number && **columns & own != 0)
                .map(|(_, columns)| *columns)
                .collect();
            let is_covered = |row: &u64| own & !covered(*row, &others) == 0;
            let mut holders = self.rows.iter().filter(|row| own & !**row == 0);
            match !others.is_empty() && holders.all(is_covered) {
                true => drop(rules.remove(number)),
                false => number += 1,
            }
        }
    }

    /// Whether these rules, as large as can be, cover the relation, and every cover with as few has one within each.
    fn is_only(&self, rules: &[u64]) -> bool {
        if !self.rows.iter().all(|row| covered(*row, rules) == *row) {
            return false;
        }
        let pairs: Option<Vec<(u64, usize)>> =
            rules.iter().map(|rule| self.telling(*rule)).collect();
        let Some(pairs) = pairs else { return false };
        let columns = set(pairs.iter().map(|(_, column)| *column));
        if columns.count_ones() as usize != rules.len() {
            return false;
        }
        // The columns of pairs that a unit must not have, for it and a column not to share a rule with one of them.
        let mut hostile = [0; WIDTH];
        for (row, column) in &pairs {
            for of_row in bits(*row) {
                hostile[of_row] |= 1 << column;
            }
        }
        let mut numbered = rules.iter().zip(&pairs);
        numbered.all(|(rule, (row, column))| {
            let is_apart = |row: u64, of: usize| row & hostile[of] & !(1 << column) == 0;
            is_apart(*row, *column) && self.is_drawn_in(*rule, is_apart)
        })
    }

    /// The pair of a rule that can share the fewest other rules: of the unit with the fewest columns, on the column
    /// that the fewest have.
    fn telling(&self, rule: u64) -> Option<(u64, usize)> {
        let holders = self.rows.iter().filter(|row| rule & !**row == 0);
        let row = holders.min_by_key(|row| row.count_ones())?;
        let bearers = |column: &usize| self.rows.iter().filter(|row| has(**row, *column)).count();
        Some((*row, bits(rule).min_by_key(bearers)?))
    }

    /// Whether the pairs that only this rule can hold leave no other rule in its place.
    fn is_drawn_in(&self, rule: u64, is_apart: impl Fn(u64, usize) -> bool) -> bool {
        let (mut common, mut columns) = (u64::MAX, 0);
        for row in self.rows.iter().filter(|row| rule & !**row == 0) {
            let own = bits(rule).filter(|column| is_apart(*row, *column));
            let own = set(own);
            if own != 0 {
                common &= row;
                columns |= own;
            }
        }
        let mut bearers = self.rows.iter().filter(|row| columns & !**row == 0);
        common == rule && bearers.all(|row| rule & !row == 0)
    }

    /// Takes from the rules the classes and columns that others cover, in the order of the rules.
    fn tidy(&self, mut rules: Vec<u64>, within: &[u64], chosen: &[u64]) -> Vec<Forced> {
        // The rules that each class of each line is on.
        let mut on: Vec<Vec<u64>> = (self.lines.iter().zip(chosen))
            .map(|(line, chosen)| line.iter().map(|class| within[*class] & chosen).collect())
            .collect();
        for number in 0..rules.len() {
            let bit = 1 << number;
            let mut needed = 0;
            for on in on.iter_mut().flatten().filter(|on| **on & bit != 0) {
                let others = bits(*on & !bit).fold(0, |all, other| all | rules[other]);
                match rules[number] & !others {
                    0 => *on &= !bit,
                    left => needed |= left,
                }
            }
            let runs = self.columns.chunks(bits(rules[number])).into_iter();
            let drawn_in = runs.map(|run| {
                let first = run.iter().find(|column| has(needed, **column));
                let last = run.iter().rfind(|column| has(needed, **column));
                first
                    .zip(last)
                    .map_or(0, |(first, last)| set(*first..=*last))
            });
            rules[number] = drawn_in.fold(0, |all, run| all | run);
        }
        let rules = rules.into_iter().enumerate();
        rules
            .map(|(number, columns)| Forced {
                columns,
                entries: self.entries(&on, number),
            })
            .collect()
    }

    /// The lines on a rule.
    fn entries(&self, on: &[Vec<u64>], rule: usize) -> Vec<(usize, Vec<usize>)> {
        let lines = self.lines.iter().zip(on).enumerate();
        lines
            .map(|(number, (line, on))| {
                let classes = line.iter().zip(on).filter(|(_, on)| has(**on, rule));
                (number, classes.map(|(class, _)| *class).collect::<Vec<_>>())
            })
            .filter(|(_, classes)| !classes.is_empty())
            .collect()
    }
}

impl Open {
    fn of(lines: &Lines<'_>, rules: Vec<u64>) -> Self {
        let columns = 0..lines.columns.weights.len();
        Self {
            within: (lines.rows.iter())
                .map(|row| which(&rules, |rule| rule & !row == 0))
                .collect(),
            bearing: columns
                .map(|column| which(&rules, |rule| has(rule, column)))
                .collect(),
            rules,
        }
    }

    /// The rules that a line must be on, since nothing else covers something there.
    fn chosen(&self, rows: &[u64], line: &[usize]) -> u64 {
        let all = line.iter().flat_map(|class| {
            let within = self.within[*class];
            bits(rows[*class]).map(move |column| within & self.bearing[column])
        });
        let alone = all.filter(|covering| covering.is_power_of_two());
        alone.fold(0, |chosen, covering| chosen | covering)
    }

    /// The rules with the runs of columns that each must have; `None` if they leave something.
    fn narrow(&self, lines: &Lines<'_>, chosen: &[u64]) -> Option<Vec<u64>> {
        let pairs = || {
            let each = lines.lines.iter().zip(chosen);
            each.flat_map(|(line, chosen)| line.iter().map(move |class| (*class, *chosen)))
                .flat_map(|(class, chosen)| {
                    let own = self.within[class] & chosen;
                    bits(lines.rows[class]).map(move |column| (column, own & self.bearing[column]))
                })
        };
        let mut narrow = vec![0; self.rules.len()];
        for (column, covering) in pairs().filter(|(_, covering)| covering.is_power_of_two()) {
            narrow[covering.trailing_zeros() as usize] |= 1 << column;
        }
        for (narrow, rule) in narrow.iter_mut().zip(&self.rules) {
            let runs = lines.columns.chunks(bits(*rule)).into_iter();
            let runs = runs.map(|run| set(run.into_iter()));
            *narrow = runs
                .filter(|run| run & *narrow != 0)
                .fold(0, |all, run| all | run);
        }
        pairs()
            .all(|(column, covering)| bits(covering).any(|rule| has(narrow[rule], column)))
            .then_some(narrow)
    }
}

fn has(bits: u64, bit: usize) -> bool {
    bits >> bit & 1 == 1
}

/// The bits that are set, the least first.
pub(crate) fn bits(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(bit)
    })
}

fn set(bits: impl Iterator<Item = usize>) -> u64 {
    bits.fold(0, |all, bit| all | 1 << bit)
}

/// The numbers of the rules for which `is_it` holds, as bits.
fn which(rules: &[u64], is_it: impl Fn(u64) -> bool) -> u64 {
    let numbered = rules.iter().enumerate();
    set(numbered
        .filter(|(_, rule)| is_it(**rule))
        .map(|(number, _)| number))
}

/// The columns of a row that rules within it cover.
fn covered(row: u64, rules: &[u64]) -> u64 {
    let inside = rules.iter().filter(|rule| **rule & !row == 0);
    inside.fold(0, |all, rule| all | rule)
}
