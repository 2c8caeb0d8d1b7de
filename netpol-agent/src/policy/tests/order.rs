//! Deterministic: the order in which things become known changes nothing, nor does what was known before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netpol_common::names::WorkloadName;
use proptest::prelude::*;

use super::wide::any_wide;
use super::world::{Case, any_case};
use crate::graph::Evidence;
use crate::identity::EdgeId;
use crate::policy::emit::Format;
use crate::policy::{Policy, Proposal, Synthesiser, synthesise};

/// A case, an order of its edges, and which of them were known otherwise before.
fn any_history(
    cases: impl Strategy<Value = Case>,
) -> impl Strategy<Value = (Case, Vec<Arc<EdgeId>>, Vec<bool>)> {
    cases.prop_flat_map(|case| {
        let edges: Vec<Arc<EdgeId>> = case.graph.edges.keys().cloned().collect();
        let before = prop::collection::vec(any::<bool>(), edges.len());
        (Just(case), Just(edges).prop_shuffle(), before)
    })
}

fn by_workload(proposal: &Proposal) -> BTreeMap<&WorkloadName, &Policy> {
    let policies = proposal.policies.iter();
    policies.map(|policy| (&policy.workload, policy)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Edges that become known one by one, in any order and corrected later, come to what all at once come to.
    #[test]
    fn deterministic((case, edges, before) in any_history(any_case())) {
        let (cluster, options) = (Cow::Borrowed(&case.cluster), Cow::Owned(case.options.clone().into()));
        let mut synthesiser = Synthesiser::new(cluster, options);
        for (edge, _) in edges.iter().zip(&before).filter(|(_, before)| **before) {
            synthesiser.learn(edge, &Evidence::default());
        }
        for edge in &edges {
            synthesiser.learn(edge, &case.graph.edges[edge]);
        }
        let at_once = synthesise(&case.graph, &case.cluster, &case.options);
        prop_assert_eq!(&synthesiser.proposal(), &at_once);
        let again = Format::Yaml.text(&synthesiser.proposal().policies, true);
        prop_assert_eq!(again, Format::Yaml.text(&at_once.policies, true));
    }

    /// All edges at once come to the same, whatever was known of some before.
    #[test]
    fn deterministic_after_what_was_known((case, edges, before) in any_history(any_case())) {
        let (cluster, options) = (Cow::Borrowed(&case.cluster), Cow::Owned(case.options.clone().into()));
        let mut synthesiser = Synthesiser::new(cluster, options);
        for (edge, known) in edges.iter().zip(&before) {
            match known {
                true => drop(synthesiser.learn(edge, &Evidence::default())),
                false => drop(synthesiser.learn(edge, &case.graph.edges[edge])),
            }
        }
        synthesiser.learn_all(&case.graph);
        prop_assert_eq!(&synthesiser.proposal(), &synthesise(&case.graph, &case.cluster, &case.options));
    }

    /// One workload proposed again has the policy of a full run, and an edge changes no policy but those it names.
    #[test]
    fn incremental((case, edges, _) in any_history(prop_oneof![any_case(), any_wide()])) {
        let (cluster, options) = (Cow::Borrowed(&case.cluster), Cow::Owned(case.options.clone().into()));
        let mut synthesiser = Synthesiser::new(cluster, options);
        let mut known = synthesiser.proposal();
        for edge in &edges {
            let changed = synthesiser.learn(edge, &case.graph.edges[edge]);
            let next = synthesiser.proposal();
            let (before, after) = (by_workload(&known), by_workload(&next));
            let policies: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in policies {
                let same = before.get(*name) == after.get(*name);
                prop_assert!(same || changed.contains(*name), "{} changed by {:?}", name, edge);
            }
            for name in case.cluster.workloads.keys() {
                let (policy, findings) = synthesiser.resynthesise(name);
                prop_assert_eq!(policy.as_ref(), after.get(name).copied());
                prop_assert!(findings.iter().all(|finding| next.findings.contains(finding)));
            }
            known = next;
        }
    }
}
