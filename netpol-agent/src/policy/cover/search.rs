//! Branch and bound: covers the pair that has the fewest ways to be covered, in each of these ways, and gives up
//! where the cost so far and a lower bound of the rest are no less than the best found.
//!
//! The lower bound counts pairs of which no two can share a rule (a fooling set), an entry of peers, or an entry of
//! ports.

use std::cmp::Reverse;

use super::concepts::Concept;
use super::{CAPACITY, Cost, Rectangle, Relation, Set, union};

/// A pair of unit and column may be covered by a box and a run of a concept.
#[derive(Clone, Copy)]
struct Way {
    concept: usize,
    /// Of all boxes of all concepts.
    place: usize,
    /// Of all runs of all concepts.
    run: usize,
}

/// A box or a run of a concept, and the pairs of that concept that it holds.
struct Part {
    concept: usize,
    set: Set,
    pairs: Set,
    weight: usize,
}

/// The problem, in terms of pairs.
struct Pairs {
    /// How many pairs.
    count: usize,
    concepts: Vec<Set>,
    boxes: Vec<Part>,
    runs: Vec<Part>,
    /// How each pair may be covered.
    ways: Vec<Vec<Way>>,
    /// With which other pairs each can share a rule, an entry of peers, an entry of ports.
    sharing: [Vec<Set>; 3],
    /// How many entries of ports each pair needs at least.
    weights: Vec<usize>,
}

/// What is chosen so far.
struct Chosen {
    concepts: Set,
    boxes: Vec<bool>,
    runs: Vec<bool>,
    /// The pairs of each concept that chosen boxes hold, and those that chosen runs hold.
    held: Vec<(Set, Set)>,
    covered: Set,
    cost: Cost,
}

struct Search<'a> {
    pairs: &'a Pairs,
    steps: usize,
    best: Option<(Cost, Vec<bool>, Vec<bool>)>,
}

/// The least cover that can be found in so many steps, with a lower bound; `None` if the relation is too large.
pub(super) fn search(
    relation: &Relation<'_>,
    concepts: &[Concept],
    steps: usize,
) -> Option<(Vec<Rectangle>, Cost)> {
    let pairs = Pairs::of(relation, concepts)?;
    let mut search = Search {
        pairs: &pairs,
        steps,
        best: None,
    };
    let mut chosen = Chosen::nothing(&pairs);
    let finished = search.descend(&mut chosen);
    let bound = pairs.bound(&Chosen::nothing(&pairs));
    let (cost, boxes, runs) = search.best?;
    let rectangles = (0..concepts.len())
        .map(|concept| Rectangle {
            boxes: pairs.parts(&pairs.boxes, &boxes, concept),
            runs: pairs.parts(&pairs.runs, &runs, concept),
        })
        .filter(|rectangle| !rectangle.boxes.is_empty())
        .collect();
    Some((rectangles, if finished { cost } else { bound }))
}

impl Pairs {
    fn of(relation: &Relation<'_>, concepts: &[Concept]) -> Option<Self> {
        let rows = relation.rows.iter().enumerate();
        let pairs: Vec<(usize, usize)> = rows
            .flat_map(|(unit, row)| row.iter().map(move |column| (unit, column)))
            .collect();
        if pairs.len() > CAPACITY {
            return None;
        }
        let within = |units: &Set, columns: &Set| -> Set {
            let numbered = pairs.iter().enumerate();
            numbered
                .filter(|(_, (unit, column))| units.contains(*unit) && columns.contains(*column))
                .map(|(pair, _)| pair)
                .collect()
        };
        let (mut boxes, mut runs) = (Vec::new(), Vec::new());
        for (number, concept) in concepts.iter().enumerate() {
            boxes.extend(concept.boxes.iter().map(|set| Part {
                concept: number,
                set: *set,
                pairs: within(set, &concept.columns),
                weight: 1,
            }));
            runs.extend(concept.runs.iter().map(|set| Part {
                concept: number,
                set: *set,
                pairs: within(&concept.units, set),
                weight: relation.columns.weight_of(set),
            }));
        }
        let whole: Vec<Set> = concepts
            .iter()
            .map(|concept| within(&concept.units, &concept.columns))
            .collect();
        let count = pairs.len();
        let sharing = [
            sharing(count, whole.iter()),
            sharing(count, boxes.iter().map(|part| &part.pairs)),
            sharing(count, runs.iter().map(|part| &part.pairs)),
        ];
        let mut all = Self {
            count,
            concepts: whole,
            ways: Vec::new(),
            weights: Vec::new(),
            boxes,
            runs,
            sharing,
        };
        all.ways = (0..count).map(|pair| all.ways_of(pair)).collect();
        all.weights = all.ways.iter().map(|ways| all.least_weight(ways)).collect();
        Some(all)
    }

