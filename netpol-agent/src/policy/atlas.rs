//! Where each workload lies among all others, in numbers: what selects it, without the text.
//!
//! The texts of a cluster are numbered once, in their order, so that the rules of each workload compare numbers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use netpol_common::names::WorkloadName;

use super::model::Selector;

/// The texts by which the workloads of a cluster are selected.
#[derive(Clone, Debug, Default)]
pub(super) struct Atlas {
    /// Namespaces and values of labels, in their order.
    names: Vec<Arc<str>>,
    /// The keys of selectors, in their order.
    keys: Vec<Vec<Arc<str>>>,
    /// For each of these, the selectors of workloads by the numbers of their values.
    selectors: Vec<HashMap<Box<[u32]>, Selector, FixedState>>,
}

/// What selects a workload, in numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Spot {
    /// The number of the selector's keys.
    pub(super) keys: u32,
    /// The numbers of the namespace, and of the value of each key.
    pub(super) names: Box<[u32]>,
}

impl Atlas {
    /// The texts of these selectors and of their workloads' namespaces.
    pub(super) fn of<'a>(selected: impl Iterator<Item = (&'a WorkloadName, &'a Selector)>) -> Self {
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (workload, selector) in selected {
            names.extend(texts(workload, selector));
            keys.insert(selector.keys().collect::<Vec<_>>());
        }
        let owned = |keys: Vec<&str>| keys.into_iter().map(Arc::from).collect();
        Self {
            names: names.into_iter().map(Arc::from).collect(),
            selectors: vec![HashMap::default(); keys.len()],
            keys: keys.into_iter().map(owned).collect(),
        }
    }

    /// Where a workload lies whose texts are known. Its selector is known from then on.
    pub(super) fn spot(&mut self, workload: &WorkloadName, selector: &Selector) -> Option<Spot> {
        let name = |text: &str| self.names.binary_search_by(|known| (**known).cmp(text));
        let names = texts(workload, selector).map(|text| name(text).ok().map(|name| name as u32));
        let keys = |known: &Vec<Arc<str>>| known.iter().map(|key| &**key).cmp(selector.keys());
        let names: Box<[u32]> = names.collect::<Option<_>>()?;
        let keys = self.keys.binary_search_by(keys).ok()?;
        let known = self.selectors[keys].entry(names[1..].into());
        known.or_insert_with(|| selector.clone());
        Some(Spot {
            keys: keys as u32,
            names,
        })
    }

    /// A namespace, or a value of a label.
    pub(super) fn name(&self, number: u32) -> &Arc<str> {
        &self.names[number as usize]
    }

    /// What selects some workload by these keys, of which each has one value.
    pub(super) fn selector(&self, keys: u32, values: &[u32]) -> Option<&Selector> {
        self.selectors[keys as usize].get(values)
    }

    /// The keys of a selector.
    pub(super) fn keys(&self, number: u32) -> &[Arc<str>] {
        &self.keys[number as usize]
    }
}

/// A workload's namespace and the values of its selector, which has one for each key.
fn texts<'a>(workload: &'a WorkloadName, selector: &'a Selector) -> impl Iterator<Item = &'a str> {
    let values = selector.values();
    let values = values.map(|values| values.first().unwrap_or_default());
    std::iter::once(workload.namespace.as_str()).chain(values)
}
