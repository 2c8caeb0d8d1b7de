//! What the aggregator made in netpol's namespace while it ran: the Secret with its keys, the ConfigMap that vouches for it, and
//! the Lease. No manifest and no release names them, so that nobody else takes them away.

use std::fmt::Debug;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource};
use netpol_common::names::cluster::{AGGREGATOR_DEPLOYMENT, CA_CONFIG_MAP, LEASE, TLS_SECRET};
use serde::de::DeserializeOwned;

use crate::cluster::access::Right;
use crate::cluster::{Cluster, ClusterError};

/// By this label the aggregator tells that it made an object.
const MADE_BY: &str = "app.kubernetes.io/managed-by";
/// By this annotation cert-manager tells that a Secret is a certificate's.
const CERTIFICATE: &str = "cert-manager.io/certificate-name";

/// The rights that [`remove`] takes.
pub(super) fn rights(namespace: &str) -> [Right<'_>; 4] {
    let right = |verb, (group, resource), name| Right {
        verb,
        group,
        resource,
        namespace: Some(namespace),
        name: Some(name),
    };
    [
        right("get", ("", "secrets"), TLS_SECRET),
        right("delete", ("", "secrets"), TLS_SECRET),
        right("delete", ("", "configmaps"), CA_CONFIG_MAP),
        right("delete", ("coordination.k8s.io", "leases"), LEASE),
    ]
}

/// What became of those objects, as kubectl names them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Made {
    /// Those that were deleted.
    pub(super) removed: Vec<String>,
    /// Those of our names that somebody else made.
    pub(super) kept: Vec<String>,
}

/// Removes them. The aggregator must be gone, or it makes them anew.
pub(super) async fn remove(cluster: &Cluster, dry_run: bool) -> Result<Made, ClusterError> {
    let mut made = Made::default();
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &cluster.netpol_namespace);
    let action = format!(
        "get secrets {TLS_SECRET:?} in namespace {:?}",
        cluster.netpol_namespace
    );
    // The keys themselves are nobody's business here.
    let known = cluster.ask(action, secrets.get_metadata_opt(TLS_SECRET));
    if let Some(secret) = known.await?.map(|secret| secret.metadata) {
        let told = format!("secret/{TLS_SECRET}");
        let removing = Removing {
            cluster,
            dry_run,
            uid: secret.uid.clone(),
        };
        if !is_ours(&secret) {
            made.kept.push(told);
        } else if removing.remove::<Secret>("secrets", TLS_SECRET).await? {
            made.removed.push(told);
        }
    }
    let removing = Removing {
        cluster,
        dry_run,
        uid: None,
    };
    let maps = removing.remove::<ConfigMap>("configmaps", CA_CONFIG_MAP);
    if maps.await? {
        made.removed.push(format!("configmap/{CA_CONFIG_MAP}"));
    }
    let leases = removing.remove::<Lease>("leases.coordination.k8s.io", LEASE);
    if leases.await? {
        made.removed
            .push(format!("lease.coordination.k8s.io/{LEASE}"));
    }
    Ok(made)
}

/// Whether the aggregator made a Secret of that name. cert-manager takes over what it finds, labels and all.
fn is_ours(secret: &ObjectMeta) -> bool {
    let label = secret.labels.as_ref().and_then(|all| all.get(MADE_BY));
    let annotations = secret.annotations.as_ref();
    label.is_some_and(|by| by == AGGREGATOR_DEPLOYMENT)
        && !annotations.is_some_and(|all| all.contains_key(CERTIFICATE))
}

/// How objects are deleted.
struct Removing<'a> {
    cluster: &'a Cluster,
    dry_run: bool,
    /// The one that was looked at, and no other of that name.
    uid: Option<String>,
}

impl Removing<'_> {
    /// Deletes an object. Returns whether it was there.
    async fn remove<K>(&self, kind: &str, name: &str) -> Result<bool, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let namespace = &self.cluster.netpol_namespace;
        let api: Api<K> = Api::namespaced(self.cluster.client.clone(), namespace);
        let parameters = DeleteParams {
            dry_run: self.dry_run,
            preconditions: self.uid.clone().map(|uid| Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        let action = format!("delete {kind} {name:?} in namespace {namespace:?}");
        let deleted = api.delete(name, &parameters);
        match self.cluster.ask(action, deleted).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_ours_if_the_aggregator_made_it_and_cert_manager_did_not_take_it_over() {
        let secret = |by: &str, annotation: &str| -> ObjectMeta {
            let metadata = json!({"labels": {MADE_BY: by}, "annotations": {annotation: "a"}});
            serde_json::from_value(metadata).unwrap()
        };
        assert!(is_ours(&secret(AGGREGATOR_DEPLOYMENT, "another")));
        assert!(!is_ours(&secret(AGGREGATOR_DEPLOYMENT, CERTIFICATE)));
        assert!(!is_ours(&secret("somebody", "another")));
        assert!(!is_ours(&ObjectMeta::default()));
    }
}
