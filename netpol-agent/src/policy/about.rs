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