    fn ways_of(&self, pair: usize) -> Vec<Way> {
        let mut ways = Vec::new();
        for (place, part) in self.boxes.iter().enumerate() {
            if !part.pairs.contains(pair) {
                continue;
            }
            let runs = self.runs.iter().enumerate();
            let run = runs
                .filter(|(_, run)| run.concept == part.concept)
                .find(|(_, run)| run.pairs.contains(pair));
            ways.extend(run.map(|(run, _)| Way {
                concept: part.concept,
                place,
                run,
            }));
        }
        ways
    }

    fn least_weight(&self, ways: &[Way]) -> usize {
        let weights = ways.iter().map(|way| self.runs[way.run].weight);
        weights.min().unwrap_or_default()
    }

    /// What covering the rest costs at least.
    fn bound(&self, chosen: &Chosen) -> Cost {
        let open = Set::below(self.count).less(&chosen.covered);
        let reached = |parts: &[Part], taken: &[bool]| {
            let taken = parts.iter().zip(taken).filter(|(_, taken)| **taken);
            union(taken.map(|(part, _)| &part.pairs))
        };
        let concepts = union(chosen.concepts.iter().map(|number| &self.concepts[number]));
        let boxes = reached(&self.boxes, &chosen.boxes);
        let runs = reached(&self.runs, &chosen.runs);
        Cost {
            rules: apart(open.less(&concepts), &self.sharing[0], |_| 1),
            peers: apart(open.less(&boxes), &self.sharing[1], |_| 1),
            ports: apart(open.less(&runs), &self.sharing[2], |pair| {
                self.weights[pair]
            }),
        }
    }

    /// What choosing a way adds to the cost.
    fn added(&self, chosen: &Chosen, way: Way) -> Cost {
        let run = match chosen.runs[way.run] {
            true => 0,
            false => self.runs[way.run].weight,
        };
        Cost {
            rules: usize::from(!chosen.concepts.contains(way.concept)),
            peers: usize::from(!chosen.boxes[way.place]),
            ports: run,
        }
    }

    fn parts(&self, parts: &[Part], taken: &[bool], concept: usize) -> Vec<Set> {
        let taken = parts.iter().zip(taken).filter(|(_, taken)| **taken);
        taken
            .filter(|(part, _)| part.concept == concept)
            .map(|(part, _)| part.set)
            .collect()
    }
}

