//! What `generate` says of how complete its policies are.

use super::inputs::Loaded;
use super::output::note;
use crate::policy::coverage::complete::{Requirements, Verdict, completeness};
use crate::policy::coverage::{self, Intervals, comment};
use crate::policy::{Options, Policy};

/// Writes into each policy what its workload's edges cover.
pub(super) fn annotate(loaded: &Loaded, options: &Options, policies: &mut [Policy]) {
    comment::annotate(policies, &loaded.graph, &loaded.index.lives(), options);
}

/// Prints how many of the workloads with a policy are incomplete, if any.
pub(super) fn tell(loaded: &Loaded, options: &Options, policies: &[Policy]) {
    let options = coverage::Options {
        intervals: Intervals::Nowhere,
        ..coverage::Options::of(options)
    };
    let graph = &loaded.graph;
    let coverage = coverage::coverage(graph, &loaded.index.lives(), &options);
    let peer = |end: &_, span| loaded.index.peer_at_end(end, span);
    let all = completeness(graph, &coverage, &Requirements::default(), &peer);
    let incomplete = |policy: &&Policy| {
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
