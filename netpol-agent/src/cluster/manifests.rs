//! The objects that netpol consists of in a cluster, as the program holds them, and what of them is asked of an API
//! server.

use std::fmt;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt};

use super::connect::Cluster;
use crate::crd;

/// The plain manifests, by the names of their files, in the order of these.
const MANIFESTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/manifests.rs"));

/// Kinds that manifests may hold: API version, kind, plural, whether its objects are in a namespace.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("v1", "Namespace", "namespaces", false),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "Service", "services", true),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Secret", "secrets", true),
    (
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        true,
    ),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("apps/v1", "Deployment", "deployments", true),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "networkpolicies",
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
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
];

/// An object of a manifest.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its kind.
    pub resource: ApiResource,
    /// Whether it is in a namespace.
    pub namespaced: bool,
    /// The object.
    pub object: DynamicObject,
}

/// A manifest that is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No object.
    #[error("manifest {file}: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A kind that is not in the list.
    #[error("manifest {file}: objects of {version} {kind} are not known")]
    Unknown {
        /// The file.
        file: String,
        /// The API version.
        version: String,
        /// The kind.
        kind: String,
    },
    /// Built without any.
    #[error(
        "this program was built without manifests: apply those of netpol's release with `kubectl apply -f`, or use its chart"
    )]
    None,
}

/// What netpol consists of, in the order in which it is applied: what others need comes first.
///
/// # Errors
///
/// A manifest that is not as it must be.
pub fn parts() -> Result<Vec<Part>, ManifestError> {
    let files = MANIFESTS.iter().map(|(file, text)| parse(file, text));
    let mut parts: Vec<Part> = files
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        return Err(ManifestError::None);
    }
    if !parts.iter().any(|part| part.is("CustomResourceDefinition")) {
        parts.extend(parse("LearnedPolicy", &crd::yaml())?);
    }
    parts.sort_by_key(Part::rank);
    Ok(parts)
}

/// The objects of one file.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Part>, ManifestError> {
    let malformed = |reason: String| ManifestError::Malformed {
        file: file.to_owned(),
        reason,
    };
    let objects: Vec<Option<DynamicObject>> =
        serde_saphyr::from_multiple(text).map_err(|error| malformed(error.to_string()))?;
    objects
        .into_iter()
        .flatten()
        .map(|object| part(file, object))
        .collect()
}

fn part(file: &str, object: DynamicObject) -> Result<Part, ManifestError> {
    let types = object.types.clone().unwrap_or_default();
    let mut known = KINDS.iter();
    let known =
        known.find(|(version, kind, ..)| *version == types.api_version && *kind == types.kind);
    let Some((version, kind, plural, namespaced)) = known else {
        return Err(ManifestError::Unknown {
            file: file.to_owned(),
            version: types.api_version,
            kind: types.kind,
        });
    };
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = GroupVersionKind::gvk(group, version, kind);
    Ok(Part {
        resource: ApiResource::from_gvk_with_plural(&kind, plural),
        namespaced: *namespaced,
        object,
    })
}

impl Part {
    /// The API of its kind, in its namespace.
    #[must_use]
    pub fn api(&self, cluster: &Cluster) -> Api<DynamicObject> {
        let client = cluster.client.clone();
        match self.object.namespace().filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client, &namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }

    /// Whether it is of that kind.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.resource.kind == kind
    }

    /// Definitions and namespaces come first, whatever runs comes last.
    fn rank(&self) -> u8 {
        match self.resource.kind.as_str() {
            "CustomResourceDefinition" => 0,
            "Namespace" => 1,
            "Deployment" | "DaemonSet" => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Part {
    /// As kubectl names objects: `deployment.apps/netpol-aggregator`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.resource.kind.to_lowercase();
        let name = self.object.name_any();
        match self.resource.group.as_str() {
            "" => write!(f, "{kind}/{name}"),
            group => write!(f, "{kind}.{group}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_an_order_in_which_they_can_be_applied() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: n}\n---\n---\n\
                    apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
        let mut parts = parse("a.yaml", text).unwrap();
        parts.sort_by_key(Part::rank);
        let names: Vec<String> = parts.iter().map(Part::to_string).collect();
        assert_eq!(names, ["namespace/n", "deployment.apps/d"]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let text = "apiVersion: v1\nkind: Teapot\nmetadata: {name: d}\n";
        let error = parse("a.yaml", text).unwrap_err().to_string();
        assert_eq!(error, "manifest a.yaml: objects of v1 Teapot are not known");
    }

    #[test]
    fn the_manifests_within_are_whole() {
        let parts = parts().unwrap();
        for kind in [
            "CustomResourceDefinition",
            "Namespace",
            "DaemonSet",
            "Deployment",
        ] {
            let count = parts.iter().filter(|part| part.is(kind)).count();
            assert_eq!(count, 1, "{kind}");
        }
    }
}
