//! Which labels select a workload and no other of its namespace.
//!
//! The owner's own selector is taken if it matches no other workload: people know it. Otherwise the fewest lasting
//! labels of the pod template are added to it. Labels are judged against every template and every pod of the
//! namespace, so that a workload at zero, or a CronJob between two runs, is not selected by chance.

use std::collections::{BTreeMap, BTreeSet};

use netpol_common::names::WorkloadName;

use super::cluster::{Cluster, Workload};
use super::labels;
use super::model::Selector;
use crate::identity::objects::Labels;

/// How many sets of labels are tried before the smallest is no longer looked for.
const SEARCH: usize = 100_000;

/// The selectors of a cluster's workloads.
pub(super) struct Selectors<'a> {
    cluster: &'a Cluster,
    namespaces: BTreeMap<&'a str, Namespace<'a>>,
}

/// Why there is no selector for a workload: those that all its lasting labels match too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unselectable {
    pub(super) clashes: BTreeSet<WorkloadName>,
}

/// The labels found in a namespace, each with those who bear it.
#[derive(Default)]
struct Namespace<'a> {
    bearers: Vec<(&'a WorkloadName, &'a Labels)>,
    by_label: BTreeMap<(&'a str, &'a str), Vec<usize>>,
}

type Label<'a> = (&'a str, &'a str);

impl<'a> Selectors<'a> {
    /// Takes in the labels of a cluster.
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let mut namespaces: BTreeMap<&str, Namespace<'_>> = BTreeMap::new();
        for (name, workload) in &cluster.workloads {
            let namespace = namespaces.entry(&name.namespace).or_default();
            for labels in bearers(workload) {
                namespace.add(name, labels);
            }
        }
        Self {
            cluster,
            namespaces,
        }
    }

    /// The selector of a workload of the cluster.
    pub(super) fn of(&self, name: &WorkloadName) -> Result<Selector, Unselectable> {
        let nothing = Unselectable {
            clashes: BTreeSet::new(),
        };
        let (Some(workload), Some(namespace)) = (
            self.cluster.workloads.get(name),
            self.namespaces.get(&*name.namespace),
        ) else {
            return Err(nothing);
        };
        let lasting = lasting(workload);
        let base: Vec<Label<'_>> = (lasting.iter().copied())
            .filter(|(key, value)| workload.selector.get(*key).is_some_and(|own| own == value))
            .collect();
        let rivals = namespace.rivals(name, &base);
        if rivals.is_empty() && !base.is_empty() {
            return Ok(selector(&base));
        }
        let more: Vec<Label<'_>> = lasting
            .into_iter()
            .filter(|label| !base.contains(label))
            .collect();
        if more.is_empty() && base.is_empty() {
            return Err(nothing);
        }
        let added = fewest(&more, &rivals, base.is_empty()).ok_or_else(|| Unselectable {
            clashes: clashes(&more, &rivals),
        })?;
        Ok(selector(base.iter().chain(&added)))
    }
}

impl<'a> Namespace<'a> {
    fn add(&mut self, name: &'a WorkloadName, labels: &'a Labels) {
        let number = self.bearers.len();
        self.bearers.push((name, labels));
        for (key, value) in labels {
            self.by_label.entry((key, value)).or_default().push(number);
        }
    }

