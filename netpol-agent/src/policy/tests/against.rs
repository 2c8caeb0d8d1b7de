//! What is proposed beside policies that are there already, judged by the evaluator.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol_common::names::{ObjectName, WorkloadName};
use proptest::prelude::*;
use serde_json::json;

use super::judge::{is_learned, other_pods, pods};
use super::promises::ends;
use super::world::{Case, any_case};
use crate::identity::{EdgeId, Peer};
use crate::policy::against::{Existing, Missing, Remark, missing};
use crate::policy::emit::kubernetes;
use crate::policy::evaluate::{Connection, End, Evaluator, Member, Pod, Reading, Side, World};
use crate::policy::options::OptionsFor;
use crate::policy::validate::validate;
use crate::policy::{Direction, synthesise};

/// The pods of a case, each kind twice, since a peer is another pod than the one that is judged.
fn world(case: &Case) -> World {
    let mut members = Vec::new();
    for name in case.cluster.workloads.keys() {
        for pod in pods(case, name).into_iter().chain(other_pods(case, name)) {
            members.push(Member {
                pod,
                addresses: Vec::new(),
                workload: name.clone(),
                stand_in: false,
            });
        }
    }
    World::new(BTreeMap::new(), case.cluster.nodes.clone(), members)
}

fn completed(case: &Case, existing: &[NetworkPolicy]) -> Missing {
    missing(
        &case.graph,
        &case.cluster,
        &OptionsFor::from(case.options.clone()),
        &Existing {
            world: &world(case),
            policies: existing,
            reading: Reading::default(),
        },
    )
}

fn objects(missing: &Missing) -> Vec<NetworkPolicy> {
    missing
        .proposal
        .policies
        .iter()
        .map(kubernetes::object)
        .collect()
}

/// Policies that may be there: parts of what would be proposed, and some that people write.
fn any_existing(case: &Case) -> impl Strategy<Value = Vec<NetworkPolicy>> + use<> {
    let whole = synthesise(&case.graph, &case.cluster, &case.options);
    let whole: Vec<NetworkPolicy> = whole.policies.iter().map(kubernetes::object).collect();
    let kept = prop::collection::vec(any::<[u8; 4]>(), whole.len());
    let own = kept.prop_map(move |kept| {
        let each = whole.iter().zip(kept);
        each.filter_map(|(policy, choice)| part(policy, choice))
            .collect::<Vec<_>>()
    });
    let others = prop::sample::subsequence(written(), 0..=2);
    (own, others).prop_map(|(own, others)| [own, others].concat())
}

/// A policy, perhaps without one of its rules or one direction, perhaps under another name; or nothing.
fn part(policy: &NetworkPolicy, [keep, ingress, egress, name]: [u8; 4]) -> Option<NetworkPolicy> {
    let mut policy = policy.clone();
    let spec = policy.spec.as_mut()?;
    fn thin<T>(rules: &mut Option<Vec<T>>, choice: u8) {
        let rules = rules.get_or_insert_default();
        if choice.is_multiple_of(2) && !rules.is_empty() {
            rules.remove(usize::from(choice / 2) % rules.len());
        }
    }
    thin(&mut spec.ingress, ingress);
    thin(&mut spec.egress, egress);
    if keep % 4 == 1 {
        spec.policy_types = Some(vec!["Ingress".to_owned()]);
    }
    if name.is_multiple_of(2) {
        policy.metadata.name = policy.metadata.name.map(|name| format!("{name}-theirs"));
    }
    (!keep.is_multiple_of(4)).then_some(policy)
}

fn written() -> Vec<NetworkPolicy> {
    let policy = |namespace: &str, name: &str, spec: serde_json::Value| {
        let metadata = json!({"namespace": namespace, "name": name});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    };
    vec![
        policy(
            "a",
            "deny",
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        ),
        policy("b", "deny-ingress", json!({"podSelector": {}})),
        policy(
            "a",
            "same",
            json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}),
        ),
        policy(
            "b",
            "http",
            json!({"podSelector": {}, "egress": [{"ports": [{"port": 80, "endPort": 82}]}]}),
        ),
        policy(
            "b",
            "x",
            json!({
                "podSelector": {"matchLabels": {"app": "x"}},
                "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 443}]}],
            }),
        ),
    ]
}

fn case_and_existing() -> impl Strategy<Value = (Case, Vec<NetworkPolicy>)> {
    any_case().prop_flat_map(|case| {
        let existing = any_existing(&case);
        (Just(case), existing)
    })
}

/// What policies say of an edge at one of its ends, for each pair of pods that may take part.
fn sides(
    case: &Case,
    policies: &[NetworkPolicy],
    edge: &EdgeId,
    direction: Direction,
) -> Vec<Side> {
    let (own, other) = match direction {
        Direction::Ingress => (&edge.server, &edge.client),
        Direction::Egress => (&edge.client, &edge.server),
    };
    let Peer::Workload(name) = own else {
        return Vec::new();
    };
    let others = ends(case, other);
    let own = pods(case, name);
    let pairs = own
        .iter()
        .flat_map(|own| others.iter().map(move |other| (own, other)));
    pairs
        .map(|(own, other)| side(policies, own, other, edge, direction))
        .collect()
}

