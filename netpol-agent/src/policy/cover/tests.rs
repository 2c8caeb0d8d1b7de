//! Covers of random small relations against all there are.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Units at places of a grid: an entry stands for all that lie at the crossings of some rows with some columns, as
/// long as there is one at each.
#[derive(Clone, Debug)]
struct Grid(Vec<(u8, u8)>);

impl Grid {
    fn is_entry(&self, units: &Set) -> bool {
        let mut rows = std::collections::BTreeSet::new();
        let mut columns = std::collections::BTreeSet::new();
        for unit in units.iter() {
            rows.insert(self.0[unit].0);
            columns.insert(self.0[unit].1);
        }
        units.len() == rows.len() * columns.len()
    }
}

impl Peers for Grid {
    fn largest(&self, within: &Set) -> Option<Vec<Set>> {
        let entries: Vec<Set> = subsets(within)
            .filter(|units| self.is_entry(units))
            .collect();
        let is_largest =
            |one: &&Set| !(entries.iter()).any(|other| other != *one && one.is_within(other));
        Some(entries.iter().filter(is_largest).copied().collect())
    }

    fn hull(&self, units: &Set) -> Set {
        let mut entries = subsets(&Set::below(self.0.len()));
        let least = |units: &Set, entries: &mut dyn Iterator<Item = Set>| {
            entries
                .filter(|entry| units.is_within(entry) && self.is_entry(entry))
                .min_by_key(Set::len)
        };
        least(units, &mut entries).unwrap_or(*units)
    }
}

/// All subsets but the empty one.
fn subsets(of: &Set) -> impl Iterator<Item = Set> + use<> {
    let members: Vec<usize> = of.iter().collect();
    (1..1usize << members.len()).map(move |chosen| {
        let members = members.iter().enumerate();
        members
            .filter(|(place, _)| chosen >> place & 1 == 1)
            .map(|(_, member)| *member)
            .collect()
    })
}

/// What the least cover costs: the least way to cover more and more pairs, each time the first that is open.
fn least(relation: &Relation<'_>, grid: &Grid) -> Cost {
    let rows = relation.rows.iter().enumerate();
    let pairs: Vec<(usize, usize)> = rows
        .flat_map(|(unit, row)| row.iter().map(move |column| (unit, column)))
        .collect();
    let mut rules: Vec<(usize, Cost)> = Vec::new();
    for units in subsets(&Set::below(grid.0.len())) {
        for columns in subsets(&Set::below(relation.columns.weights.len())) {
            if units
                .iter()
                .any(|unit| !columns.is_within(&relation.rows[unit]))
            {
                continue;
            }
            let held = pairs
                .iter()
                .enumerate()
                .filter(|(_, (unit, column))| units.contains(*unit) && columns.contains(*column));
            let mask = held.fold(0, |mask, (place, _)| mask | 1 << place);
            let runs = relation.columns.runs(&columns);
            let cost = Cost {
                rules: 1,
                peers: fewest_entries(&units, grid),
                ports: runs.iter().map(|run| relation.columns.weight_of(run)).sum(),
            };
            rules.push((mask, cost));
        }
    }
    let all = (1usize << pairs.len()) - 1;
    let mut known: BTreeMap<usize, Cost> = BTreeMap::from([(0, Cost::default())]);
    while let Some((covered, cost)) = known.pop_first() {
        if covered == all {
            return cost;
        }
        let next = 1 << (!covered).trailing_zeros();
        for (mask, more) in rules.iter().filter(|(mask, _)| mask & next != 0) {
            let total = cost.plus(*more);
            let entry = known.entry(covered | mask).or_insert(total);
            *entry = total.min(*entry);
        }
    }
    unreachable!("single pairs cover everything")
}

fn fewest_entries(units: &Set, grid: &Grid) -> usize {
    let entries: Vec<Set> = subsets(units)
        .filter(|units| grid.is_entry(units))
        .collect();
    let mut reached = vec![Set::default()];
    for number in 0.. {
        if reached.contains(units) {
            return number;
        }
        reached = reached
            .iter()
            .flat_map(|set| entries.iter().map(|entry| set.or(entry)))
            .collect();
        reached.sort_unstable();
        reached.dedup();
    }
    0
}

/// Columns of these weights, but for those that are joined to another one.
fn some_columns(mut joined: Vec<bool>, mut weights: Vec<usize>) -> Columns {
    joined[0] = false;
    for column in 1..joined.len() {
        if joined[column] {
            (weights[column - 1], weights[column]) = (1, 1);
        }
    }
    Columns { joined, weights }
}

