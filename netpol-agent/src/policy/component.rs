//! A relation taken apart: what shares no port and no peer needs no common rule, and is covered by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::boxes::Cluster;
use super::cover::{CAPACITY, Columns, Cost, Cover, Lines, Peers, Rectangle, Relation, Set, bits};
use super::model::{PolicyPeer, PortSpec, Rule};
use super::peers::{Units, What, aggregated, common_block};
use super::ports::{Run, Table};

/// Classes that are connected by common ports, with their units and ports.
pub(super) struct Component<'a> {
    all: &'a Units<'a>,
    runs: &'a [Run],
    /// How many classes.
    classes: usize,
    /// The numbers of its units.
    units: Vec<usize>,
    table: Table,
}

/// One rule of a component: entries of peers, each as numbers of units within the component, and columns.
pub(super) struct Part {
    entries: Vec<Vec<usize>>,
    runs: Vec<Vec<usize>>,
}

/// Which units of a component one entry can stand for.
struct Region {
    clusters: Vec<Cluster>,
    blocks: Vec<(usize, ipnet::IpNet)>,
}

/// The components of a relation, in the order of their first classes.
pub(super) fn components<'a>(
    units: &'a Units<'a>,
    runs: &'a [Run],
    classes: usize,
) -> Vec<Component<'a>> {
    let mut group: Vec<usize> = (0..classes).collect();
    for run in runs {
        for pair in run.classes.windows(2) {
            let (a, b) = (root(&mut group, pair[0]), root(&mut group, pair[1]));
            group[a.max(b)] = a.min(b);
        }
    }
    let mut members: BTreeMap<usize, (usize, Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for class in 0..classes {
        members.entry(root(&mut group, class)).or_default().0 += 1;
    }
    for (number, unit) in units.units.iter().enumerate() {
        let of = members.entry(root(&mut group, unit.class)).or_default();
        of.1.push(number);
    }
    for (number, run) in runs.iter().enumerate() {
        if let Some(class) = run.classes.first() {
            let of = members.entry(root(&mut group, *class)).or_default();
            of.2.push(number);
        }
    }
    let components = members
        .into_values()
        .map(|(classes, members, chosen)| Component {
            all: units,
            runs,
            classes,
            units: members,
            table: Table::of(runs, &chosen),
        });
    components.collect()
}