impl Search<'_> {
    /// Whether everything below was looked at.
    fn descend(&mut self, chosen: &mut Chosen) -> bool {
        // The first descent is not counted: it gives the answer that there is at least.
        if self.best.is_some() {
            if self.steps == 0 {
                return false;
            }
            self.steps -= 1;
        }
        self.branch(chosen)
    }

    fn branch(&mut self, chosen: &mut Chosen) -> bool {
        let open = Set::below(self.pairs.count).less(&chosen.covered);
        let Some(pair) = open.iter().min_by_key(|pair| self.pairs.ways[*pair].len()) else {
            self.keep(chosen);
            return true;
        };
        if self.is_hopeless(chosen) {
            return true;
        }
        let mut ways: Vec<(Cost, Reverse<usize>, Way)> = self.pairs.ways[pair]
            .iter()
            .map(|way| {
                let (cost, covers) = (
                    self.pairs.added(chosen, *way),
                    chosen.gain(self.pairs, *way),
                );
                (cost, Reverse(covers), *way)
            })
            .collect();
        ways.sort_by_key(|(cost, covers, _)| (*cost, *covers));
        let mut finished = true;
        for (cost, _, way) in ways {
            let before = chosen.take(self.pairs, way, cost);
            finished &= self.descend(chosen);
            chosen.put_back(way, before);
        }
        finished
    }

    fn is_hopeless(&self, chosen: &Chosen) -> bool {
        (self.best.as_ref()).is_some_and(|(best, ..)| {
            chosen.cost >= *best || chosen.cost.plus(self.pairs.bound(chosen)) >= *best
        })
    }

    fn keep(&mut self, chosen: &Chosen) {
        if self
            .best
            .as_ref()
            .is_none_or(|(best, ..)| chosen.cost < *best)
        {
            self.best = Some((chosen.cost, chosen.boxes.clone(), chosen.runs.clone()));
        }
    }
}

/// What a choice changed, to put it back.
struct Before {
    cost: Cost,
    concepts: Set,
    held: (Set, Set),
    covered: Set,
    place: bool,
    run: bool,
}

impl Chosen {
    fn nothing(pairs: &Pairs) -> Self {
        Self {
            concepts: Set::default(),
            boxes: vec![false; pairs.boxes.len()],
            runs: vec![false; pairs.runs.len()],
            held: vec![(Set::default(), Set::default()); pairs.concepts.len()],
            covered: Set::default(),
            cost: Cost::default(),
        }
    }

    /// How many pairs a choice covers that nothing covers yet.
    fn gain(&self, pairs: &Pairs, way: Way) -> usize {
        let (boxes, runs) = self.after(pairs, way);
        boxes.and(&runs).less(&self.covered).len()
    }

    fn after(&self, pairs: &Pairs, way: Way) -> (Set, Set) {
        let (boxes, runs) = &self.held[way.concept];
        (
            boxes.or(&pairs.boxes[way.place].pairs),
            runs.or(&pairs.runs[way.run].pairs),
        )
    }

    fn take(&mut self, pairs: &Pairs, way: Way, cost: Cost) -> Before {
        let before = Before {
            cost: self.cost,
            concepts: self.concepts,
            held: self.held[way.concept],
            covered: self.covered,
            place: self.boxes[way.place],
            run: self.runs[way.run],
        };
        let (boxes, runs) = self.after(pairs, way);
        self.held[way.concept] = (boxes, runs);
        self.covered = self.covered.or(&boxes.and(&runs));
        self.concepts.insert(way.concept);
        (self.boxes[way.place], self.runs[way.run]) = (true, true);
        self.cost = self.cost.plus(cost);
        before
    }

    fn put_back(&mut self, way: Way, before: Before) {
        self.cost = before.cost;
        self.concepts = before.concepts;
        self.held[way.concept] = before.held;
        self.covered = before.covered;
        (self.boxes[way.place], self.runs[way.run]) = (before.place, before.run);
    }
}

/// For each pair, all that share one of the sets with it.
fn sharing<'a>(count: usize, sets: impl Iterator<Item = &'a Set>) -> Vec<Set> {
    let mut sharing = vec![Set::default(); count];
    for set in sets {
        for pair in set.iter() {
            sharing[pair] = sharing[pair].or(set);
        }
    }
    sharing
}

/// The weight of pairs of which no two share, as many as are found by taking the least first.
fn apart(mut open: Set, sharing: &[Set], weight: impl Fn(usize) -> usize) -> usize {
    let mut total = 0;
    while let Some(pair) = open
        .iter()
        .min_by_key(|pair| sharing[*pair].and(&open).len())
    {
        total += weight(pair);
        open = open.less(&sharing[pair]);
    }
    total
}
