//! What `generate` says of how complete its policies are.

use std::collections::BTreeMap;

use netpol_common::names::WorkloadName;

use super::inputs::Loaded;
use super::output::note;
use crate::crd::{ConditionType, LearnedPolicyStatus};
use crate::policy::coverage::complete::{Requirements, Verdict, completeness};
use crate::policy::coverage::{self, Intervals, comment};
use crate::policy::{OptionsFor, Policy};

/// Writes into each policy what its workload's edges cover.
pub(super) fn annotate(loaded: &Loaded, options: &OptionsFor, policies: &mut [Policy]) {
    comment::annotate(policies, &loaded.graph, &loaded.index.lives(), options);
}

/// Prints how many of the workloads with a policy are incomplete, if any. What the controller answered counts: it also
/// knows what agents lost and did not watch.
pub(super) fn tell(
    loaded: &Loaded,
    options: &OptionsFor,
    policies: &[Policy],
    answered: &BTreeMap<WorkloadName, &LearnedPolicyStatus>,
) {
    let wanted = coverage::Options {
        intervals: Intervals::Nowhere,
        ..coverage::Options::default()
    };
    let graph = &loaded.graph;
    let coverage = coverage::coverage_for(graph, &loaded.index.lives(), &wanted, options);
    let peer = |end: &_, span| loaded.index.peer_at_end(end, span);
    let all = completeness(graph, &coverage, &Requirements::default(), &peer);
    let incomplete = |policy: &&Policy| {
        if let Some(status) = answered.get(&policy.workload) {
            return !status.holds(ConditionType::Complete);
        }
        let known = all.get(&policy.workload);
        known.is_none_or(|known| known.verdict() == Verdict::Incomplete)
    };
    let of_workloads = policies.iter().filter(|policy| !policy.is_of_namespace());
    let (lacking, of) = (
        of_workloads.clone().filter(incomplete).count(),
        of_workloads.count(),
    );
    if lacking > 0 {
        note(
            "finding",
            format_args!(
                "Incomplete: {lacking} of {of} workloads with a policy were not watched long or well enough to be \
                 complete; `status` says why"
            ),
        );
    }
}