fn any_relation() -> impl Strategy<Value = (Grid, Vec<Set>, Columns)> {
    let places = prop::collection::btree_set((0u8..3, 0u8..3), 1..6);
    (places, 1usize..5).prop_flat_map(|(places, columns)| {
        let row = prop::collection::btree_set(0..columns, 1..=columns);
        let rows = prop::collection::vec(row, places.len());
        let joined = prop::collection::vec(any::<bool>(), columns);
        let weights = prop::collection::vec(1usize..4, columns);
        (Just(places), rows, joined, weights).prop_map(|(places, rows, joined, weights)| {
            let columns = some_columns(joined, weights);
            let rows = rows.into_iter().map(|row| row.into_iter().collect());
            (Grid(places.into_iter().collect()), rows.collect(), columns)
        })
    })
}

proptest! {
    /// However few steps are left, a cover allows exactly the relation, and what is said of the least is true.
    #[test]
    fn the_bound_holds((grid, rows, columns) in any_relation(), steps in prop::sample::select(&[0, 1, 5, 20_000][..])) {
        let relation = Relation { rows, columns, peers: &grid };
        let least = least(&relation, &grid);
        let cover = relation.cover_within(steps);
        prop_assert!(cover.bound <= least && least <= cover.cost, "{least:?} of {cover:?}");
        prop_assert!(steps < 20_000 || cover.cost == cover.bound, "{cover:?}");
        check_exact(&relation, &grid, &cover.rectangles)?;
        let (plain, bound) = plain::cover(&relation);
        prop_assert!(bound <= least && least <= relation.cost(&plain));
        check_exact(&relation, &grid, &plain)?;
    }
}

/// Units, each on one of some lines, and the columns of each.
fn any_lines() -> impl Strategy<Value = (Vec<usize>, Vec<Set>, Columns)> {
    (1usize..7, 1usize..5).prop_flat_map(|(units, columns)| {
        let row = prop::collection::btree_set(0..columns, 1..=columns);
        let rows = prop::collection::vec(row, units);
        let lines = prop::collection::vec(0usize..3, units);
        let joined = prop::collection::vec(any::<bool>(), columns);
        (lines, rows, joined).prop_map(|(lines, rows, mut joined)| {
            joined[0] = false;
            let columns = Columns {
                weights: vec![1; joined.len()],
                joined,
            };
            let rows = rows.into_iter().map(|row| row.into_iter().collect());
            (lines, rows.collect(), columns)
        })
    })
}

/// The rectangles of a forced cover, if there is one.
fn forced(lines: &[usize], rows: &[Set], columns: &Columns) -> Option<Vec<Rectangle>> {
    let mask = |row: &Set| row.iter().fold(0u64, |mask, column| mask | 1 << column);
    let mut masks: Vec<u64> = rows.iter().map(mask).collect();
    masks.sort_unstable();
    masks.dedup();
    let class = |unit: usize| masks.binary_search(&mask(&rows[unit])).unwrap();
    let of_line = |line: usize| (0..rows.len()).filter(move |unit| lines[*unit] == line);
    let on_lines: Vec<Vec<usize>> = (0..3)
        .map(|line| {
            let classes: std::collections::BTreeSet<usize> = of_line(line).map(class).collect();
            classes.into_iter().collect()
        })
        .collect();
    let relation = Lines {
        rows: &masks,
        lines: &on_lines,
        columns,
    };
    let rectangle = |rule: forced::Forced| Rectangle {
        boxes: (rule.entries.iter())
            .map(|(line, on)| {
                of_line(*line)
                    .filter(|unit| on.contains(&class(*unit)))
                    .collect()
            })
            .collect(),
        runs: columns.runs(&bits(rule.columns).collect()),
    };
    Some(relation.cover()?.into_iter().map(rectangle).collect())
}

proptest! {
    /// What is forced is the least, and the very same that the search finds.
    #[test]
    fn what_is_forced_is_the_least((lines, rows, columns) in any_lines()) {
        let places = lines.iter().enumerate();
        let grid = Grid(places.map(|(unit, line)| (*line as u8, unit as u8)).collect());
        let relation = Relation { rows, columns, peers: &grid };
        if let Some(forced) = forced(&lines, &relation.rows, &relation.columns) {
            prop_assert_eq!(relation.cost(&forced), least(&relation, &grid));
            check_exact(&relation, &grid, &forced)?;
            let sorted = |rectangles: &[Rectangle]| {
                let mut all: Vec<(Set, Set)> = rectangles.iter().map(|one| (one.units(), one.columns())).collect();
                all.sort_unstable();
                all
            };
            prop_assert_eq!(sorted(&forced), sorted(&relation.cover().rectangles));
        }
    }
}

