//! The rules of one direction of a policy: the least cover of what was learned, and the edges that each rests on.

use std::collections::BTreeMap;
use std::fmt;

use netpol_common::words::Protocol;
use smallvec::SmallVec;

use super::component::components;
use super::cover::Cost;
use super::learn::Learned;
use super::model::Rule;
use super::peers::{Atom, Units};
use super::ports::{self, Run};
use super::text;
use super::writer::Writer;

/// The rules of one direction, and how many more there are than are needed, as far as that is known.
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) excess: Excess,
}

/// How far rules are from the least at most: all 0 if they are the least.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Excess {
    /// Rules.
    pub rules: usize,
    /// Entries of peers; 0 where it is not known that no fewer rules would do.
    pub peers: usize,
    /// Entries of ports; 0 where it is not known that no fewer entries of peers would do.
    pub ports: usize,
}

/// Edges with the same peer, and the numbers of the atoms that it stands as.
struct Group<'a> {
    learned: &'a [Learned],
    atoms: SmallVec<[usize; 1]>,
}

/// The atoms in order, and the ports of each.
type Table = Vec<(Atom, PortList)>;

/// Ports in order, each once: mostly a few.
type PortList = SmallVec<[(Protocol, u16); 4]>;

/// The least rules that allow exactly what was learned, for a policy in `namespace`. What was learned is in the order
/// of its edges; peers that cannot be written are to have been found before.
pub(super) fn rules(writer: &Writer<'_>, namespace: &str, learned: Vec<Learned>) -> Rules {
    let (table, groups) = table(writer, &learned);
    let mut classes: BTreeMap<&PortList, usize> = BTreeMap::new();
    for (_, ports) in &table {
        classes.entry(ports).or_default();
    }
    for (number, class) in classes.values_mut().enumerate() {
        *class = number;
    }
    let atoms: Vec<_> = table
        .iter()
        .map(|(atom, ports)| (atom, classes[ports], writer.spot(atom)))
        .collect();
    let units = Units::of(writer.atlas, &atoms);
    let runs = ports::runs(classes.keys().map(|ports| ports.as_slice()));
    let mut excess = Excess::default();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut of_unit = vec![Holders::new(); units.units.len()];
    for component in components(&units, &runs, classes.len()) {
        let (parts, cost, bound) = component.parts();
        excess.add(cost, bound);
        for part in &parts {
            for unit in component.units_of(part) {
                of_unit[unit].push(drafts.len());
            }
            drafts.push(Draft {
                rule: component.rule(namespace, part),
                runs: component.runs_of(part).collect(),
            });
        }
    }
    let holders = holders(&groups, &units, &runs, &of_unit, &drafts);
    let mut rules: Vec<Rule> = drafts.into_iter().map(|draft| draft.rule).collect();
    add_evidence(learned, &holders, &mut rules);
    rules.sort_by(|a, b| (&a.peers, &a.ports).cmp(&(&b.peers, &b.ports)));
    Rules { rules, excess }
}

/// The atoms of what was learned with their ports, and the edges by peer.
fn table<'a>(writer: &Writer<'_>, learned: &'a [Learned]) -> (Table, Vec<Group<'a>>) {
    let mut found: Vec<(Atom, usize)> = Vec::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for alike in learned.chunk_by(Learned::has_same_peer) {
        let atoms = alike.first().and_then(|one| writer.atoms_of(one).ok());
        found.extend(atoms.into_iter().flatten().map(|atom| (atom, groups.len())));
        groups.push(Group {
            learned: alike,
            atoms: SmallVec::new(),
        });
    }
    found.sort_unstable();
    let mut table: Table = Vec::new();
    for (atom, number) in found {
        let group = &mut groups[number];
        let ports = group.learned.iter().flat_map(Learned::each_port);
        match table.last_mut() {
            Some((last, known)) if *last == atom => known.extend(ports),
            _ => table.push((atom, ports.collect())),
        }
        group.atoms.push(table.len() - 1);
    }
    for (_, ports) in &mut table {
        ports.sort_unstable();
        ports.dedup();
    }
    (table, groups)
}

/// The numbers of the rules that hold something: mostly one.
type Holders = SmallVec<[usize; 2]>;

/// A rule without its evidence, and the runs of ports that it holds.
struct Draft {
    rule: Rule,
    runs: Vec<usize>,
}