    /// Labels of other workloads that bear all of `wanted`.
    fn rivals(
        &self,
        name: &WorkloadName,
        wanted: &[Label<'_>],
    ) -> Vec<(&'a WorkloadName, &'a Labels)> {
        let rarest = wanted
            .iter()
            .filter_map(|label| self.by_label.get(label))
            .min_by_key(|bearers| bearers.len());
        let is_rival =
            |(other, labels): &(&WorkloadName, &Labels)| *other != name && bears(labels, wanted);
        match rarest {
            Some(numbers) => numbers
                .iter()
                .map(|number| self.bearers[*number])
                .filter(is_rival)
                .collect(),
            None => self.bearers.iter().copied().filter(is_rival).collect(),
        }
    }
}

/// The label sets of a workload; its selector stands for the template where nothing else is known.
fn bearers(workload: &Workload) -> Vec<&Labels> {
    match workload.label_sets.is_empty() {
        true => vec![&workload.selector],
        false => workload.label_sets.iter().collect(),
    }
}

/// The lasting labels that everything of a workload bears, in canonical order.
fn lasting(workload: &Workload) -> Vec<Label<'_>> {
    let sets = bearers(workload);
    let Some((first, others)) = sets.split_first() else {
        return Vec::new();
    };
    let mut lasting: Vec<Label<'_>> = first
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| labels::lasts(key, workload.selector.contains_key(*key)))
        .filter(|label| others.iter().all(|labels| bears(labels, &[*label])))
        .collect();
    lasting.sort_by_key(|(key, _)| labels::rank(key));
    lasting
}

/// Whether all of `wanted` are among the labels.
fn bears(labels: &Labels, wanted: &[Label<'_>]) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(*key).is_some_and(|own| own == value))
}

/// The fewest labels, the first such set in canonical order, of which each rival lacks at least one; at least one
/// if `needed`.
fn fewest<'l>(
    labels: &[Label<'l>],
    rivals: &[(&WorkloadName, &Labels)],
    needed: bool,
) -> Option<Vec<Label<'l>>> {
    let lacking: BTreeSet<Vec<bool>> = rivals
        .iter()
        .map(|(_, rival)| {
            labels
                .iter()
                .map(|label| !bears(rival, &[*label]))
                .collect()
        })
        .collect();
    if lacking.iter().any(|lacks| !lacks.contains(&true)) {
        return None;
    }
    let mut budget = SEARCH;
    for size in usize::from(needed)..=labels.len() {
        let mut chosen = Vec::new();
        match search(&lacking, labels.len(), size, 0, &mut chosen, &mut budget) {
            Some(true) => return Some(chosen.into_iter().map(|number| labels[number]).collect()),
            Some(false) => {}
            None => break,
        }
    }
    Some(without_spare(labels, &lacking))
}

/// Looks for `size` more labels from `from` on; `None` when the budget is used up.
fn search(
    lacking: &BTreeSet<Vec<bool>>,
    labels: usize,
    size: usize,
    from: usize,
    chosen: &mut Vec<usize>,
    budget: &mut usize,
) -> Option<bool> {
    *budget = budget.checked_sub(1)?;
    if size == 0 {
        return Some(tells_apart(lacking, chosen));
    }
    for number in from..labels {
        chosen.push(number);
        if search(lacking, labels, size - 1, number + 1, chosen, budget)? {
            return Some(true);
        }
        chosen.pop();
    }
    Some(false)
}

/// Whether each rival lacks one of the chosen labels.
fn tells_apart(lacking: &BTreeSet<Vec<bool>>, chosen: &[usize]) -> bool {
    lacking
        .iter()
        .all(|lacks| chosen.iter().any(|number| lacks[*number]))
}

/// All labels less those that can go, the least telling first.
fn without_spare<'l>(labels: &[Label<'l>], lacking: &BTreeSet<Vec<bool>>) -> Vec<Label<'l>> {
    let mut kept: Vec<usize> = (0..labels.len()).collect();
    for number in (0..labels.len()).rev() {
        let fewer: Vec<usize> = kept
            .iter()
            .copied()
            .filter(|kept| *kept != number)
            .collect();
        if !fewer.is_empty() && tells_apart(lacking, &fewer) {
            kept = fewer;
        }
    }
    kept.into_iter().map(|number| labels[number]).collect()
}

/// The rivals that lack none of the labels.
fn clashes(labels: &[Label<'_>], rivals: &[(&WorkloadName, &Labels)]) -> BTreeSet<WorkloadName> {
    rivals
        .iter()
        .filter(|(_, rival)| bears(rival, labels))
        .map(|(name, _)| (*name).clone())
        .collect()
}

fn selector<'l>(labels: impl IntoIterator<Item = &'l Label<'l>>) -> Selector {
    labels
        .into_iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