/// Numbers that look random, the same ones each time.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 1u64;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// A relation of a few units and columns, drawn from `number`.
fn some_relation(number: &mut impl FnMut(u64) -> u64) -> (Grid, Vec<Set>, Columns) {
    let columns = 1 + number(6) as usize;
    let joined = (0..columns).map(|_| number(2) == 1).collect();
    let weights = (0..columns).map(|_| 1 + number(3) as usize).collect();
    let mut units: Vec<(u8, u8)> = (0..1 + number(7))
        .map(|_| (number(3) as u8, number(3) as u8))
        .collect();
    units.sort_unstable();
    units.dedup();
    let row = |_| bits(1 + number((1 << columns) - 1)).collect();
    let rows = units.iter().map(row).collect();
    (Grid(units), rows, some_columns(joined, weights))
}

/// What comes to another sum if one of the numbers is another one, or the order is.
fn sum_of(rectangles: &[Rectangle]) -> usize {
    let sets = rectangles
        .iter()
        .flat_map(|one| one.boxes.iter().chain(&one.runs));
    let numbers = sets.flat_map(|set| set.iter().chain([99]));
    numbers.fold(7, |sum: usize, number| {
        sum.wrapping_mul(31).wrapping_add(number)
    })
}

/// How much is proved without a search, and what comes of it. What is proved beyond it is welcome, and changes the
/// figures.
#[test]
fn most_small_covers_are_forced() {
    let mut number = numbers();
    let (mut proved, mut rules, mut sum) = (0, 0, 0usize);
    for _ in 0..20_000 {
        let (grid, rows, columns) = some_relation(&mut number);
        let lines: Vec<usize> = grid.0.iter().map(|(line, _)| usize::from(*line)).collect();
        let Some(cover) = forced(&lines, &rows, &columns) else {
            continue;
        };
        (proved, rules) = (proved + 1, rules + cover.len());
        sum = sum.wrapping_add(sum_of(&cover));
        let mut covered = vec![Set::default(); rows.len()];
        for rule in &cover {
            for unit in rule.units().iter() {
                covered[unit] = covered[unit].or(&rule.columns());
            }
        }
        assert_eq!(covered, rows, "{cover:?}");
    }
    assert_eq!(
        (proved, rules, sum),
        (16_649, 32_030, 13_273_358_449_241_494_784)
    );
}

/// What some relations cost all together, by how many steps the search may take; what is not below that; and what
/// stands in the covers. A better search changes the figures.
#[test]
fn covers_cost_what_they_did() {
    let mut number = numbers();
    let relations: Vec<(Grid, Vec<Set>, Columns)> =
        (0..400).map(|_| some_relation(&mut number)).collect();
    let of = |steps: Option<usize>| {
        let (mut cost, mut bound, mut sum) = (Cost::default(), Cost::default(), 0usize);
        for (grid, rows, columns) in &relations {
            let (rows, columns) = (rows.clone(), columns.clone());
            let relation = Relation {
                rows,
                columns,
                peers: grid,
            };
            let (mut rectangles, least) = match steps {
                Some(steps) => {
                    let cover = relation.cover_within(steps);
                    (cover.rectangles, cover.bound)
                }
                None => plain::cover(&relation),
            };
            if steps.is_none() {
                tidy::tidy(&relation, &mut rectangles);
            }
            (cost, bound) = (cost.plus(relation.cost(&rectangles)), bound.plus(least));
            sum = sum.wrapping_add(sum_of(&rectangles));
        }
        let figures = |cost: Cost| [cost.rules, cost.peers, cost.ports];
        (figures(cost), figures(bound), sum)
    };
    // Without a search; the first descent; a few steps; as many as it takes.
    let found = [None, Some(0), Some(5), Some(40), Some(20_000)].map(of);
    assert_eq!(
        found,
        [
            (
                [934, 1163, 2258],
                [816, 816, 816],
                14_842_161_236_364_461_393
            ),
            (
                [922, 1202, 1960],
                [899, 1095, 1640],
                7_542_506_083_465_667_054
            ),
            (
                [920, 1193, 1965],
                [899, 1115, 1793],
                5_769_237_432_193_045_591
            ),
            (
                [912, 1143, 2043],
                [902, 1128, 1947],
                16_375_050_034_693_942_134
            ),
            (
                [907, 1129, 2067],
                [907, 1129, 2067],
                17_925_219_785_740_492_278
            ),
        ]
    );
}