impl Component<'_> {
    /// The rules, what they cost, and a lower bound of that.
    pub(super) fn parts(&self) -> (Vec<Part>, Cost, Cost) {
        if self.classes == 1 {
            return self.one_rule(&(0..self.units.len()).collect::<Vec<_>>());
        }
        let region = self.region(&(0..self.units.len()).collect::<Vec<_>>());
        if let Some((parts, cost)) = self.forced(&region) {
            return (parts, cost, cost);
        }
        if self.units.len() > CAPACITY || self.table.columns.len() > CAPACITY {
            return self.rule_for_each_class();
        }
        let relation = Relation {
            rows: self.rows(),
            columns: self.table.shape.clone(),
            peers: &region,
        };
        let Cover {
            rectangles,
            cost,
            bound,
        } = relation.cover();
        let listed = |sets: &[Set]| sets.iter().map(|set| set.iter().collect()).collect();
        let parts = rectangles.iter().map(|Rectangle { boxes, runs }| Part {
            entries: listed(boxes),
            runs: listed(runs),
        });
        (parts.collect(), cost, bound)
    }

    /// The rules if they are forced, and what they cost.
    fn forced(&self, region: &Region) -> Option<(Vec<Part>, Cost)> {
        let lines = region.lines()?;
        let mut classes: Vec<usize> = (0..self.units.len()).map(|unit| self.class(unit)).collect();
        classes.sort_unstable();
        classes.dedup();
        let place = |unit: &usize| {
            classes
                .binary_search(&self.class(*unit))
                .unwrap_or_default()
        };
        let rows = self.masks(&classes)?;
        let on_lines: Vec<Vec<usize>> = lines
            .iter()
            .map(|line| {
                line.iter()
                    .map(place)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            })
            .collect();
        let relation = Lines {
            rows: &rows,
            lines: &on_lines,
            columns: &self.table.shape,
        };
        let mut total = Cost::default();
        let parts = relation.cover()?.into_iter().map(|rule| {
            let units = |(line, on): &(usize, Vec<usize>)| -> Vec<usize> {
                let units = lines[*line].iter().copied();
                units.filter(|unit| on.contains(&place(unit))).collect()
            };
            let part = Part {
                entries: rule.entries.iter().map(units).collect(),
                runs: self.table.shape.chunks(bits(rule.columns)),
            };
            total = total.plus(self.cost(&part));
            part
        });
        Some((parts.collect(), total))
    }

    /// The columns of these classes, as bits; `None` if there are too many.
    fn masks(&self, classes: &[usize]) -> Option<Vec<u64>> {
        if self.table.columns.len() > u64::BITS as usize {
            return None;
        }
        let mut masks = vec![0; classes.len()];
        for (column, runs) in self.table.columns.iter().enumerate() {
            let run = runs.first().map(|run| &self.runs[*run]);
            for class in run.into_iter().flat_map(|run| &run.classes) {
                if let Ok(place) = classes.binary_search(class) {
                    masks[place] |= 1 << column;
                }
            }
        }
        Some(masks)
    }

    fn cost(&self, part: &Part) -> Cost {
        let weights = part.runs.iter().map(|run| self.table.shape.weight(run));
        Cost {
            rules: 1,
            peers: part.entries.len(),
            ports: weights.sum(),
        }
    }

    /// The rule as a policy in `namespace` states it, without evidence.
    pub(super) fn rule(&self, namespace: &str, part: &Part) -> Rule {
        let entry = |units: &Vec<usize>| {
            let units = units.iter().map(|unit| self.units[*unit]);
            self.all.entry(namespace, units)
        };
        // There may be very many rules: no list takes more room than it needs.
        let mut peers: Vec<PolicyPeer> = Vec::with_capacity(part.entries.len());
        peers.extend(part.entries.iter().filter_map(entry));
        peers.sort();
        let specs = |run: &Vec<usize>| self.table.specs(self.runs, run);
        let mut ports: Vec<PortSpec> = part.runs.iter().flat_map(specs).collect();
        ports.sort();
        ports.shrink_to_fit();
        Rule {
            peers,
            ports,
            evidence: Vec::new(),
        }
    }

    /// The units that a rule holds.
    pub(super) fn units_of<'p>(&'p self, part: &'p Part) -> impl Iterator<Item = usize> + 'p {
        part.entries.iter().flatten().map(|unit| self.units[*unit])
    }

    /// The runs of ports that a rule holds.
    pub(super) fn runs_of<'p>(&'p self, part: &'p Part) -> impl Iterator<Item = usize> + 'p {
        let columns = part.runs.iter().flatten();
        columns
            .flat_map(|column| &self.table.columns[*column])
            .copied()
    }

    /// Whether a class has a column.
    fn has(&self, class: usize, column: usize) -> bool {
        let runs = self.table.columns[column].first();
        runs.is_some_and(|run| self.runs[*run].classes.binary_search(&class).is_ok())
    }

    /// The columns of a class.
    fn columns(&self, class: usize) -> impl Iterator<Item = usize> {
        (0..self.table.columns.len()).filter(move |column| self.has(class, *column))
    }

    fn class(&self, unit: usize) -> usize {
        self.all.units[self.units[unit]].class
    }

    /// The columns of each unit.
    fn rows(&self) -> Vec<Set> {
        let units = 0..self.units.len();
        units
            .map(|unit| self.columns(self.class(unit)).collect())
            .collect()
    }

    /// Which of some units one entry can stand for.
    fn region(&self, members: &[usize]) -> Region {
        let mut points: BTreeMap<usize, Vec<(usize, &[u32])>> = BTreeMap::new();
        let mut blocks = Vec::new();
        for unit in members {
            match &self.all.units[self.units[*unit]].what {
                What::Point(space, point) => {
                    points.entry(*space).or_default().push((*unit, point));
                }
                What::Block(block) => blocks.push((*unit, *block)),
            }
        }
        Region {
            clusters: points
                .values()
                .flat_map(|points| Cluster::of(points))
                .collect(),
            blocks,
        }
    }

    /// One rule for units of one class, with all ports of that class.
    fn one_rule(&self, members: &[usize]) -> (Vec<Part>, Cost, Cost) {
        let region = self.region(members);
        let class = members.first().map(|unit| self.class(*unit));
        let columns = class.into_iter().flat_map(|class| self.columns(class));
        let blocks = region.blocks.iter();
        let mut part = Part {
            entries: blocks.map(|(unit, _)| vec![*unit]).collect(),
            runs: self.table.shape.chunks(columns),
        };
        let mut least = part.entries.len();
        for cluster in region.clusters {
            let (entries, of_cluster) = entries(cluster);
            part.entries.extend(entries);
            least += of_cluster;
        }
        let cost = self.cost(&part);
        let bound = Cost {
            peers: least,
            ..cost
        };
        (vec![part], cost, bound)
    }

    /// What is too large to be searched: a rule for each class.
    fn rule_for_each_class(&self) -> (Vec<Part>, Cost, Cost) {
        let mut by_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for unit in 0..self.units.len() {
            by_class.entry(self.class(unit)).or_default().push(unit);
        }
        let (mut parts, mut total) = (Vec::new(), Cost::default());
        for members in by_class.values() {
            let (rule, cost, _) = self.one_rule(members);
            parts.extend(rule);
            total = total.plus(cost);
        }
        let least = self.apart(by_class.keys().copied());
        let bound = Cost {
            rules: least,
            peers: least,
            ports: least,
        };
        (parts, total, bound.min(total))
    }

    /// How many classes there are at least of which no two can share a rule, each on the column that fewest have.
    fn apart(&self, classes: impl Iterator<Item = usize>) -> usize {
        let bearers = |column: &usize| {
            let run = self.table.columns[*column].first();
            run.map_or(0, |run| self.runs[*run].classes.len())
        };
        let mut apart: Vec<(usize, usize)> = Vec::new();
        for class in classes {
            let Some(column) = self.columns(class).min_by_key(bearers) else {
                continue;
            };
            let shares =
                |(other, its): &(usize, usize)| self.has(class, *its) && self.has(*other, column);
            if !apart.iter().any(shares) {
                apart.push((class, column));
            }
        }
        apart.len()
    }
}

