//! Exact, also later: what comes to the cluster and has nothing to do with a policy is not let in by it, and does
//! not change it.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};
use netpol_common::words::Protocol;
use proptest::prelude::*;

use super::judge::{allowed, passes, pods};
use super::world::{Case, PORTS, any_case, any_labels, any_workload};
use crate::identity::objects::Labels;
use crate::policy::cluster::Workload;
use crate::policy::emit::kubernetes;
use crate::policy::evaluate::{End, Pod};
use crate::policy::model::Selector;
use crate::policy::selectors::Selectors;
use crate::policy::{Direction, synthesise};

type Newcomer = (&'static str, &'static str, Workload);

fn any_growth() -> impl Strategy<Value = (Case, Vec<Newcomer>)> {
    (any_case(), prop::collection::vec(any_workload(), 1..5))
}

/// What selects the workloads of a case, with the namespace of each.
fn selectors(case: &Case) -> Vec<(&str, Selector)> {
    let all = Selectors::new(&case.cluster);
    let names = case.cluster.workloads.keys();
    names
        .filter_map(|name| Some((name.namespace.as_str(), all.of(name).ok()?)))
        .collect()
}

fn matches(selector: &Selector, labels: &Labels) -> bool {
    let mut keys = selector.iter();
    keys.all(|(key, values)| labels.get(key).is_some_and(|value| values.contains(value)))
}

fn is_unrelated(selectors: &[(&str, Selector)], namespace: &str, labels: &Labels) -> bool {
    let mut inside = selectors.iter().filter(|(of, _)| *of == namespace);
    !inside.any(|(_, selector)| matches(selector, labels))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Unrelated workloads, in these namespaces and others, change no policy and are allowed nothing.
    #[test]
    fn exact_after_growth((case, newcomers) in any_growth()) {
        let selectors = selectors(&case);
        let mut grown = case.clone();
        for (number, (namespace, kind, workload)) in newcomers.into_iter().enumerate() {
            let related = workload.label_sets.iter().any(|labels| !is_unrelated(&selectors, namespace, labels));
            let namespace = if related { "elsewhere" } else { namespace };
            grown.cluster.workloads.insert(WorkloadName::new(namespace, kind, format!("new{number}")), workload);
        }
        let before = synthesise(&case.graph, &case.cluster, &case.options).policies;
        let policies: Vec<NetworkPolicy> = before.iter().map(kubernetes::object).collect();
        for policy in &before {
            for direction in Direction::ALL {
                let asked = |case| allowed(case, &policies, &policy.workload, direction).map_err(TestCaseError::fail);
                prop_assert_eq!(asked(&case)?, asked(&grown)?, "{} of {}", direction, policy.workload);
            }
        }
        prop_assert_eq!(synthesise(&grown.graph, &grown.cluster, &grown.options).policies, before);
    }

    /// A pod with labels that nobody has is allowed nothing, however they are put together.
    #[test]
    fn nobodys_labels_are_let_in_nowhere(
        case in any_case(),
        strangers in prop::collection::vec((prop::sample::select(&["a", "b", "c"][..]), any_labels(&["app", "tier", "version", "zone"], 4)), 1..6),
    ) {
        let selectors = selectors(&case);
        let proposal = synthesise(&case.graph, &case.cluster, &case.options);
        let policies: Vec<NetworkPolicy> = proposal.policies.iter().map(kubernetes::object).collect();
        let unrelated = strangers.into_iter().filter(|(namespace, labels)| is_unrelated(&selectors, namespace, labels));
        let strangers: BTreeSet<(&str, Labels)> = unrelated.collect();
        for (namespace, labels) in strangers {
            let stranger = Pod {
                name: ObjectName::new(namespace, "stranger"),
                labels,
                node: Some("far".to_owned()),
                host_network: false,
                named_ports: Vec::new(),
            };
            for policy in &proposal.policies {
                for own in pods(&case, &policy.workload) {
                    for direction in Direction::ALL {
                        for to in Protocol::ALL.into_iter().flat_map(|protocol| PORTS.map(|port| (protocol, port))) {
                            let other = (End::Pod(&stranger), [10, 9, 9, 9].into());
                            let passes = passes(&policies, &own, other, direction, to);
                            prop_assert!(!passes, "{direction} of {} with {stranger:?}", policy.workload);
                        }
                    }
                }
            }
        }
    }
}
