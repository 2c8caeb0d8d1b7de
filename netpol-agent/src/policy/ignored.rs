//! Labels that Cilium leaves out of an endpoint's identity, so that nothing can be selected by them.
//!
//! They are those of its documentation, "Limiting Identity-Relevant Labels": what is left out unless the option
//! `labels` says otherwise, each by how the label's key begins.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::model::{Policy, PolicyPeer};

/// How the keys begin that are left out.
const IGNORED: [&str; 13] = [
    "annotation",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "controller-uid",
    "etcd_node",
    "io.kubernetes",
    "k8s.io",
    "kubernetes.io",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// What is left out wherever in a key it stands.
const IGNORED_WITHIN: &str = "beta.kubernetes.io";

/// A finding for each label that a policy selects by, its own pods or peers, and that Cilium ignores.
pub(super) fn by_cilium(policy: &Policy) -> impl Iterator<Item = Finding> + '_ {
    let ignored = keys(policy).into_iter().filter(|key| is_ignored(key));
    ignored.map(|label| Finding::IgnoredLabel {
        workload: policy.workload.clone(),
        label: label.to_owned(),
    })
}

fn is_ignored(key: &str) -> bool {
    IGNORED.iter().any(|begin| key.starts_with(begin)) || key.contains(IGNORED_WITHIN)
}

/// The keys of all labels that a policy selects by.
fn keys(policy: &Policy) -> BTreeSet<&str> {
    let rules = policy.ingress.iter().chain(&policy.egress);
    let peers = rules.flat_map(|rule| &rule.peers);
    let selectors = peers.filter_map(|peer| match peer {
        PolicyPeer::Pods { pods, .. } => Some(pods),
        _ => None,
    });
    selectors
        .chain([&policy.subject])
        .flat_map(|selector| selector.keys())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_documentation_and_no_others() {
        for ignored in [
            "annotation.example",
            "apps.kubernetes.io/pod-index",
            "batch.kubernetes.io/job-completion-index",
            "beta.kubernetes.io/arch",
            "controller-revision-hash",
            "failure-domain.beta.kubernetes.io/zone",
            "io.kubernetes.example",
            "k8s.io/role",
            "kubernetes.io/arch",
            "pod-template-hash",
            "statefulset.kubernetes.io/pod-name",
        ] {
            assert!(is_ignored(ignored), "{ignored}");
        }
        for counted in [
            "app",
            "app.kubernetes.io/name",
            "batch.kubernetes.io/job-name",
            "example.com/kubernetes.io",
            "k8s-app",
            "job-name",
            "topology.kubernetes.io/zone",
        ] {
            assert!(!is_ignored(counted), "{counted}");
        }
    }
}
