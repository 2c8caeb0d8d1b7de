//! Which of many selectors match a pod, without trying all of them.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::intern::index;
use crate::identity::objects::Labels;
use crate::policy::evaluate::matching;

/// The pods that a peer, or a policy's own selector, means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    /// Whose pods.
    pub(super) namespace: Scope<'a>,
    /// Which of them; all if absent.
    pub(super) pods: Option<&'a LabelSelector>,
}

/// The namespaces of a [`Selection`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// The one of that name.
    Named(&'a str),
    /// Those that a selector matches.
    Matching(&'a LabelSelector),
}

/// Selections, filed under something that a pod must have in order to match.
#[derive(Debug, Default)]
pub(super) struct Selections<'a> {
    all: Vec<Selection<'a>>,
    filed: HashMap<Key<'a>, Vec<u32>>,
}

/// A namespace and a label, as far as a selection asks for one.
type Key<'a> = (Option<&'a str>, Option<(&'a str, &'a str)>);

/// The label that the API server sets on every namespace: its name.
const NAME: &str = "kubernetes.io/metadata.name";

impl<'a> Selections<'a> {
    /// Adds a selection and tells its number.
    pub(super) fn add(&mut self, selection: Selection<'a>) -> u32 {
        let number = index(self.all.len());
        let namespaces = match selection.namespace {
            Scope::Named(name) => vec![Some(name)],
            Scope::Matching(selector) => wanted(selector, |key| key == NAME)
                .into_iter()
                .map(|label| label.map(|(_, name)| name))
                .collect(),
        };
        let labels = selection
            .pods
            .map_or_else(|| vec![None], |pods| wanted(pods, |_| true));
        for namespace in namespaces {
            for label in &labels {
                self.filed
                    .entry((namespace, *label))
                    .or_default()
                    .push(number);
            }
        }
        self.all.push(selection);
        number
    }

    /// The numbers of the selections that match a pod, in order.
    pub(super) fn matching(&self, namespace: (&str, &Labels), labels: &Labels) -> Vec<u32> {
        let own = labels
            .iter()
            .map(|(key, value)| Some((key.as_str(), value.as_str())));
        let own: Vec<_> = own.chain([None]).collect();
        let mut found = Vec::new();
        for scope in [Some(namespace.0), None] {
            let filed = own
                .iter()
                .filter_map(|label| self.filed.get(&(scope, *label)));
            let candidates = filed.flatten().copied();
            found.extend(
                candidates.filter(|number| self.all[*number as usize].matches(namespace, labels)),
            );
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Selection<'_> {
    fn matches(&self, (name, of_namespace): (&str, &Labels), labels: &Labels) -> bool {
        let there = match self.namespace {
            Scope::Named(wanted) => wanted == name,
            Scope::Matching(selector) => matching::selector(selector, of_namespace),
        };
        there
            && self
                .pods
                .is_none_or(|selector| matching::selector(selector, labels))
    }
}

/// Labels one of which must be there for a selector to match; a single `None` if it asks for none by value.
fn wanted(selector: &LabelSelector, is: impl Fn(&str) -> bool) -> Vec<Option<(&str, &str)>> {
    let mut equal = selector.match_labels.iter().flatten();
    if let Some((key, value)) = equal.find(|(key, _)| is(key)) {
        return vec![Some((key, value))];
    }
    let mut listed = selector.match_expressions.iter().flatten();
    let listed = listed.find(|one| one.operator == "In" && is(&one.key));
    let Some(listed) = listed else {
        return vec![None];
    };
    let values = listed.values.iter().flatten();
    values
        .map(|value| Some((listed.key.as_str(), value.as_str())))
        .collect()
}
