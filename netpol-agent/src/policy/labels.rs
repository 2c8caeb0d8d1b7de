//! Which labels last: those that do not change with a run, a rollout, a pod or a release.

/// Keys whose values change with a run, a rollout, a pod's ordinal or a release.
const FLEETING: &[&str] = &[
    "app.kubernetes.io/version",
    "apps.kubernetes.io/pod-index",
    "chart",
    "controller-revision-hash",
    "controller-uid",
    "helm.sh/chart",
    "helm.sh/revision",
    "job-name",
    "leaderworkerset.sigs.k8s.io/group-index",
    "leaderworkerset.sigs.k8s.io/group-key",
    "leaderworkerset.sigs.k8s.io/template-revision-hash",
    "leaderworkerset.sigs.k8s.io/worker-index",
    "pod-template-generation",
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "spark-app-selector",
    "spark-exec-id",
    "statefulset.kubernetes.io/pod-name",
    "tekton.dev/pipelineRun",
    "tekton.dev/pipelineRunUID",
    "tekton.dev/taskRun",
    "tekton.dev/taskRunUID",
    "training.kubeflow.org/replica-index",
    "workflows.argoproj.io/completed",
    "workflows.argoproj.io/workflow",
];

/// Prefixes of keys that hold completion labels and places.
const FLEETING_PREFIXES: &[&str] = &[
    "batch.kubernetes.io/",
    "failure-domain.beta.kubernetes.io/",
    "topology.kubernetes.io/",
];

/// Keys that usually tell what a workload is, from the best on; others come after them in alphabetical order.
const TELLING: &[&str] = &[
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app",
    "k8s-app",
    "name",
    "component",
];

/// Whether a label lasts. The plain key `version` does where the owner's own selector holds it: there it tells two
/// variants of an application apart, elsewhere it is a release.
pub(super) fn lasts(key: &str, in_owner_selector: bool) -> bool {
    let fleeting = FLEETING.contains(&key)
        || FLEETING_PREFIXES
            .iter()
            .any(|prefix| key.starts_with(prefix))
        || (key == "version" && !in_owner_selector);
    !fleeting
}

/// The canonical order of keys: what tells best comes first.
pub(super) fn rank(key: &str) -> (usize, &str) {
    let telling = TELLING.iter().position(|telling| *telling == key);
    (telling.unwrap_or(TELLING.len()), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_with_a_run_or_a_release_does_not_last() {
        for key in [
            "pod-template-hash",
            "batch.kubernetes.io/job-name",
            "helm.sh/chart",
            "version",
        ] {
            assert!(!lasts(key, false), "{key}");
        }
        for key in ["app", "app.kubernetes.io/instance", "tier"] {
            assert!(lasts(key, false), "{key}");
        }
    }

    #[test]
    fn a_version_lasts_where_the_owner_selects_by_it() {
        assert!(lasts("version", true));
        assert!(!lasts("app.kubernetes.io/version", true));
    }

    #[test]
    fn telling_keys_come_first() {
        let mut keys = ["zone", "app", "environment", "app.kubernetes.io/name"];
        keys.sort_by_key(|key| rank(key));
        assert_eq!(
            keys,
            ["app.kubernetes.io/name", "app", "environment", "zone"]
        );
    }
}
