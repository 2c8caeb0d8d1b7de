//! Boxes of label values: what one `namespaceSelector` with one `podSelector` can stand for.
//!
//! The first dimension is the namespace, each key of the selectors is another. Values that are interchangeable, since
//! every point with one of them is there with the other too and has the same ports, are one: some shortest list of
//! entries never tells them apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::{SmallVec, smallvec};

use super::atlas::{Atlas, Spot};
use super::component::root;
use super::cover::Set;
use super::model::{PolicyPeer, Texts};

/// The namespace and the values of a few keys, as numbers.
pub(super) type Point = SmallVec<[u32; 6]>;
/// The numbers of names that are interchangeable: mostly one.
type Names = SmallVec<[u32; 4]>;

/// All workloads that are selected by the same keys.
#[derive(Debug)]
pub(super) struct Space<'a> {
    atlas: &'a Atlas,
    /// The number of the keys.
    keys: u32,
    /// In each dimension, the numbers of the names that each value stands for.
    values: Vec<Vec<Names>>,
}

/// How many values a dimension of one [`Cluster`] may have.
const WIDTH: usize = 64;
/// How many boxes of one cluster are made, at most.
const MOST: usize = 256;

/// A box: in each dimension a set of values, as bits.
type Sides = Vec<u64>;

/// Points that boxes may join: from each to each other leads a way on which one value at a time changes.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The number of each point's unit, and its values, numbered within the cluster; `None` if there are too many.
    points: Vec<(usize, Option<Point>)>,
    /// Whether all points are the same in all dimensions but one, so that any of them make a box.
    is_line: bool,
}

impl<'a> Space<'a> {
    /// The space of some points that have the same keys, each with a class, and where each lies in it.
    pub(super) fn of(
        atlas: &'a Atlas,
        keys: u32,
        points: impl Iterator<Item = (&'a Spot, usize)>,
    ) -> (Self, Vec<Point>) {
        let (mut points, classes): (Vec<Point>, Vec<usize>) = points
            .map(|(spot, class)| (Point::from_slice(&spot.names), class))
            .unzip();
        let dimensions = atlas.keys(keys).len() + 1;
        let mut values: Vec<Vec<Names>> = Vec::with_capacity(dimensions);
        for dimension in 0..dimensions {
            let mut found: Vec<u32> = points.iter().map(|point| point[dimension]).collect();
            found.sort_unstable();
            found.dedup();
            for point in &mut points {
                let place = found.binary_search(&point[dimension]);
                point[dimension] = place.unwrap_or_else(|place| place) as u32;
            }
            values.push(found.into_iter().map(|name| smallvec![name]).collect());
        }
        let mut space = Self {
            atlas,
            keys,
            values,
        };
        space.join_twins(&mut points, &classes);
        (space, points)
    }

    /// Makes one value of those that are interchangeable, in every dimension, as long as there are such.
    fn join_twins(&mut self, points: &mut [Point], classes: &[usize]) {
        let mut dimension = 0;
        let mut unchanged = 0;
        while unchanged < self.values.len() {
            let before = self.values[dimension].len();
            if before > 1 {
                self.join_twins_along(dimension, points, classes);
            }
            unchanged = match self.values[dimension].len() == before {
                true => unchanged + 1,
                false => 1,
            };
            dimension = (dimension + 1) % self.values.len();
        }
    }

    fn join_twins_along(&mut self, dimension: usize, points: &mut [Point], classes: &[usize]) {
        let old = std::mem::take(&mut self.values[dimension]);
        let rests = rests(
            dimension,
            points
                .iter()
                .map(Point::as_slice)
                .zip(classes.iter().copied()),
        );
        let mut lines: Vec<(u32, u32)> = (points.iter().zip(rests))
            .map(|(point, rest)| (point[dimension], rest))
            .collect();
        lines.sort_unstable();
        lines.dedup();
        let (values, rests): (Vec<u32>, Vec<u32>) = lines.into_iter().unzip();
        let mut new: Vec<Names> = Vec::new();
        let mut numbers: BTreeMap<&[u32], usize> = BTreeMap::new();
        let mut renamed = Vec::with_capacity(old.len());
        let mut from = 0;
        for (value, names) in old.into_iter().enumerate() {
            let to = values.partition_point(|other| *other as usize <= value);
            let number = *numbers.entry(&rests[from..to]).or_insert_with(|| {
                new.push(Names::new());
                new.len() - 1
            });
            new[number].extend(names);
            renamed.push(number as u32);
            from = to;
        }
        for point in points {
            point[dimension] = renamed[point[dimension] as usize];
        }
        self.values[dimension] = new;
    }

    /// The entry for the box that these points make up.
    pub(super) fn entry(&self, namespace: &str, points: &[&[u32]]) -> PolicyPeer {
        let names = |dimension: usize| -> Names {
            let mut values: Names = points.iter().map(|point| point[dimension]).collect();
            values.sort_unstable();
            values.dedup();
            let values = values.into_iter().map(|value| value as usize);
            let mut names: Names = values
                .flat_map(|value| self.values[dimension][value].iter().copied())
                .collect();
            names.sort_unstable();
            names
        };
        let texts = |names: &Names| -> Texts {
            let names = names.iter().map(|name| self.atlas.name(*name));
            names.cloned().collect()
        };
        let namespaces = names(0);
        let own = matches!(namespaces[..], [one] if **self.atlas.name(one) == *namespace);
        let values: SmallVec<[Names; 4]> = (1..self.values.len()).map(names).collect();
        let single = values.iter().map(|names| match names[..] {
            [one] => Some(one),
            _ => None,
        });
        let single: Option<Point> = single.collect();
        let shared = single.and_then(|values| self.atlas.selector(self.keys, &values));
        let labels = || {
            let labels = self.atlas.keys(self.keys).iter().zip(&values);
            labels.map(|(key, names)| (Arc::clone(key), texts(names)))
        };
        PolicyPeer::Pods {
            namespaces: (!own).then(|| texts(&namespaces)),
            pods: shared.cloned().unwrap_or_else(|| labels().collect()),
        }
    }
}

/// What each point is apart from one dimension, with its class, as numbers: the same for the same.
fn rests<'p>(dimension: usize, points: impl Iterator<Item = (&'p [u32], usize)>) -> Vec<u32> {
    type Rest<'p> = (&'p [u32], &'p [u32], usize);
    let mut numbers: HashMap<Rest<'p>, u32, FixedState> = HashMap::default();
    let number = |(point, class): (&'p [u32], usize)| {
        let rest = (&point[..dimension], &point[dimension + 1..], class);
        let next = numbers.len() as u32;
        *numbers.entry(rest).or_insert(next)
    };
    points.map(number).collect()
}

