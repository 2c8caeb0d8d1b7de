//! Kinds, their plurals, and what is particular about them.

/// Kinds whose plural is not the kind in lower case with an `s`, or that are not namespaced, and their API.
pub(super) const KINDS: &[(&str, &str, &str, bool)] = &[
    // API, kind, plural, whether it is in a namespace
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Event", "events", true),
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Node", "nodes", false),
    ("v1", "Pod", "pods", true),
    (
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        true,
    ),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("apps/v1", "ReplicaSet", "replicasets", true),
    ("apps/v1", "StatefulSet", "statefulsets", true),
    ("batch/v1", "CronJob", "cronjobs", true),
    ("batch/v1", "Job", "jobs", true),
    ("coordination.k8s.io/v1", "Lease", "leases", true),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "endpointslices",
        true,
    ),
    ("events.k8s.io/v1", "Event", "events", true),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "networkpolicies",
        true,
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "clusterroles",
        false,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
    ),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", true),
    (
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        "rolebindings",
        true,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        false,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        false,
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
    (
        "apiregistration.k8s.io/v1",
        "APIService",
        "apiservices",
        false,
    ),
    (
        "authentication.k8s.io/v1",
        "TokenReview",
        "tokenreviews",
        false,
    ),
    (
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        false,
    ),
    (
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        false,
    ),
    (
        "netpol.io/v1alpha1",
        "LearnedPolicy",
        "learnedpolicies",
        true,
    ),
];

/// Kinds without a status subresource.
const WITHOUT_STATUS: &[&str] = &[
    "configmaps",
    "events",
    "endpointslices",
    "leases",
    "networkpolicies",
    "secrets",
    "serviceaccounts",
];

/// The plural of a kind; for one that is not known, the kind in lower case with an `s`.
pub(super) fn plural_of(kind: &str) -> String {
    let known = KINDS.iter().find(|(_, own, ..)| *own == kind);
    known.map_or_else(
        || format!("{}s", kind.to_lowercase()),
        |(_, _, plural, _)| (*plural).to_owned(),
    )
}

/// The kind of a plural of an API.
pub(super) fn kind_of(api: &str, plural: &str) -> Option<&'static str> {
    let known = KINDS.iter();
    let mut known = known.filter(|(own, _, known, _)| *own == api && *known == plural);
    known.next().map(|(_, kind, ..)| *kind)
}

/// Whether objects of that plural are written in two parts, one of which is `status`.
pub(super) fn has_status(plural: &str) -> bool {
    !WITHOUT_STATUS.contains(&plural)
}

/// Whether it is a question in the form of an object.
pub(super) fn is_review(plural: &str) -> bool {
    plural.ends_with("reviews")
}
