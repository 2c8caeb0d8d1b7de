//! Which namespace a finding is about.

use super::finding::Finding;
use crate::identity::{EdgeId, Peer};

impl Finding {
    /// Whether it is about a workload of that namespace, or about none in particular.
    #[must_use]
    pub fn is_about(&self, namespace: &str) -> bool {
        match self {
            Self::DefaultDenyLeftOut { namespace: own, .. } => own == namespace,
            Self::Unselectable { workload, .. }
            | Self::Withheld { workload, .. }
            | Self::NeedsWidening { workload, .. }
            | Self::OutsideUnknown { workload, .. }
            | Self::Unenforceable { workload, .. }
            | Self::IgnoredLabel { workload, .. }
            | Self::CutOff { workload }
            | Self::RejectedStillAllowed { workload, .. }
            | Self::Widening { workload, .. }
            | Self::NotLeast { workload, .. }
            | Self::OtherView { workload, .. }
            | Self::NoTraffic { workload, .. }
            | Self::NoPolicy { workload }
            | Self::HostNetwork { workload }
            | Self::OwnNode { workload, .. } => workload.namespace == namespace,
            Self::Rejected { edge }
            | Self::RejectMatchesNothing { edge }
            | Self::UnknownOutcome { edge }
            | Self::ViewsDisagree { edge, .. }
            | Self::OtherEndOnly { edge, .. }
            | Self::NodeGone { edge }
            | Self::OneWayLeftOut { edge }
            | Self::RealClientUnseen { edge }
            | Self::NodePort { edge } => touches(edge, namespace),
            Self::Unresolved { .. }
            | Self::UnresolvedBeyondBound { .. }
            | Self::NotEstablished { .. }
            | Self::UnresolvedAttempts { .. }
            | Self::NoResolver => true,
        }
    }
}

fn touches(edge: &EdgeId, namespace: &str) -> bool {
    [&edge.client, &edge.server]
        .into_iter()
        .any(|peer| matches!(peer, Peer::Workload(name) if name.namespace == namespace))
}

#[cfg(test)]
mod tests {
    use netpol_common::names::WorkloadName;
    use netpol_common::words::Protocol;

    use super::*;

    #[test]
    fn a_finding_is_about_its_workloads_namespace_or_that_of_either_end() {
        let workload = |namespace: &str| WorkloadName::new(namespace, "Deployment", "w");
        let edge = EdgeId {
            client: Peer::Workload(workload("a")),
            server: Peer::Workload(workload("b")),
            protocol: Protocol::Tcp,
            port: 80,
        };
        let to_a_node = EdgeId {
            server: Peer::Node("c".to_owned()),
            ..edge.clone()
        };
        let left_out = Finding::DefaultDenyLeftOut {
            namespace: "b".to_owned(),
            workload: workload("a"),
        };
        let cases = [
            (
                Finding::CutOff {
                    workload: workload("a"),
                },
                "a",
            ),
            (left_out, "b"),
            (Finding::Rejected { edge }, "ab"),
            (Finding::NodeGone { edge: to_a_node }, "a"),
            (Finding::NoResolver, "abc"),
        ];
        for (finding, namespaces) in cases {
            for namespace in ["a", "b", "c"] {
                let expected = namespaces.contains(namespace);
                assert_eq!(
                    finding.is_about(namespace),
                    expected,
                    "{finding:?} {namespace}"
                );
            }
        }
    }
}
