//! Explained: each rule names exactly the edges that it allows.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::judge::{is_learned, passes, pods};
use super::promises::ends;
use super::world::any_case;
use crate::identity::{EdgeId, Peer};
use crate::policy::emit::kubernetes;
use crate::policy::evaluate::End;
use crate::policy::{Basis, Direction, Policy, synthesise};

/// The most that annotations of an applied object may come to, in bytes.
const ANNOTATIONS: usize = 1024;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn explained(case in any_case()) {
        for policy in &synthesise(&case.graph, &case.cluster, &case.options).policies {
            let own = pods(&case, &policy.workload);
            for direction in Direction::ALL {
                let mut learned: BTreeSet<&EdgeId> = case.graph.edges.iter()
                    .filter(|(edge, evidence)| *ends_of(edge, direction).0 == Peer::Workload(policy.workload.clone())
                        && is_learned(&case, edge, evidence, direction))
                    .map(|(edge, _)| &**edge)
                    .collect();
                let rules = policy.rules(direction);
                let implied = rules.iter().flat_map(|rule| &rule.evidence)
                    .filter(|support| matches!(support.basis, Basis::DnsPair | Basis::DnsAlways));
                learned.extend(implied.map(|support| &*support.edge));
                let mut named = BTreeSet::new();
                for rule in rules {
                    let mut alone = Policy { ingress: Vec::new(), egress: Vec::new(), ..policy.clone() };
                    match direction {
                        Direction::Ingress => alone.ingress.push(rule.clone()),
                        Direction::Egress => alone.egress.push(rule.clone()),
                    }
                    let alone = [kubernetes::object(&alone)];
                    let allows = |edge: &EdgeId| ends(&case, ends_of(edge, direction).1).iter().any(|(pod, address)| {
                        let other = pod.as_ref().map_or(End::Outside, End::Pod);
                        passes(&alone, &own[0], (other, *address), direction, (edge.protocol, edge.port))
                    });
                    let allowed: BTreeSet<&EdgeId> = learned.iter().copied().filter(|edge| allows(edge)).collect();
                    let evidence: BTreeSet<&EdgeId> = rule.evidence.iter().map(|support| &*support.edge).collect();
                    prop_assert_eq!(&evidence, &allowed, "{} of {}", direction, policy.workload);
                    prop_assert_eq!(evidence.len(), rule.evidence.len());
                    named.extend(evidence);
                }
                prop_assert_eq!(named, learned);
            }
            let annotations = kubernetes::object(policy).metadata.annotations.unwrap_or_default();
            let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert!(size <= ANNOTATIONS);
        }
    }
}

/// The own end and the other one.
fn ends_of(edge: &EdgeId, direction: Direction) -> (&Peer, &Peer) {
    match direction {
        Direction::Ingress => (&edge.server, &edge.client),
        Direction::Egress => (&edge.client, &edge.server),
    }
}