impl Cluster {
    /// The clusters of points, each with the number of its unit.
    pub(super) fn of(points: &[(usize, &[u32])]) -> Vec<Self> {
        let mut groups: Vec<usize> = (0..points.len()).collect();
        let dimensions = points.first().map_or(0, |(_, point)| point.len());
        for dimension in 0..dimensions {
            let rests = rests(dimension, points.iter().map(|(_, point)| (*point, 0)));
            let mut first = vec![None; points.len()];
            for (number, rest) in rests.into_iter().enumerate() {
                let known = *first[rest as usize].get_or_insert(number);
                let (a, b) = (root(&mut groups, known), root(&mut groups, number));
                groups[a.max(b)] = a.min(b);
            }
        }
        let mut clusters: BTreeMap<usize, Vec<(usize, &[u32])>> = BTreeMap::new();
        for (number, point) in points.iter().enumerate() {
            let group = root(&mut groups, number);
            clusters.entry(group).or_default().push(*point);
        }
        clusters.into_values().map(Self::numbered).collect()
    }

    fn numbered(points: Vec<(usize, &[u32])>) -> Self {
        let dimensions = points.first().map_or(0, |(_, point)| point.len());
        let values = |dimension: usize| {
            let mut values: Vec<u32> = points.iter().map(|(_, point)| point[dimension]).collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let values: Vec<Vec<u32>> = (0..dimensions).map(values).collect();
        let fits = values.iter().all(|values| values.len() <= WIDTH);
        let place = |dimension: usize, value: u32| {
            let place = values[dimension].binary_search(&value);
            place.unwrap_or_else(|place| place) as u32
        };
        let points = points.into_iter().map(|(unit, point)| {
            let at = fits.then(|| {
                let values = point.iter().enumerate();
                values
                    .map(|(dimension, value)| place(dimension, *value))
                    .collect()
            });
            (unit, at)
        });
        Self {
            points: points.collect(),
            is_line: values.iter().filter(|values| values.len() > 1).count() <= 1,
        }
    }

    /// The cluster with its units numbered from 0 in the order that [`Self::units`] gives.
    pub(super) fn renumbered(mut self) -> Self {
        for (number, (unit, _)) in self.points.iter_mut().enumerate() {
            *unit = number;
        }
        self
    }

    /// Whether one box can stand for any of its units.
    pub(super) fn is_line(&self) -> bool {
        self.is_line
    }

    /// The units of the cluster.
    pub(super) fn units(&self) -> impl Iterator<Item = usize> {
        self.points.iter().map(|(unit, _)| *unit)
    }

    /// The largest boxes of which every point is a unit of `within`; `None` if there are too many.
    ///
    /// Boxes that differ make another: what both hold in all dimensions but one, and what either holds in that one.
    /// Taking in all such and dropping what lies in another ends with the largest, as with the prime implicants of
    /// a function of several values (W. V. Quine, "A way to simplify truth functions", 1955).
    pub(super) fn largest(&self, within: &Set) -> Option<Vec<Set>> {
        let points = self
            .points
            .iter()
            .filter(|(unit, _)| within.contains(*unit));
        let mut boxes: Vec<Sides> = points
            .map(|(_, point)| Some(point.as_ref()?.iter().map(|value| 1 << value).collect()))
            .collect::<Option<_>>()?;
        let mut next = 1;
        while next < boxes.len() {
            let mut made = Vec::new();
            for earlier in 0..next {
                made.extend(joined(&boxes[earlier], &boxes[next]));
            }
            next += 1;
            for one in made {
                if boxes.iter().any(|known| is_within(&one, known)) {
                    continue;
                }
                let (mut place, mut passed) = (0, 0);
                boxes.retain(|known| {
                    let stays = !is_within(known, &one);
                    passed += usize::from(!stays && place < next);
                    place += 1;
                    stays
                });
                next -= passed;
                boxes.push(one);
            }
            if boxes.len() > MOST {
                return None;
            }
        }
        let mut largest: Vec<Set> = boxes.iter().map(|sides| self.members(sides)).collect();
        largest.sort_unstable();
        Some(largest)
    }

    /// The units of the smallest box that holds all of `units`.
    pub(super) fn hull(&self, units: &Set) -> Set {
        let mut sides: Sides = Vec::new();
        for (_, point) in self.points.iter().filter(|(unit, _)| units.contains(*unit)) {
            let Some(point) = point else { return *units };
            sides.resize(point.len(), 0);
            for (side, value) in sides.iter_mut().zip(point) {
                *side |= 1 << value;
            }
        }
        self.members(&sides)
    }

    fn members(&self, sides: &[u64]) -> Set {
        let holds = |point: &[u32]| {
            let mut both = point.iter().zip(sides);
            both.all(|(value, side)| side >> value & 1 == 1)
        };
        let inside = self
            .points
            .iter()
            .filter(|(_, point)| point.as_ref().is_some_and(|point| holds(point)));
        inside.map(|(unit, _)| *unit).collect()
    }
}

/// The boxes that two boxes make, one for each dimension in which they differ, if they meet in all others.
fn joined(a: &Sides, b: &Sides) -> Vec<Sides> {
    let apart: Vec<usize> = (0..a.len())
        .filter(|dimension| a[*dimension] & b[*dimension] == 0)
        .collect();
    let along: Vec<usize> = match apart.as_slice() {
        [] => (0..a.len()).collect(),
        [one] => vec![*one],
        _ => Vec::new(),
    };
    let made = along.into_iter().map(|dimension| {
        let mut sides: Sides = a.iter().zip(b).map(|(a, b)| a & b).collect();
        sides[dimension] = a[dimension] | b[dimension];
        sides
    });
    made.collect()
}

fn is_within(inner: &Sides, outer: &Sides) -> bool {
    inner
        .iter()
        .zip(outer)
        .all(|(inner, outer)| inner & !outer == 0)
}

#[cfg(test)]
mod tests;