/// The entries that stand for all units of a cluster, and a lower bound of their number.
fn entries(cluster: Cluster) -> (Vec<Vec<usize>>, usize) {
    let units: Vec<usize> = cluster.units().collect();
    if units.len() <= 1 || cluster.is_line() {
        return (vec![units], 1);
    }
    if units.len() > CAPACITY {
        return (units.into_iter().map(|unit| vec![unit]).collect(), 1);
    }
    let region = Region {
        clusters: vec![cluster.renumbered()],
        blocks: Vec::new(),
    };
    let relation = Relation {
        rows: vec![Set::below(1); units.len()],
        columns: Columns {
            joined: vec![false],
            weights: vec![1],
        },
        peers: &region,
    };
    let cover = relation.cover();
    let boxes = cover.rectangles.iter().flat_map(|rule| &rule.boxes);
    let entries = boxes.map(|one| one.iter().map(|place| units[place]).collect());
    (entries.collect(), cover.bound.peers)
}

impl Region {
    /// Units on lines: one entry can stand for any of one line, and none for some of two. `None` if there are others.
    fn lines(&self) -> Option<Vec<Vec<usize>>> {
        let single = |(unit, _): &(usize, ipnet::IpNet)| vec![*unit];
        let blocks = self.blocks.iter().map(|(_, block)| *block).collect();
        if ipnet::IpNet::aggregate(&blocks).len() < blocks.len() {
            return None;
        }
        let clusters = self.clusters.iter();
        let lines: Option<Vec<Vec<usize>>> = clusters
            .map(|cluster| cluster.is_line().then(|| cluster.units().collect()))
            .collect();
        let mut lines = lines?;
        lines.extend(self.blocks.iter().map(single));
        Some(lines)
    }
}

impl Peers for Region {
    fn largest(&self, within: &Set) -> Option<Vec<Set>> {
        let mut largest = Vec::new();
        for cluster in &self.clusters {
            largest.extend(cluster.largest(within)?);
        }
        let blocks = self.blocks.iter();
        let blocks: Vec<_> = blocks
            .filter(|(unit, _)| within.contains(*unit))
            .copied()
            .collect();
        largest.extend(aggregated(&blocks));
        Some(largest)
    }

    fn hull(&self, units: &Set) -> Set {
        let holds = |cluster: &&Cluster| cluster.units().any(|unit| units.contains(unit));
        if let Some(cluster) = self.clusters.iter().find(holds) {
            return cluster.hull(units);
        }
        let inside = self.blocks.iter().filter(|(unit, _)| units.contains(*unit));
        let blocks: Vec<_> = inside.map(|(_, block)| *block).collect();
        let Some(common) = common_block(&blocks) else {
            return *units;
        };
        let within = self
            .blocks
            .iter()
            .filter(|(_, block)| common.contains(block));
        within.map(|(unit, _)| *unit).collect()
    }
}

/// The representative of a member's group.
pub(super) fn root(groups: &mut [usize], mut member: usize) -> usize {
    while groups[member] != member {
        groups[member] = groups[groups[member]];
        member = groups[member];
    }
    member
}