fn side(
    policies: &[NetworkPolicy],
    own: &Pod,
    (other, address): &(Option<Pod>, std::net::IpAddr),
    edge: &EdgeId,
    direction: Direction,
) -> Side {
    let namespaces = BTreeMap::new();
    let evaluator = Evaluator {
        namespaces: &namespaces,
        policies,
        reading: Reading::default(),
    };
    let own_end = (End::Pod(own), std::net::IpAddr::from([10, 0, 0, 1]));
    let other_end = (other.as_ref().map_or(End::Outside, End::Pod), *address);
    let (client, server) = match direction {
        Direction::Ingress => (other_end, own_end),
        Direction::Egress => (own_end, other_end),
    };
    let verdict = evaluator.verdict(&Connection {
        client: client.0,
        client_address: client.1,
        server: server.0,
        server_address: server.1,
        protocol: edge.protocol,
        port: edge.port,
    });
    match direction {
        Direction::Ingress => verdict.ingress,
        Direction::Egress => verdict.egress,
    }
}

/// Every edge at each end where it was learned, of workloads that would get a policy.
fn learned(case: &Case) -> Vec<(EdgeId, Direction)> {
    let whole = synthesise(&case.graph, &case.cluster, &case.options);
    let with_policy: BTreeSet<&WorkloadName> = whole
        .policies
        .iter()
        .map(|policy| &policy.workload)
        .collect();
    let mut learned = Vec::new();
    for (edge, evidence) in &case.graph.edges {
        for (direction, end) in [
            (Direction::Ingress, &edge.server),
            (Direction::Egress, &edge.client),
        ] {
            if let Peer::Workload(name) = end
                && with_policy.contains(name)
                && is_learned(case, edge, evidence, direction)
            {
                learned.push((EdgeId::clone(edge), direction));
            }
        }
    }
    learned
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// What is there and what is missing allow together whatever was learned.
    #[test]
    fn what_is_there_and_what_is_missing_are_sound_together((case, existing) in case_and_existing()) {
        let missing = completed(&case, &existing);
        let added = objects(&missing);
        let names = |policies: &[NetworkPolicy]| -> BTreeSet<ObjectName> {
            let text = |field: &Option<String>| field.clone().unwrap();
            let name = |policy: &NetworkPolicy| ObjectName::new(text(&policy.metadata.namespace), text(&policy.metadata.name));
            policies.iter().map(name).collect()
        };
        prop_assert!(names(&existing).is_disjoint(&names(&added)), "a policy takes another's place");
        prop_assert!(added.iter().all(|policy| validate(policy).is_empty()));
        let all = [existing, added].concat();
        for (edge, direction) in learned(&case) {
            for side in sides(&case, &all, &edge, direction) {
                prop_assert!(side.allowed, "{direction} {edge:?}");
            }
        }
    }

    /// No rule that is added rests on an edge that a policy already allows whichever pods take part.
    #[test]
    fn nothing_is_missing_that_is_allowed_already((case, existing) in case_and_existing()) {
        let missing = completed(&case, &existing);
        for policy in &missing.proposal.policies {
            for direction in Direction::ALL {
                for support in policy.rules(direction).iter().flat_map(|rule| &rule.evidence) {
                    let sides = sides(&case, &existing, &support.edge, direction);
                    let covered = sides.iter().all(|side| side.isolated && !side.by.is_empty());
                    prop_assert!(!covered || sides.is_empty(), "{direction} {:?}", support.edge);
                }
            }
        }
    }

    /// Rules that are said to be unused can go.
    #[test]
    fn unused_rules_can_go((case, existing) in case_and_existing()) {
        let missing = completed(&case, &existing);
        let mut fewer = existing.clone();
        for remark in missing.remarks.iter().rev() {
            let Remark::Unused { direction, rule, .. } = remark else { continue };
            let policy = fewer.iter_mut().find(|policy| {
                policy.metadata.name.as_ref() == Some(&rule.policy.name)
                    && policy.metadata.namespace.as_ref() == Some(&rule.policy.namespace)
            });
            let spec = policy.and_then(|policy| policy.spec.as_mut()).unwrap();
            let types = spec.policy_types.clone();
            if types.is_none_or(|types| types.is_empty()) {
                let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
                let types = ["Ingress", "Egress"].into_iter().take(1 + usize::from(egress));
                spec.policy_types = Some(types.map(str::to_owned).collect());
            }
            match direction {
                Direction::Ingress => drop(spec.ingress.as_mut().unwrap().remove(rule.rule)),
                Direction::Egress => drop(spec.egress.as_mut().unwrap().remove(rule.rule)),
            }
        }
        let all = [fewer, objects(&missing)].concat();
        for (edge, direction) in learned(&case) {
            for side in sides(&case, &all, &edge, direction) {
                prop_assert!(side.allowed, "{direction} {edge:?}");
            }
        }
    }

    /// Beside nothing everything is missing; beside the whole proposal nothing is.
    #[test]
    fn the_extremes(case in any_case()) {
        let whole = synthesise(&case.graph, &case.cluster, &case.options);
        prop_assert_eq!(&completed(&case, &[]).proposal, &whole);
        let existing: Vec<NetworkPolicy> = whole.policies.iter().map(kubernetes::object).collect();
        let missing = completed(&case, &existing);
        prop_assert_eq!(&missing.proposal.policies, &[]);
        let unused = missing.remarks.iter().any(|remark| matches!(remark, Remark::Unused { .. }));
        prop_assert!(!unused, "{:?}", missing.remarks);
    }
}
