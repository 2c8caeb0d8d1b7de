//! What the annotation `netpol.io/force` would change about refusals, and what not.

use netpol_common::names::cluster::FORCE_ANNOTATION;

use crate::cli::output::note;

/// How many workloads are named one by one.
const NAMED: usize = 5;

/// Says of workloads that are refused how many the annotation would put into force, and with which it does not help:
/// each of those with the reason in a word.
pub(super) fn tell(namespace: &str, would: usize, never: &[(&str, &str)]) {
    if would > 0 {
        note(
            "hint",
            format_args!(
                "{FORCE_ANNOTATION}=true on the namespace {namespace} would enforce {would} of them as they are: it \
                 overrides that a workload is incomplete or needs widening, and that the cluster depends on it \
                 (kube-system, netpol itself, what the API server calls as a webhook or an aggregated API)"
            ),
        );
    }
    if never.is_empty() {
        return;
    }
    let named = never.iter().take(NAMED);
    let mut named: Vec<String> = named.map(|(name, why)| format!("{name} ({why})")).collect();
    if let Some(more @ 1..) = never.len().checked_sub(NAMED) {
        named.push(format!("{more} more"));
    }
    note(
        "hint",
        format_args!("{FORCE_ANNOTATION} does not help with {}", named.join(", ")),
    );
}
