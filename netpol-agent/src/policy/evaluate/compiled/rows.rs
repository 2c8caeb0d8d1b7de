//! What a class of pods is allowed with each class of peers.

use std::collections::BTreeMap;

use super::intern::{Interner, index};
use super::rules::{NamedPort, Rule};
use crate::policy::evaluate::PortSet;

/// The number of the set that holds every port.
pub(super) const EVERYTHING: u32 = 1;

/// A class of peers: the numbers of the peers of rules that it matches, in order, and its named ports.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct PeerClass {
    pub(super) peers: Vec<u32>,
    pub(super) named: Vec<NamedPort>,
}

/// Ends that the same policies of one direction select.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Whether any policy isolates them.
    pub(super) isolated: bool,
    /// The rules of these policies, in the order of the policies.
    pub(super) rules: Vec<Rule>,
    /// Their own named ports, where rules of this direction use names.
    pub(super) named: Vec<NamedPort>,
    /// What most classes of peers are allowed.
    usual: u32,
    /// What the others are allowed: classes in order, each with the number of a set.
    exceptions: Vec<(u32, u32)>,
}

/// The sets of ports that rows refer to.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    sets: Interner<PortSet>,
}

impl Sets {
    pub(super) fn new() -> Self {
        let mut sets = Interner::new();
        sets.number(PortSet::none());
        sets.number(PortSet::all());
        Self { sets }
    }

    pub(super) fn number(&mut self, set: PortSet) -> u32 {
        self.sets.number(set)
    }

    pub(super) fn get(&self, number: u32) -> &PortSet {
        self.sets.get(number)
    }
}

impl Row {
    /// The row of ends that nothing isolates.
    pub(super) fn open() -> Self {
        Self {
            isolated: false,
            rules: Vec::new(),
            named: Vec::new(),
            usual: EVERYTHING,
            exceptions: Vec::new(),
        }
    }

    /// The row of ends that are isolated and have these rules. `named` are their own named ports if it is they that
    /// are the servers; if not, the peers' names count.
    pub(super) fn isolated(
        rules: Vec<Rule>,
        named: Option<Vec<NamedPort>>,
        peers: &Peers<'_>,
        sets: &mut Sets,
    ) -> Self {
        let everybody: Vec<usize> = (0..rules.len())
            .filter(|at| rules[*at].peers.is_none())
            .collect();
        let by_peer = named.is_none() && rules.iter().any(Rule::is_named);
        let mut matched: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        if by_peer && !everybody.is_empty() {
            matched.extend(peers.with_names().map(|class| (class, Vec::new())));
        }
        for (at, rule) in rules.iter().enumerate() {
            for class in rule.peers.iter().flatten().flat_map(|peer| peers.of(*peer)) {
                let of_class = matched.entry(*class).or_default();
                if of_class.last() != Some(&at) {
                    of_class.push(at);
                }
            }
        }
        let mut known: BTreeMap<(Vec<usize>, Option<u32>), u32> = BTreeMap::new();
        let mut allowed = |of_class: Vec<usize>, class: Option<u32>| {
            let names = class.filter(|class| by_peer && !peers.class(*class).named.is_empty());
            *known
                .entry((of_class, names))
                .or_insert_with_key(|(of_class, names)| {
                    let at_peer = names.map(|class| peers.class(class).named.as_slice());
                    let at = named.as_deref().or(at_peer).unwrap_or_default();
                    let ports = everybody
                        .iter()
                        .chain(of_class)
                        .map(|rule| rules[*rule].ports_at(at));
                    sets.number(ports.fold(PortSet::none(), |all, ports| all.union(&ports)))
                })
        };
        let usual = allowed(Vec::new(), None);
        let each = matched.into_iter();
        let each: BTreeMap<u32, u32> = each
            .map(|(class, rules)| (class, allowed(rules, Some(class))))
            .collect();
        let (usual, exceptions) = settle(&each, usual, index(peers.classes.len()));
        Self {
            isolated: true,
            rules,
            named: named.unwrap_or_default(),
            usual,
            exceptions,
        }
    }

    /// The number of the set of ports that it allows with a class of peers.
    pub(super) fn allowed(&self, class: u32) -> u32 {
        match self
            .exceptions
            .binary_search_by_key(&class, |(class, _)| *class)
        {
            Ok(at) => self.exceptions[at].1,
            Err(_) => self.usual,
        }
    }

    /// The classes that are allowed another set than most.
    pub(super) fn exceptions(&self) -> &[(u32, u32)] {
        &self.exceptions
    }
}

/// Classes of peers, and which of them a peer of a rule matches.
pub(super) struct Peers<'a> {
    classes: &'a [PeerClass],
    matched: Vec<Vec<u32>>,
}

impl<'a> Peers<'a> {
    /// The classes that each of so many peers matches.
    pub(super) fn new(classes: &'a [PeerClass], peers: usize) -> Self {
        let mut matched = vec![Vec::new(); peers];
        for (number, class) in classes.iter().enumerate() {
            for peer in &class.peers {
                matched[*peer as usize].push(index(number));
            }
        }
        Self { classes, matched }
    }

    fn of(&self, peer: u32) -> &[u32] {
        &self.matched[peer as usize]
    }

    fn class(&self, number: u32) -> &PeerClass {
        &self.classes[number as usize]
    }

    fn with_names(&self) -> impl Iterator<Item = u32> + '_ {
        let numbered = self.classes.iter().enumerate();
        let named = numbered.filter(|(_, class)| !class.named.is_empty());
        named.map(|(number, _)| index(number))
    }
}

/// What is most frequent, and the rest: so that a row is as short as it can be.
fn settle(each: &BTreeMap<u32, u32>, usual: u32, classes: u32) -> (u32, Vec<(u32, u32)>) {
    let mut frequency: BTreeMap<u32, usize> = BTreeMap::new();
    frequency.insert(usual, classes as usize - each.len());
    for set in each.values() {
        *frequency.entry(*set).or_default() += 1;
    }
    let most = frequency.iter().max_by_key(|(_, times)| **times);
    let most = most.map_or(usual, |(set, _)| *set);
    let set = |class: u32| (class, each.get(&class).copied().unwrap_or(usual));
    let exceptions = |classes: &mut dyn Iterator<Item = u32>| {
        classes.map(set).filter(|(_, set)| *set != most).collect()
    };
    if most == usual {
        return (most, exceptions(&mut each.keys().copied()));
    }
    (most, exceptions(&mut (0..classes)))
}