/// One entry stands for any units.
struct Anyone;

impl Peers for Anyone {
    fn largest(&self, within: &Set) -> Option<Vec<Set>> {
        Some(vec![*within])
    }

    fn hull(&self, units: &Set) -> Set {
        *units
    }
}

fn of_anyone(rows: Vec<Set>, columns: usize) -> Relation<'static> {
    let columns = Columns {
        joined: vec![false; columns],
        weights: vec![1; columns],
    };
    Relation {
        rows,
        columns,
        peers: &Anyone,
    }
}

#[test]
fn as_many_largest_rectangles_are_searched_as_128() {
    // All units but one have all columns but one, which comes to every set of the first seven columns.
    let of = |more: usize| {
        let mut rows: Vec<Set> = (0..7)
            .map(|less| (0..7).filter(|column| *column != less).collect())
            .collect();
        rows.push(Set::below(7));
        rows.extend((7..7 + more).map(|column| [column].into_iter().collect::<Set>()));
        concepts::concepts(&of_anyone(rows, 7 + more)).map(|concepts| concepts.len())
    };
    assert_eq!([of(0), of(1), of(2)], [Some(127), Some(128), None]);
}

#[test]
fn as_many_pairs_are_searched_as_a_set_holds() {
    let is_searched = |units: usize, more: usize| {
        let mut rows = vec![Set::below(16); units];
        rows.extend((0..more).map(|_| Set::below(1)));
        let relation = of_anyone(rows, 16);
        let concepts = concepts::concepts(&relation).expect("two of them");
        search::search(&relation, &concepts, 1).is_some()
    };
    assert_eq!(CAPACITY, 32 * 16);
    assert_eq!([is_searched(32, 0), is_searched(32, 1)], [true, false]);
}

#[test]
fn a_larger_relation_has_fewer_steps() {
    assert_eq!([1, 30, 60, 300].map(steps), [20_000, 20_000, 5_000, 200]);
    assert_eq!(steps(0), 20_000);
    assert_eq!(steps(10_000), 0);
}

/// As many columns and rules as there are bits are proved, and one more is not.
#[test]
fn as_many_rules_are_forced_as_there_are_bits() {
    let proved = |rules: usize| {
        let rows: Vec<u64> = (0..rules.min(64)).map(|rule| 1 << rule).collect();
        let lines: Vec<Vec<usize>> = (0..rows.len()).map(|row| vec![row]).collect();
        let columns = Columns {
            joined: vec![false; rules],
            weights: vec![1; rules],
        };
        let relation = Lines {
            rows: &rows,
            lines: &lines,
            columns: &columns,
        };
        relation.cover().map(|cover| cover.len())
    };
    assert_eq!(
        [proved(63), proved(64), proved(65)],
        [Some(63), Some(64), None]
    );
}

fn check_exact(
    relation: &Relation<'_>,
    grid: &Grid,
    rectangles: &[Rectangle],
) -> Result<(), TestCaseError> {
    let mut covered = vec![Set::default(); relation.rows.len()];
    for rectangle in rectangles {
        for one in &rectangle.boxes {
            prop_assert!(grid.is_entry(one), "{one:?} is no entry");
        }
        for run in &rectangle.runs {
            prop_assert_eq!(relation.columns.runs(run).len(), 1);
        }
        for unit in rectangle.units().iter() {
            covered[unit] = covered[unit].or(&rectangle.columns());
        }
    }
    prop_assert_eq!(&covered, &relation.rows);
    Ok(())
}

#[test]
fn a_column_alone_weighs_its_own_and_a_run_one() {
    let columns = Columns {
        joined: vec![false, false, true, true, false],
        weights: vec![3, 1, 1, 1, 2],
    };
    let of = |run: &[usize]| columns.weight(run);
    assert_eq!([of(&[0]), of(&[1]), of(&[4])], [3, 1, 2]);
    assert_eq!([of(&[1, 2]), of(&[1, 2, 3])], [1, 1]);
    let runs = columns.chunks([0, 1, 2, 4].into_iter());
    assert_eq!(runs, [&[0][..], &[1, 2], &[4]]);
    assert_eq!(
        columns.chunks([1, 3].into_iter()),
        [&[1][..], &[3]],
        "a gap divides"
    );
}