/// Which rules allow each edge, of all groups one after the other. `of_unit` tells which rules hold each unit.
fn holders(
    groups: &[Group<'_>],
    units: &Units<'_>,
    runs: &[Run],
    of_unit: &[Holders],
    drafts: &[Draft],
) -> Vec<Holders> {
    let mut all = Vec::with_capacity(groups.iter().map(|group| group.learned.len()).sum());
    for group in groups {
        let atoms = group.atoms.iter();
        let mut concerned: Holders = atoms
            .flat_map(|atom| &of_unit[units.of_atom[*atom]])
            .copied()
            .collect();
        concerned.sort_unstable();
        concerned.dedup();
        all.extend(group.learned.iter().map(|one| {
            let allows = |number: &usize| {
                let mut held = drafts[*number].runs.iter().map(|run| &runs[*run]);
                held.any(|run| run.meets(one.support.edge.protocol, one.ports()))
            };
            concerned.iter().copied().filter(allows).collect()
        }));
    }
    all
}

/// Gives every rule the edges that it allows, in their order.
fn add_evidence(learned: Vec<Learned>, holders: &[Holders], rules: &mut [Rule]) {
    let mut numbers = vec![0; rules.len()];
    for number in holders.iter().flatten() {
        numbers[*number] += 1;
    }
    // Once, so that no list takes more room than it needs.
    for (rule, number) in rules.iter_mut().zip(numbers) {
        rule.evidence.reserve_exact(number);
    }
    for (one, holders) in learned.into_iter().zip(holders) {
        let Some((last, others)) = holders.split_last() else {
            continue;
        };
        for number in others {
            rules[*number].evidence.push(one.support.clone());
        }
        rules[*last].evidence.push(one.support);
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.rules, "rules"),
            (self.peers, "entries of peers"),
            (self.ports, "entries of ports"),
        ];
        let parts = parts.iter().filter(|(number, _)| *number > 0);
        f.write_str(&text::list(
            parts.map(|(number, what)| format!("{number} {what}")),
        ))
    }
}

impl Excess {
    /// Whether nothing less would do.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Adds what one part has over its bound.
    fn add(&mut self, cost: Cost, bound: Cost) {
        self.rules += cost.rules - bound.rules;
        if cost.rules > bound.rules {
            return;
        }
        self.peers += cost.peers.saturating_sub(bound.peers);
        if cost.peers > bound.peers {
            return;
        }
        self.ports += cost.ports.saturating_sub(bound.ports);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excess(of: &[([usize; 3], [usize; 3])]) -> (usize, usize, usize) {
        let cost = |[rules, peers, ports]: [usize; 3]| Cost {
            rules,
            peers,
            ports,
        };
        let mut excess = Excess::default();
        for (has, bound) in of {
            excess.add(cost(*has), cost(*bound));
        }
        assert_eq!(excess.is_none(), excess == Excess::default());
        (excess.rules, excess.peers, excess.ports)
    }

    #[test]
    fn what_comes_after_is_not_known_where_there_may_be_less_of_what_comes_before() {
        assert_eq!(excess(&[([3, 5, 9], [3, 5, 9])]), (0, 0, 0));
        assert_eq!(excess(&[([5, 9, 9], [3, 3, 3])]), (2, 0, 0));
        assert_eq!(excess(&[([3, 9, 9], [3, 5, 3])]), (0, 4, 0));
        assert_eq!(excess(&[([3, 5, 9], [3, 5, 3])]), (0, 0, 6));
        assert_eq!(excess(&[([3, 4, 5], [3, 5, 9])]), (0, 0, 0));
        let parts = [([5, 9, 9], [3, 3, 3]), ([3, 9, 9], [3, 5, 3])];
        let more = [([3, 5, 9], [3, 5, 3]), ([4, 8, 9], [3, 8, 9])];
        assert_eq!(excess(&[parts, more].concat()), (3, 4, 6));
        assert_eq!(excess(&[parts, parts].concat()), (4, 8, 0));
        assert_eq!(excess(&[more[0], more[0]]), (0, 0, 12));
    }

    #[test]
    fn only_what_there_may_be_less_of_is_named() {
        let written = |rules, peers, ports| {
            let excess = Excess {
                rules,
                peers,
                ports,
            };
            excess.to_string()
        };
        assert_eq!(written(1, 0, 0), "1 rules");
        assert_eq!(
            written(0, 2, 3),
            text::list(["2 entries of peers", "3 entries of ports"])
        );
    }
}
